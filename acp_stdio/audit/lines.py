"""Files of lines that are only added to: a line is written whole or not at all."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_FLAGS: Final = (
    os.O_RDWR
    | os.O_APPEND
    | os.O_CREAT
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_STEP: Final = 1 << 16


def open_lines(path: Path, *, new: bool = False) -> int:
    """A descriptor for `append`, of a file for this user alone. `new`: raises `FileExistsError` if there is one."""
    return os.open(path, _FLAGS | (os.O_EXCL if new else 0), 0o600)


def append(file: int, text: bytes) -> None:
    """Adds lines. A `write(2)` that returned survives our death at any point, though not a power loss.

    Raises `OSError`, none of them being there then; where even that fails, `cut_torn` takes half a line away.
    """
    written = os.write(file, text)
    if written != len(text):
        with contextlib.suppress(OSError):
            os.ftruncate(file, os.fstat(file).st_size - written)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def last_line(file: int) -> bytes:
    """The last whole line, without its end; empty where there is none."""
    size = os.fstat(file).st_size
    tail, start = b"", size
    while start and tail.count(b"\n") < 2:
        start = max(0, size - len(tail) - _STEP)
        os.lseek(file, start, os.SEEK_SET)
        tail = _read(file, size - start)
    return tail[: tail.rfind(b"\n") + 1].rstrip(b"\n").rpartition(b"\n")[2]


def cut_torn(file: int) -> int:
    """Takes away what stands behind the last whole line; how many bytes. For whoever holds the file's lock.

    Its writer was killed within `write(2)`, so whatever the line was about did not happen.
    """
    size = os.fstat(file).st_size
    end, found = size, -1
    while end and found < 0:
        start = max(0, end - _STEP)
        os.lseek(file, start, os.SEEK_SET)
        found = _read(file, end - start).rfind(b"\n")
        end = start + found + 1 if found >= 0 else start
    if end != size:
        os.ftruncate(file, end)
    return size - end


def whole_lines(path: Path, begin: int = 0) -> Iterator[bytes]:
    """Each whole line from byte `begin` on, without its end; nothing where there is no file. Raises `OSError`."""
    try:
        with path.open("rb") as file:
            file.seek(begin)
            for line in file:
                if line.endswith(b"\n"):
                    yield line[:-1]
    except FileNotFoundError:
        return


def _read(file: int, count: int) -> bytes:
    parts: list[bytes] = []
    while count and (part := os.read(file, count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
