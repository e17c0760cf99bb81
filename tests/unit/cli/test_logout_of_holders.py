"""A logout tells what became of the sign-ins that only running processes hold."""

import base64
import threading
from pathlib import Path

import pytest

from acp_stdio.cli import logout
from acp_stdio.cli.render import Output
from acp_stdio.runtime.live import LiveFile, OwnSignIn
from acp_stdio.settings.model import IdentitySettings, Settings, StorageSettings, UpstreamSettings
from acp_stdio.settings.paths import user_paths
from acp_stdio.tokens.session_file import SessionFile

PATIENCE = 30.0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    key = tmp_path / "store.key"
    key.touch(0o600)
    key.write_text(base64.b64encode(bytes(32)).decode())
    return Settings(
        IdentitySettings("https://idp.example.com", "acp-stdio"),
        {"finance": UpstreamSettings("finance", "https://finance.example.com/mcp")},
        user_paths({"ACP_STDIO_HOME": str(tmp_path)}),
        storage=StorageSettings("file", key),
    )


@pytest.mark.parametrize(("then", "told"), [("revoked", "revoked"), ("unsupported", "unsupported"), ("", "failed")])
def test_only_a_process_that_said_so_has_had_its_token_revoked(
    then: OwnSignIn, told: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a word (nothing in `then`) it ends where its host is closed at that moment."""
    monkeypatch.setattr(logout, "GIVING_BACK", PATIENCE)
    process = LiveFile(settings.state_dir, "finance")
    process.begin()
    process.own_sign_in("finance", "held")
    signed_out, over = SessionFile(settings.session_dir), threading.Event()

    def lives() -> None:
        while signed_out.read() is None and not over.wait(0.01):
            """It looks again before its next call."""
        if then:
            process.own_sign_in("finance", then)
        else:
            process.end()

    thread = threading.Thread(target=lives)
    thread.start()
    try:
        ((_, report),) = logout.sign_out([settings], "", Output(quiet=True), revoked=False)
    finally:
        over.set()
        thread.join(PATIENCE)
    assert (report.revocation, report.was_signed_in) == (told, True)
    process.end()
