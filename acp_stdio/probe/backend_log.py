"""A server's own log, searched for the calls of this check: verifying a token and then dropping the name is the gap."""

import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Final

from acp_stdio.errors import Failure

PATIENCE: Final = 5.0
"""Seconds that a server may take to write its line."""
_TURN: Final = 0.1
_LARGEST: Final = 64 * 1024 * 1024
"""Bytes of a log that are searched, from its end."""
_LONGEST: Final = 300
"""Characters of a line that the report shows."""


class BackendLog:
    """What is written to a log file from now on. Raises `Failure(configuration_invalid)` where it cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._from = self._size()

    def lines_with(self, request_id: str, patience: float = PATIENCE) -> list[str]:
        """The new lines that have this request id; waits for the first."""
        deadline = time.monotonic() + patience
        while True:
            found = [line for line in self.new_text().splitlines() if request_id in line]
            if found or time.monotonic() >= deadline:
                return found
            time.sleep(_TURN)

    def new_text(self) -> str:
        """All that is new; the whole file where it was begun anew (rotation)."""
        size = self._size()
        begin = self._from if size >= self._from else 0
        with self._open() as file:
            file.seek(max(begin, size - _LARGEST))
            return file.read(_LARGEST).decode(errors="replace")

    def _size(self) -> int:
        with self._open() as file:
            return file.seek(0, 2)

    def _open(self) -> BinaryIO:
        try:
            return open(self.path, "rb")
        except OSError as error:
            raise Failure(
                "configuration_invalid",
                f"The log {self.path} cannot be read: {error.strerror}.",
                "Give --log a file of the server's that you can read.",
            ) from None


def names(line: str, person: Iterable[str]) -> bool:
    """Whether one of these values stands in the line as a whole word."""
    return any(
        re.search(rf"(?<![\w.@-]){re.escape(value)}(?![\w@-]|\.\w)", line, re.IGNORECASE) for value in person if value
    )


def shown(line: str) -> str:
    """A line for the report: printable, and not endless."""
    text = "".join(c for c in line if c.isprintable())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
