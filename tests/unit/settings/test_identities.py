"""Several identities: one table each, and each upstream says whose tokens it is sent."""

from pathlib import Path

import pytest

from acp_stdio.errors import Failure
from acp_stdio.settings import managed
from acp_stdio.settings.load import load
from acp_stdio.settings.model import Settings

TWO = """
[identity]
issuer = "https://login.example.com"
client_id = "acp-stdio"

[identities.customers]
issuer = "https://customers.example.com/"
client_id = "acp-crm"
preset = "auth0"

[upstreams.finance]
url = "https://finance.example.com/mcp"

[upstreams.crm]
url = "https://crm.example.com/mcp"
identity = "customers"
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The managed file, which this test's user may write."""
    place = tmp_path / "managed" / "config.toml"
    monkeypatch.setattr(managed, "PLACE", place)
    monkeypatch.setattr(managed, "ADMINISTRATOR", tmp_path.stat().st_uid)
    return place


def settings(home: Path, text: str, *targets: str) -> Settings:
    config = home / "config" / "config.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(text, encoding="utf-8")
    return load(targets=targets, environ={"ACP_STDIO_HOME": str(home)})


def problems(home: Path, text: str) -> str:
    with pytest.raises(Failure) as caught:
        settings(home, text)
    return caught.value.message


def test_each_upstream_has_the_identity_that_it_names_and_a_place_of_its_own(tmp_path: Path, place: Path) -> None:
    found = settings(tmp_path, TWO)
    finance, crm = (found.of(found.upstreams[name]) for name in ("finance", "crm"))
    assert (finance.identity.issuer, list(finance.upstreams)) == ("https://login.example.com", ["finance"])
    assert (crm.identity.issuer, list(crm.upstreams)) == ("https://customers.example.com/", ["crm"])
    assert finance.session_dir == finance.state_dir == tmp_path / "state" / "default"
    assert crm.session_dir == tmp_path / "state" / "default" / "identities" / "customers"
    assert (finance.grant_scope, crm.grant_scope) == ("default", "default/customers")
    assert [each.identity.name for each in found.by_identity()] == ["default", "customers"]


def test_a_preset_counts_for_the_upstreams_of_its_identity(tmp_path: Path, place: Path) -> None:
    found = settings(tmp_path, TWO)
    assert [each.token_request for each in found.upstreams.values()] == ["resource", "audience"]
    assert found.identities["customers"].origins["user_label"] == "default"
    assert found.identities["customers"].origins["scopes"] == "preset auth0"


def test_naming_one_upstream_leaves_one_identity_to_sign_in_as(tmp_path: Path, place: Path) -> None:
    assert [each.identity.name for each in settings(tmp_path, TWO, "crm").by_identity()] == ["customers"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (('identity = "customers"', 'identity = "customer"'), "did you mean customers?"),
        (("[identities.customers]", "[identities.default]"), "identities.default is written [identity]"),
        (("[identities.customers]", "[identities.Customers]"), "cannot be an identity's name"),
        (('preset = "auth0"', 'presett = "auth0"'), "identities.customers.presett is not a known key"),
    ],
)
def test_a_mistake_is_named_with_its_place(wrong: tuple[str, str], says: str, tmp_path: Path, place: Path) -> None:
    assert says in problems(tmp_path, TWO.replace(*wrong))


def test_whose_tokens_a_managed_upstream_is_sent_is_not_the_users_to_say(tmp_path: Path, place: Path) -> None:
    place.parent.mkdir()
    place.write_text('[upstreams.crm]\nurl = "https://crm.example.com/mcp"\n', encoding="utf-8")
    assert "upstreams.crm.identity is the administrator's to say" in problems(tmp_path, TWO)
