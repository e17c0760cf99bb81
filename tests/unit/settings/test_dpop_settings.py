"""`[identity] dpop`: off unless it is written, and refused where nobody could prove anything."""

from pathlib import Path

import pytest

from acp_stdio.errors import Failure
from acp_stdio.settings import managed
from acp_stdio.settings.load import load
from acp_stdio.settings.model import Settings


def settings(tmp_path: Path, identity: str = "", upstream: str = 'url = "https://finance.example.com/mcp"') -> Settings:
    config = tmp_path / "config.toml"
    table = f'[identity]\nissuer = "https://idp.example.com"\nclient_id = "x"\n{identity}\n'
    config.write_text(f"{table}[upstreams.finance]\n{upstream}\n", encoding="utf-8")
    return load(config=config, environ={"ACP_STDIO_HOME": str(tmp_path)})


@pytest.fixture(autouse=True)
def unmanaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(managed, "PLACE", tmp_path / "none")


def test_it_is_off_unless_somebody_chooses_it(tmp_path: Path) -> None:
    assert settings(tmp_path).identity.dpop == "off"
    assert settings(tmp_path, 'dpop = "auto"').identity.dpop == "auto"
    assert settings(tmp_path, 'dpop = "require"').identity.dpop == "require"


@pytest.mark.parametrize(
    ("identity", "upstream", "words"),
    [
        ('dpop = "on"', 'url = "https://f.example.com/mcp"', "dpop"),
        (
            'dpop = "require"',
            'url = "https://f.example.com/mcp"\ntoken_format = "id_token"',
            "an ID token is bound to no key",
        ),
        (
            'dpop = "auto"',
            'transport = "stdio"\ncommand = "server"\ntoken_meta = "example.com/token"\naudience = "a"',
            "a child has no key",
        ),
    ],
)
def test_what_could_prove_nothing_is_refused(tmp_path: Path, identity: str, upstream: str, words: str) -> None:
    with pytest.raises(Failure, match=words):
        settings(tmp_path, identity, upstream)


def test_with_auto_a_server_that_takes_id_tokens_gets_them_as_ever(tmp_path: Path) -> None:
    url = 'url = "https://f.example.com/mcp"\ntoken_format = "id_token"'
    assert settings(tmp_path, 'dpop = "auto"', url).upstreams["finance"].token_format == "id_token"
