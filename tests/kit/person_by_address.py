"""Somebody who knows nothing but an MCP server's address, and whose browser goes where it is sent."""

import base64
import threading
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from acp_stdio.errors import Failure
from acp_stdio.identity.model import Session
from acp_stdio.login.each import sign_in
from acp_stdio.login.flow import Choices
from acp_stdio.settings.model import IdentitySettings, Settings, StorageSettings, UpstreamSettings
from acp_stdio.settings.paths import user_paths
from acp_stdio.tokens.context import Context, open_context
from acp_stdio.tokens.refresh import obtain_token
from tests.kit.discoverable import Discoverable

PATIENCE = 60.0
"""Seconds for a sign-in that is bound to come to its end."""


@dataclass
class Person:
    """One profile of somebody whose browser goes where it is sent; the server says yes at once."""

    home: Path
    identity: IdentitySettings
    upstream: UpstreamSettings
    said: list[str] = field(default_factory=list[str])
    tabs: int = 0

    @property
    def settings(self) -> Settings:
        key = self.home / "store.key"
        if not key.exists():
            key.touch(0o600)
            key.write_text(base64.b64encode(bytes(32)).decode())
        return Settings(
            self.identity,
            {self.upstream.name: self.upstream},
            user_paths({"ACP_STDIO_HOME": str(self.home)}),
            storage=StorageSettings("file", key),
        )

    @property
    def context(self) -> Context:
        return open_context(self.settings, may_prompt=False)

    def open(self, url: str) -> bool:
        self.tabs += 1
        threading.Thread(target=self._look, args=(url,), daemon=True).start()
        return True

    def _look(self, url: str) -> None:
        try:
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=PATIENCE).close()
        except OSError:
            """An error page; the sign-in tells what it needs to know."""

    def signs_in(self, *, force: bool = False, timeout: float = PATIENCE, **choices: Any) -> Session:
        wanted = Choices(opener=self.open, force=force, timeout=timeout, **choices)
        (outcome,) = sign_in(self.settings, wanted, self.said.append)
        return outcome.result()

    def fails(self, **choices: Any) -> Failure:
        with pytest.raises(Failure) as caught:
            self.signs_in(**choices)
        return caught.value

    def token(self) -> Any:
        return obtain_token(self.context, self.upstream)

    def files(self) -> list[Path]:
        return sorted((self.home / "state").rglob("registrations/*.json"))


def plain_oauth(idp: Discoverable) -> None:
    """It issues no ID token, so that nobody knows who signed in."""
    idp.id_tokens, idp.scopes_supported = False, None
