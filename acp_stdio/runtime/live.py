"""Lets `status` see which `run` processes live: a small file each, locked for as long as they do."""

import contextlib
import json
import os
import time
from pathlib import Path

from acp_stdio.vault.lock import FileLock


class LiveFile:
    """`<state>/live/<id>.lock`. The lock dies with the process; whoever looks removes what is left."""

    def __init__(self, state_dir: Path, upstream: str) -> None:
        self._path = state_dir / "live" / f"{os.getpid()}-{time.time_ns():x}.lock"
        self._lock = FileLock(self._path)
        self._about = {"pid": os.getpid(), "started": time.time(), "upstream": upstream, "client": ""}

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
            with contextlib.suppress(OSError):
                self._path.write_text(json.dumps(self._about), encoding="utf-8")

    def end(self) -> None:
        """Leaves."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
            self._lock.release()
