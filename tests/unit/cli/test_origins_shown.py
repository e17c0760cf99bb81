"""What `status --verbose` shows of the values that a configuration writes."""

from pathlib import Path

import pytest

from acp_stdio.cli.origins import identity_values, identity_words
from acp_stdio.identity.model import Session
from acp_stdio.settings import managed
from acp_stdio.settings.load import EXAMPLE, load

LINES = """[identity]
discovery_url = "https://login.example.com/metadata"
endpoints = { token = "https://login.example.com/t" }
allow_unadvertised_pkce = true
"""


def test_how_a_provider_is_reached_is_shown_with_the_file_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(managed, "PLACE", tmp_path / "none")
    config = tmp_path / "config.toml"
    config.write_text(EXAMPLE.replace("[identity]\n", LINES))
    values = identity_values(load(config=config, environ={}), Session(generation=0, signed_in=False, account=None))
    assert values["endpoints"] == {"value": {"token": "https://login.example.com/t"}, "from": f"file {config}"}
    shown = {line.split()[0]: " ".join(line.split()[1:]) for line in identity_words(values).splitlines()}
    assert shown["discovery_url"] == f"https://login.example.com/metadata (file {config})"
    assert shown["endpoints"] == f"token = https://login.example.com/t (file {config})"
    assert shown["allow_unadvertised_pkce"] == f"true (file {config})"
    assert shown["clock_skew"] == "60 s (default)"
