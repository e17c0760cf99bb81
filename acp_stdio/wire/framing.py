"""Bytes to lines: MCP's stdio transport is one JSON-RPC message a line."""

from typing import Final

MAX_LINE: Final = 64 * 1024 * 1024
"""Bytes. Hosts send whole files as base64; above this a peer is broken or hostile."""


class LineTooLong(Exception):
    """A line passed the limit; the stream cannot be trusted to find its next one."""


class LineBuffer:
    """Cuts a byte stream into lines in linear time, however it arrives."""

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, without line ends and without empty ones.

        Raises `LineTooLong`.
        """
        if b"\n" not in data:
            self._keep(data)
            return []
        *lines, rest = data.split(b"\n")
        if self._parts:
            self._keep(lines[0])
            lines[0] = b"".join(self._parts)
            self._parts, self._size = [], 0
        if rest:
            self._keep(rest)
        return [line for line in (line.strip(b"\r \t") for line in lines) if line]

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._limit:
            raise LineTooLong(f"a line is longer than {self._limit} bytes")
        self._parts.append(part)
