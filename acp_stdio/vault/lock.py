"""A lock between processes, on a file of its own, that dies with whoever holds it."""

import contextlib
import errno
import os
import sys
import time
from collections.abc import Generator
from pathlib import Path

_PAUSES = (0.001, 0.005, 0.02, 0.05)
"""Seconds between two tries; the last one repeats. A refresh holds the lock for about 100 ms."""


_HELD_ELSEWHERE = frozenset({errno.EAGAIN, errno.EACCES, errno.EDEADLK})
"""What flock (POSIX) and `_locking` (Windows) answer while somebody holds it; anything else is no answer."""


class FileLock:
    """An exclusive lock on `path`, which is created 0600 and never deleted.

    Each instance has its own descriptor, so two of them exclude each other within a process too.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def try_acquire(self) -> bool:
        """Takes the lock if nobody holds it. Raises `OSError` where the file cannot be made or locked at all."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
        file = os.open(self._path, flags, 0o600)
        try:
            _lock(file)
        except OSError as e:
            os.close(file)
            if e.errno in _HELD_ELSEWHERE:
                return False
            raise
        self._file = file
        return True

    def acquire(self, timeout: float) -> None:
        """Waits up to `timeout` seconds. Raises `TimeoutError`, or `OSError` where it cannot be locked at all."""
        until = time.monotonic() + timeout
        tries = 0
        while not self.try_acquire():
            if time.monotonic() >= until:
                raise TimeoutError(f"{self._path.name} was held for {timeout:g} s")
            time.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
            tries += 1

    def release(self) -> None:
        """Gives the lock back; does nothing without it."""
        file, self._file = self._file, None
        if file is not None:
            try:
                _unlock(file)
            finally:
                os.close(file)

    @contextlib.contextmanager
    def held(self, timeout: float) -> Generator[None]:
        """Holds the lock for a block. Raises `TimeoutError`."""
        self.acquire(timeout)
        try:
            yield
        finally:
            self.release()


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> None:
        os.lseek(file, 0, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

    def _unlock(file: int) -> None:
        os.lseek(file, 0, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)
