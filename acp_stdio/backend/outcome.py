"""How a request ended, read off its answer as it passes: the last word of its line in the log."""

import json
from typing import Any, Final, cast

from acp_stdio.wire.sse import SseParser, SseTooLarge

_LARGEST: Final = 1024 * 1024
"""Bytes of an answer that are looked into; of a larger one the status tells."""


class Outcome:
    """`ok`, `tool_error` (the tool said `isError`), `error`, or `denied` (401, 403)."""

    def __init__(self) -> None:
        self._status = 0
        self._events: SseParser | None = None
        self._body = bytearray()
        self._found = ""

    def head(self, status: int, content_type: str) -> None:
        """The answer's status and its type."""
        self._status = status
        if content_type.lower().startswith("text/event-stream"):
            self._events = SseParser(_LARGEST)

    def data(self, chunk: bytes) -> None:
        """Some of its body."""
        if self._status >= 300:
            return
        if self._events is None:
            if len(self._body) <= _LARGEST:
                self._body += chunk
            return
        try:
            for event in self._events.feed(chunk):
                self._look(event.data)
        except SseTooLarge:
            self._events = SseParser(_LARGEST)

    def word(self) -> str:
        """What it came to."""
        if self._status in (401, 403):
            return "denied"
        if not 200 <= self._status < 300:
            return "error"
        if len(self._body) <= _LARGEST:
            self._look(bytes(self._body))
        return self._found or "ok"

    def _look(self, raw: bytes) -> None:
        try:
            document: object = json.loads(raw) if raw.strip() else None
        except (ValueError, RecursionError):
            return
        message = cast("dict[str, Any]", document) if isinstance(document, dict) else {}
        result: object = message.get("result")
        if "error" in message:
            self._found = "error"
        elif isinstance(result, dict) and cast("dict[str, Any]", result).get("isError") is True:
            self._found = "tool_error"
