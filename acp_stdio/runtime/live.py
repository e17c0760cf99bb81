"""Lets `status` see which `run` processes live: a small file each, locked for as long as they do."""

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any, Literal

from acp_stdio.vault.lock import FileLock

OwnSignIn = Literal["", "held", "revoked", "unsupported", "failed"]
"""Whether a process holds a sign-in that is stored nowhere; after a logout what became of its token at the provider."""


class LiveFile:
    """`<state>/live/<id>.lock`. The lock dies with the process; whoever looks removes what is left."""

    def __init__(self, state_dir: Path, upstream: str) -> None:
        self._path = state_dir / "live" / f"{os.getpid()}-{time.time_ns():x}.lock"
        self._lock = FileLock(self._path)
        self._about: dict[str, Any] = {
            "pid": os.getpid(),
            "started": time.time(),
            "upstream": upstream,
            "client": "",
            "own_sign_ins": {},
        }

    def begin(self) -> None:
        """Makes this process visible; a state directory that cannot be written is not worth failing for."""
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._lock.try_acquire():
                self._path.write_text(json.dumps(self._about), encoding="utf-8")

    def name_client(self, client: str) -> None:
        """Says which host it is, once that is known."""
        if client and client != self._about["client"]:
            self._about["client"] = client
            self._say()

    def own_sign_in(self, upstream: str, state: OwnSignIn) -> None:
        """Says whether this process holds a sign-in that no other has, and what became of one after a logout."""
        self._about["own_sign_ins"] = {**self._about["own_sign_ins"], upstream: state}
        self._say()

    def _say(self) -> None:
        with contextlib.suppress(OSError):  # in place: the lock is on this very file
            self._path.write_text(json.dumps(self._about), encoding="utf-8")

    def end(self) -> None:
        """Leaves."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
            self._lock.release()
