"""A person and a scripted provider, for the tests of sign-ins."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from acp_stdio.settings import managed
from tests.kit.person import Person, Start
from tests.kit.scripted_idp import ScriptedIdp
from tests.kit.scripted_presets import GoogleIdp
from tests.kit.signing_in import Machine, bare_upstream


@pytest.fixture(autouse=True)
def no_managed_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(managed, "PLACE", tmp_path / "none")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with bare_upstream() as upstream:

        def begin(idp: ScriptedIdp, preset: str, *, identity: str = "", lines: str = "") -> Person:
            lines = lines.replace("UPSTREAM", upstream)
            if isinstance(idp, GoogleIdp):
                place = tmp_path / "client.secret"
                place.touch(0o600)
                place.write_text(idp.secret)
                identity += f'\nclient_secret_ref = "file:{place}"'
            machine = Machine(
                tmp_path / "home",
                idp.issuer,
                upstream,
                client_id=idp.client_id,
                identity=f'preset = "{preset}"\n{identity}',
                upstream_lines=lines,
            )
            return Person(machine, idp)

        yield begin
