"""Bytes to lines: MCP's stdio transport is one JSON-RPC message a line."""

from typing import Final

MAX_LINE: Final = 64 * 1024 * 1024
"""Bytes. Hosts send whole files as base64; above this a peer is broken or hostile."""


class LineBuffer:
    """Cuts a byte stream into lines in linear time, however it arrives."""

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes | None]:
        """The lines that `data` completes, without line ends and without empty ones.

        None stands for a line above the limit. Its bytes are not kept, and the line after it is read again.
        """
        *ends, rest = data.split(b"\n")
        lines = [line for line in (self._end(end) for end in ends) if line != b""]
        self._keep(rest)
        return lines

    def _end(self, last: bytes) -> bytes | None:
        if self._size or len(last) > self._limit:
            self._keep(last)
            last = b"".join(self._parts)
        size, self._parts, self._size = self._size, [], 0
        return last.strip(b"\r \t") if size <= self._limit else None

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._limit:
            self._parts = []
        elif part:
            self._parts.append(part)


def one_line(text: bytes) -> bytes:
    """JSON on one line, as the stdio transport wants it: a line end can only be white space there."""
    if b"\n" in text or b"\r" in text:
        text = text.replace(b"\r", b" ").replace(b"\n", b" ")
    return text.strip()
