"""Server-sent events as they arrive (WHATWG HTML, section 9.2.6), without I/O.

Each byte is looked at once: a 10 MB event in small pieces costs what it costs in one.
"""

from typing import Final, NamedTuple

MAX_EVENT: Final = 64 * 1024 * 1024
"""Bytes of one event, by default."""

_BOM = b"\xef\xbb\xbf"
_CR, _LF, _SPACE = 0x0D, 0x0A, 0x20
_MAX_RETRY_DIGITS: Final = 9
"""Milliseconds: eleven days. A longer number is not a waiting time."""


class SseEvent(NamedTuple):
    """One event. `data` is passed on as it came, lines joined with LF."""

    event: str
    data: bytes
    id: str | None
    """The stream's last event id, set by this event or an earlier one; None if there was none yet."""
    retry: int | None
    """Milliseconds, if this event carried the field."""


class SseTooLarge(Exception):
    """An event is larger than allowed. The parser is of no use afterwards."""


class SseParser:
    """Takes the body's bytes in any cut; an event that the stream's end cuts off is never given out."""

    def __init__(self, max_event: int = MAX_EVENT) -> None:
        self._max_event = max_event
        self._size = 0
        self._pieces: list[bytes] = []
        self._after_cr = False
        self._at_start = True
        self._event = ""
        self._data: list[bytes] = []
        self._id: str | None = None
        self._event_retry: int | None = None
        self.last_event_id: str | None = None
        """For `Last-Event-ID`: also set by an event without data (MCP 2025-11-25, resumability)."""
        self.retry: int | None = None
        """Milliseconds; the last one the server asked for."""

    def feed(self, data: bytes) -> list[SseEvent]:
        """The events that `data` completes. Raises `SseTooLarge`."""
        if self._after_cr and data:
            self._after_cr = False
            if data[0] == _LF:
                data = data[1:]
        if not data:
            return []
        lines = data.splitlines()  # of bytes: at CR, LF and CRLF, nothing else
        rest = b"" if data[-1] in (_CR, _LF) else lines.pop()
        self._after_cr = data[-1] == _CR
        events: list[SseEvent] = []
        if lines and self._pieces:
            self._pieces.append(lines[0])
            lines[0] = b"".join(self._pieces)
            self._size -= len(lines[0]) - len(self._pieces[-1])
            self._pieces = []
        for line in lines:
            if self._at_start:
                self._at_start = False
                line = line.removeprefix(_BOM)
            if line:
                self._take(line)
            else:
                self._dispatch(events)
        if rest:
            self._pieces.append(rest)
            self._grow(len(rest))
        return events

    def _take(self, line: bytes) -> None:
        """One field."""
        colon = line.find(b":")
        if colon == 0:
            return  # a comment
        if colon < 0:
            name, start = line, len(line)
        else:
            name = line[:colon]
            start = colon + 2 if line[colon + 1 : colon + 2] == b" " else colon + 1
        if name == b"data":
            self._grow(len(line))
            self._data.append(line[start:])
        elif name == b"event":
            self._grow(len(line))
            self._event = line[start:].decode("utf-8", "replace")
        elif name == b"id":
            self._grow(len(line))
            if b"\0" not in line:
                self._id = line[start:].decode("utf-8", "replace")
        elif name == b"retry":
            digits = line[start:]
            if digits.isdigit() and len(digits) <= _MAX_RETRY_DIGITS:
                self.retry = self._event_retry = int(digits)

    def _dispatch(self, events: list[SseEvent]) -> None:
        """An empty line: the event is complete."""
        if self._id is not None:
            self.last_event_id = self._id
        if self._data:
            data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
            events.append(SseEvent(self._event or "message", data, self.last_event_id, self._event_retry))
            self._data = []
        self._event, self._event_retry, self._size = "", None, 0

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > self._max_event:
            raise SseTooLarge(f"an event of more than {self._max_event} bytes")
