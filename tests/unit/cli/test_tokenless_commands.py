"""Where every upstream is a child that takes no token, nobody is sent to a sign-in."""

import json
from pathlib import Path

import pytest

from acp_stdio.cli.main import main
from acp_stdio.doctor.plan import plan
from acp_stdio.settings.load import load

CHILD = "version = 1\n[upstreams.files]\ntransport = 'stdio'\ncommand = 'files-server'\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.toml").write_text(CHILD)
    monkeypatch.setenv("ACP_STDIO_HOME", str(tmp_path))
    return tmp_path


def test_login_says_so_and_opens_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["login"]) == 0
    assert "there is nothing to sign in to" in capsys.readouterr().out


def test_status_wants_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    (upstream,) = said["upstreams"]
    assert (upstream["url"], upstream["transport"], upstream["audience"]) == ("stdio:files-server", "stdio", [])


def test_the_doctor_looks_for_the_program_and_neither_for_a_provider_nor_for_a_keyring(home: Path) -> None:
    names = [check.name for check in plan(load(environ={"ACP_STDIO_HOME": str(home)}))]
    assert "upstream/files/command" in names
    assert not [name for name in names if name.startswith(("provider", "keyring", "session", "grant"))]
