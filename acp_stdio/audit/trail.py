"""The trail: an append-only file a process, one record a line, nothing sent before its line is written.

`write(2)` of a whole line to a file opened for appending survives the death of this process
at any point (kill -9), though not a power loss. One file a process: no lock on the way of a call.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

import msgspec

from acp_stdio.errors import Failure

_encode = msgspec.json.encode


def _line(record: dict[str, Any]) -> bytes:
    try:
        return _encode(record)
    except UnicodeEncodeError:  # half of an emoji in a tool's name: JSON can spell it, UTF-8 cannot
        return json.dumps(record).encode()


class Trail:
    """Writes this process's records. Opens its file with the first one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file: int | None = None
        self._seq = 0
        self._torn = False

    def append(self, record: dict[str, Any]) -> None:
        """Writes one record; when this returns, it survives our death.

        Raises `Failure("audit_unavailable")`: the folder or disk does not take it. The
        call that it is about must not be made then (NIST SP 800-53 AU-5).
        """
        self._seq += 1
        record["seq"] = self._seq
        line = (b"\n" if self._torn else b"") + _line(record) + b"\n"
        try:
            if self._file is None:
                self._file = self._open()
            written = os.write(self._file, line)
        except OSError as e:
            raise self._unavailable(e.strerror or type(e).__name__) from e
        self._torn = written != len(line)
        if self._torn:  # the next record begins on a line of its own
            raise self._unavailable("the disk is full")

    def close(self) -> None:
        """Closes the file; a later record opens it again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self) -> int:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + f"-{os.getpid()}.jsonl"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        return os.open(self._directory / name, flags, 0o600)

    def _unavailable(self, why: str) -> Failure:
        return Failure(
            "audit_unavailable",
            f"The audit trail in {self._directory} cannot be written: {why}.",
            "Free space or mend the folder's permissions, then try again.",
        )
