"""A child server's process: three pipes, its whole tree, and an end that is always reached."""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Final, cast

from acp_stdio.wire.framing import LineBuffer

log = logging.getLogger(__name__)

HANDED_ON: Final = (
    (
        "APPDATA", "HOMEDRIVE", "HOMEPATH", "LOCALAPPDATA", "PATH", "PATHEXT", "PROCESSOR_ARCHITECTURE",
        "SYSTEMDRIVE", "SYSTEMROOT", "TEMP", "USERNAME", "USERPROFILE",
    )
    if sys.platform == "win32"
    else ("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER")
)  # fmt: skip
"""What a child gets of our environment: what hosts let through to theirs (the MCP SDKs' default)."""
GRACE: Final = 2.0
"""Seconds from the end of its input to SIGTERM, and from that to SIGKILL (MCP 2025-11-25, lifecycle: shutdown)."""
HURRY: Final = 0.1
"""The same while we end ourselves: hosts give us little more than a second for everything."""
LAST_WORDS: Final = 1.0
"""Seconds that its pipes may stay open behind its exit: somebody who left the process group may hold them."""
MAX_UNREAD: Final = 64 * 1024 * 1024
"""Bytes that wait for a child which does not read; above it, it gets no more."""
MAX_WORDS: Final = 1000
"""Bytes of one line of its stderr that go into our log."""
MAX_WORDY: Final = 200
"""Lines of its stderr that go into our log for each process; a child that writes on is drained all the same."""


def environment(ours: Mapping[str, str], added: Mapping[str, str]) -> dict[str, str]:
    """A child's environment: nothing of ours that a host would not hand on, and what the configuration adds."""
    kept = {name: ours[name] for name in HANDED_ON if name in ours}
    # A shell function in a variable is code for the next shell (CVE-2014-6271); no host hands it on.
    return {**{name: value for name, value in kept.items() if not value.startswith("()")}, **added}


class ChildProcess(asyncio.SubprocessProtocol):
    """One running child. `on_gone` is called once, after its last line."""

    def __init__(self, name: str, on_line: Callable[[bytes], None], on_gone: Callable[[str], None], *, quiet: bool):
        """`name`: the upstream's, for the log. `quiet`: its stderr is drained and not kept."""
        self._name, self._quiet = name, quiet
        self._on_line, self._on_gone = on_line, on_gone
        self._lines = LineBuffer()
        self._words = LineBuffer(MAX_WORDS)
        self._wordy = 0
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.SubprocessTransport | None = None
        self._stdin: asyncio.WriteTransport | None = None
        self._pid = 0
        self._timer: asyncio.TimerHandle | None = None
        self._exited = False
        self._ending = False
        self._open = {1, 2}
        self.gone: asyncio.Future[None] = self._loop.create_future()

    async def start(self, command: str, arguments: tuple[str, ...], environ: dict[str, str]) -> None:
        """Starts it in a process group of its own. Raises `OSError`."""
        program = shutil.which(command, path=environ.get("PATH", os.defpath)) or command
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW if sys.platform == "win32" else 0
        await self._loop.subprocess_exec(
            lambda: self, program, *arguments, env=environ, start_new_session=True, creationflags=flags
        )

    def write(self, frame: bytes) -> bool:
        """Sends one line; False where the child has gone, or has not read for long."""
        if self._stdin is None or self._exited or self._ending or self._stdin.is_closing():
            return False
        if self._stdin.get_write_buffer_size() > MAX_UNREAD:
            return False
        self._stdin.write(frame + b"\n")
        return True

    def hold(self, held: bool) -> None:
        """While held its stdout is not read, and it waits as soon as the pipe is full."""
        said = self._transport.get_pipe_transport(1) if self._transport is not None else None
        if isinstance(said, asyncio.ReadTransport):
            (said.pause_reading if held else said.resume_reading)()

    def end(self, patience: float) -> None:
        """Closes its input; after `patience` seconds it is asked to end, after as many more its tree is killed."""
        if not self._exited:
            self._ending = True
            self._wind_down(patience)

    def kill(self) -> None:
        """Ends it and all that it started, at once."""
        if sys.platform == "win32" and self._pid:
            # /T takes the tree along; a child that has exited already has left nothing to find it by
            subprocess.Popen(
                ["taskkill", "/F", "/T", "/PID", str(self._pid)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                creationflags=subprocess.CREATE_NO_WINDOW,
            )
        else:
            self._signal(signal.SIGKILL)

    # asyncio.SubprocessProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)
        self._pid = self._transport.get_pid()
        self._stdin = cast(asyncio.WriteTransport, self._transport.get_pipe_transport(0))

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self._heard(data)
            return
        for line in self._lines.feed(data):
            if line is None:
                log.warning("%s sent a line that is too long; it is ended", self._name)
                self.kill()
                return
            self._on_line(line)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._open.discard(fd)
        if fd == 1 and not self._exited and not self._ending:
            self._wind_down(GRACE)  # it will say nothing more
        self._look()

    def process_exited(self) -> None:
        self._exited = True
        if self._timer is not None:
            self._timer.cancel()
        if sys.platform != "win32":
            self._signal(signal.SIGKILL)  # whom it left behind: the group is there for as long as anybody is in it
        self._loop.call_later(LAST_WORDS, self._give_up_pipes)
        self._look()

    # Steps

    def _look(self) -> None:
        """Once it has exited and its last lines are read, it is gone."""
        if not self._exited or self._open or self.gone.done():
            return
        self.gone.set_result(None)
        code = self._transport.get_returncode() if self._transport is not None else None
        if self._transport is not None:
            self._transport.close()
        self._on_gone("it was ended" if self._ending else f"the child exited with {code}")

    def _wind_down(self, patience: float) -> None:
        if self._stdin is not None:
            self._stdin.close()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(patience, self._terminate, patience)

    def _give_up_pipes(self) -> None:
        self._open.clear()
        self._look()

    def _terminate(self, patience: float) -> None:
        if not self._exited:
            self._signal(signal.SIGTERM)
            self._timer = self._loop.call_later(patience, self.kill)

    def _signal(self, number: signal.Signals) -> None:
        if not self._pid:  # not started yet, and 0 would mean our own group
            return
        with contextlib.suppress(OSError):
            if sys.platform == "win32":
                os.kill(self._pid, number)
            else:
                os.killpg(self._pid, number)

    def _heard(self, data: bytes) -> None:
        for line in self._words.feed(data):
            self._wordy += 1
            if self._quiet or self._wordy > MAX_WORDY:
                continue
            words = "(a long line)" if line is None else line.decode("utf-8", "replace")
            log.info("%s says: %s", self._name, "".join(c if c.isprintable() else " " for c in words))
