"""Keeps a process alive that brings the trail to a collector, while there is something to bring."""

import asyncio
import contextlib
import json
import logging
import os
import subprocess
from typing import Final

from acp_stdio.audit.delivery import Backlog
from acp_stdio.audit.folder import Folder
from acp_stdio.runtime.arguments import RunArguments
from acp_stdio.runtime.helper_process import own_command
from acp_stdio.settings.model import Settings
from acp_stdio.vault.lock import FileLock

log = logging.getLogger(__name__)

FIRST: Final = 0.5
"""Seconds after the start: the host's handshake and the first token come before."""
LOOK: Final = 2.0
"""Seconds between two looks; one `stat` a file of the trail where no process of ours runs."""


class Exporting:
    """One exporter for a trail, whichever of its processes started it."""

    def __init__(self, settings: Settings, arguments: RunArguments, loop: asyncio.AbstractEventLoop) -> None:
        self._backlog = Backlog(Folder(settings.audit_dir))
        self._loop = loop
        self._request = json.dumps(
            {"config": arguments.config, "profile": settings.profile, "targets": arguments.targets}
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._next: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Looks for something to bring from now on."""
        self._next = self._loop.call_later(FIRST, self._look)

    def end(self) -> None:
        """The process tries once more what is left and ends within a second; what it cannot bring stays spooled."""
        if self._next is not None:
            self._next.cancel()
        self._close_pipe()

    def _close_pipe(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def _look(self) -> None:
        self._next = self._loop.call_later(LOOK, self._look)
        if self._process is not None and self._process.poll() is None:
            return
        self._close_pipe()
        try:
            if self._backlog.any() and self._is_free():
                self._start()
        except OSError as e:
            log.warning("the trail is not brought to the collector: %s", e)

    def _is_free(self) -> bool:
        lock = FileLock(self._backlog.cursor.lock_path)
        free = lock.try_acquire()
        lock.release()
        return free

    def _start(self) -> None:
        self._process = process = subprocess.Popen(
            own_command("otlp-helper"),
            env=os.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert process.stdin is not None
        process.stdin.write(self._request.encode() + b"\n")
        process.stdin.flush()
