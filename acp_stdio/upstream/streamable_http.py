"""MCP's Streamable HTTP as bytes: one POST a frame, answers as JSON or as an SSE stream."""

import time
from typing import Final, Protocol

from acp_stdio.upstream.http import Exchange
from acp_stdio.wire.ending import Ending
from acp_stdio.wire.framing import MAX_LINE, one_line
from acp_stdio.wire.sse import SseParser, SseTooLarge

MAX_ERROR_BODY: Final = 64 * 1024
"""Bytes kept of an answer with an error status; the rest says nothing more."""


class Sink(Protocol):
    """Who is told what an exchange brings. `ended` comes last, exactly once, unless it was aborted."""

    def opened(self, session_id: str | None) -> None: ...

    def received(self, raw: bytes) -> None: ...

    def ended(self, ending: Ending) -> None: ...


class Answer:
    """Turns the bytes of one HTTP answer into frames (`upstream.http.Receiver`)."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._status = 0
        self._challenge = ""
        self._retry: float | None = None
        self._events: SseParser | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self.exchange: Exchange | None = None

    def on_head(self, status: int, headers: dict[str, str]) -> None:
        """A status and its headers (`upstream.http.Receiver`)."""
        self._status = status
        self._challenge = headers.get("www-authenticate", "")
        self._retry = _seconds(headers.get("retry-after", "")) if status >= 300 else None
        if status < 300:
            if headers.get("content-type", "").lstrip().lower().startswith("text/event-stream"):
                self._events = SseParser()
            self._sink.opened(headers.get("mcp-session-id"))

    def on_data(self, data: bytes) -> None:
        """Some of the body."""
        if self._events is not None:
            try:
                for event in self._events.feed(data):
                    if event.event in ("", "message") and event.data:
                        self._sink.received(one_line(event.data))
            except SseTooLarge:
                self._too_large()
            return
        self._size += len(data)
        if self._status >= 300 and self._size > MAX_ERROR_BODY:
            return
        if self._size > MAX_LINE:
            self._too_large()
            return
        self._parts.append(data)

    def on_end(self) -> None:
        """The whole body came."""
        body, self._parts = b"".join(self._parts), []
        if self._status >= 300:
            self._sink.ended(Ending(self._status, body=body, challenge=self._challenge, retry=self._retry))
            return
        if body.strip():
            self._sink.received(one_line(body))
        self._sink.ended(self._stream_ending(Ending(self._status)))

    def on_failed(self, sent: bool, why: str) -> None:
        """The connection could not be made, or broke."""
        self._sink.ended(self._stream_ending(Ending(None, sent=sent, why=why)))

    def _stream_ending(self, ending: Ending) -> Ending:
        events = self._events
        if events is None:
            return ending
        retry = None if events.retry is None else events.retry / 1000
        return ending._replace(last_event_id=events.last_event_id or "", retry=retry)

    def _too_large(self) -> None:
        if self.exchange is not None:
            self.exchange.abort()
        self._sink.ended(Ending(None, why=f"its answer is larger than {MAX_LINE >> 20} MiB"))


def _seconds(retry_after: str) -> float | None:
    """`Retry-After` (RFC 9110 section 10.2.3): seconds, or a date; None where it is neither."""
    said = retry_after.strip()
    if said.isascii() and said.isdigit() and len(said) <= 9:
        return float(said)
    if not said:
        return None
    from email.utils import parsedate_to_datetime  # 8 ms, for the few servers that write a date

    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
