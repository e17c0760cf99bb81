"""The host's end: frames from stdin, frames to stdout, and nothing else ever on stdout."""

import asyncio
import contextlib
import os
import select
import stat
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from acp_stdio.wire.framing import LineBuffer

READ_SIZE: Final = 64 * 1024
"""Bytes; a pipe holds no more. A larger buffer would be mapped, cleared and taken back by the system at each read."""
HIGH_WATER: Final = 8 * 1024 * 1024
"""Bytes waiting for a host that does not read; above it no request is taken from it, and nothing read for it."""
LOOK: Final = 0.3
"""Seconds between two looks at whether a host that does not read has gone."""


class Host:
    """The host over two pipes, on an event loop.

    POSIX pipes are watched by the loop itself: no thread, no hop. What cannot be watched (files,
    and everything on Windows) is served by two threads.
    """

    def __init__(
        self,
        stdin: int,
        stdout: int,
        on_lines: Callable[[list[bytes | None]], None],
        on_closed: Callable[[str], None],
        leftover: bytes = b"",
    ) -> None:
        """`leftover`: bytes already read from stdin. `on_lines`: came together; None is one too long to be kept.
        `on_closed(why)` is called once, at its end."""
        self._stdin, self._stdout = stdin, stdout
        self._on_lines, self._on_closed = on_lines, on_closed
        self._lines = LineBuffer()
        self._leftover = leftover
        self._loop = asyncio.get_running_loop()
        self.on_pressure: Callable[[bool], None] = lambda _: None
        """Told whether more than `HIGH_WATER` waits, until all is written."""
        self._out: deque[memoryview] = deque()
        self._waiting = 0
        self._paused = self._closed = False
        self._watched = _watchable(stdin) and _watchable(stdout)
        self._writable = threading.Condition()

    def start(self) -> None:
        """Begins to read."""
        if self._leftover:
            self._loop.call_soon(self._fed, self._leftover)
        if self._watched:
            os.set_blocking(self._stdout, False)
            self._loop.add_reader(self._stdin, self._readable)
        else:
            threading.Thread(target=self._read_in_thread, daemon=True).start()
            threading.Thread(target=self._write_in_thread, daemon=True).start()

    def send(self, frame: bytes) -> None:
        """Queues one frame, or several with line ends between them; it is written at once where the pipe takes it."""
        line = memoryview(frame + b"\n")
        if not self._watched:
            with self._writable:
                self._out.append(line)
                self._waiting += len(line)
                self._writable.notify_all()
            self._look_at_the_level()
            return
        if not self._out:
            line = self._write(line)
            if not line:
                return
            self._loop.add_writer(self._stdout, self._drain)
        self._out.append(line)
        self._waiting += len(line)
        self._look_at_the_level()

    def _look_at_the_level(self) -> None:
        with self._writable:  # else the writing thread could be done before it is to say so
            if self._waiting <= HIGH_WATER or self._paused or self._closed:
                return
            self._paused = True
        if self._watched:
            self._loop.remove_reader(self._stdin)
            self._loop.call_later(LOOK, self._look_for_end)
        self.on_pressure(True)

    def _relieved(self) -> None:
        """All is written."""
        if not self._paused or self._closed:
            return
        with self._writable:
            self._paused = False
            self._writable.notify_all()
        if self._watched:
            self._loop.add_reader(self._stdin, self._readable)
        self.on_pressure(False)

    def close(self) -> None:
        """Stops reading and writes what the pipe still takes."""
        self._closed = True
        if self._watched:
            self._loop.remove_reader(self._stdin)
            self._loop.remove_writer(self._stdout)
            while self._out and not (rest := self._write(self._out[0])):
                self._out.popleft()
                del rest
            with contextlib.suppress(OSError):
                os.set_blocking(self._stdout, True)  # others may share this end of the pipe

    def _write(self, line: memoryview) -> memoryview:
        """Writes what can be written now and returns the rest."""
        try:
            while line:
                line = line[os.write(self._stdout, line) :]
        except BlockingIOError:
            pass
        except OSError:
            self._end("the host closed its end")
            return memoryview(b"")
        return line

    def _drain(self) -> None:
        while self._out:
            rest = self._write(self._out[0])
            self._waiting -= len(self._out[0]) - len(rest)
            if rest:
                self._out[0] = rest
                return
            self._out.popleft()
        self._loop.remove_writer(self._stdout)
        self._relieved()

    def _look_for_end(self) -> None:
        """While nothing is read from the host, nothing else tells that it has closed its end."""
        if not self._paused or self._closed:
            return
        poll = select.poll()
        poll.register(self._stdin, getattr(select, "POLLRDHUP", 0))  # POLLHUP comes unasked
        if poll.poll(0):
            self._end("end of input")
        else:
            self._loop.call_later(LOOK, self._look_for_end)

    def _readable(self) -> None:
        try:
            data = os.read(self._stdin, READ_SIZE)
        except OSError:
            data = b""
        self._fed(data)

    def _fed(self, data: bytes) -> None:
        if self._closed:
            return
        if not data:
            self._end("end of input")
            return
        if lines := self._lines.feed(data):
            self._on_lines(lines)

    def _end(self, why: str) -> None:
        if not self._closed:
            self._closed = True
            if self._watched:
                self._loop.remove_reader(self._stdin)
            self._loop.call_soon(self._on_closed, why)

    def _read_in_thread(self) -> None:
        while True:
            with self._writable:
                while self._paused:
                    self._writable.wait()
            try:
                data = os.read(self._stdin, READ_SIZE)
            except OSError:
                data = b""
            try:
                self._loop.call_soon_threadsafe(self._fed, data)
            except RuntimeError:
                return  # the loop is closed
            if not data:
                return

    def _write_in_thread(self) -> None:
        while True:
            with self._writable:
                while not self._out:
                    self._writable.wait()
                line = self._out.popleft()
            size = len(line)
            try:
                while line:
                    line = line[os.write(self._stdout, line) :]
            except OSError:
                with contextlib.suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(self._end, "the host closed its end")
                return
            with self._writable:
                self._waiting -= size
                relieved = self._paused and not self._out
            if relieved:
                with contextlib.suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(self._relieved)


def _watchable(descriptor: int) -> bool:
    """Whether the loop can watch it: POSIX pipes, sockets and terminals, but no regular files."""
    if sys.platform == "win32":
        return False
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
