"""What the demo's processes inherit, and what lies on a desk."""

import base64
import os
import stat
from pathlib import Path

import pytest

from acp_stdio.demo.people import SARAH
from acp_stdio.demo.stage import Desk, base_environment
from acp_stdio.settings.load import load


def test_children_inherit_no_desktop_no_keyring_and_no_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = ("DISPLAY", "DBUS_SESSION_BUS_ADDRESS", "XDG_CONFIG_HOME", "HTTPS_PROXY", "ACP_STDIO_PROFILE")
    for name in theirs:
        monkeypatch.setenv(name, "mine")
    environment = Desk(SARAH, tmp_path / "sarah").environment()
    assert not set(theirs) & set(environment)
    assert environment["HOME"] == environment["ACP_STDIO_HOME"] == str(tmp_path / "sarah")
    assert base_environment(tmp_path)["HOME"] == str(tmp_path)


def test_a_desk_has_a_valid_configuration_and_a_key_for_its_owner_alone(tmp_path: Path) -> None:
    desk = Desk(SARAH, tmp_path / "sarah")
    desk.furnish("http://127.0.0.1:1", "http://127.0.0.1:2/mcp")
    settings = load(config=None, profile="", targets=("finance",), environ=desk.environment())
    assert settings.identity.recheck_identity == 3
    assert settings.storage.backend == "file"
    key = settings.storage.key_file
    assert key is not None
    assert len(base64.b64decode(key.read_text(encoding="ascii"))) == 32
    if os.name == "posix":
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert stat.S_IMODE(desk.folder.stat().st_mode) == 0o700
