"""The one session with an upstream of the legacy era (MCP up to 2025-11-25)."""

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from acp_stdio.relay.commands import Command, EndSession, Headers, OpenStream

STREAM_RETRY: Final = (1.0, 2.0, 5.0, 15.0, 60.0)
"""Seconds before the GET stream is opened again after it broke, by how often in a row."""


class State(Enum):
    """Where the session stands."""

    CLOSED = auto()
    OPENING = auto()
    """`initialize` is on its way."""
    GREETED = auto()
    """The server answered it; the host has not said that it is ready."""
    CONFIRMING = auto()
    """`notifications/initialized` is on its way."""
    OPEN = auto()


@dataclass(slots=True)
class LegacySession:
    """What has to be remembered to speak in a session, and to open it again."""

    hello: bytes | None = None
    """The host's own `initialize`, byte for byte."""
    asked: str = ""
    version: str = ""
    id: str | None = None
    state: State = State.CLOSED
    opening: int | None = None
    host_ready: bool = False
    stream_at: float | None = None
    """When the GET stream is to be opened again."""
    _breaks: int = field(default=0)

    @property
    def passes(self) -> bool:
        """Whether requests may be sent now."""
        return self.state is State.OPEN or (self.state is State.GREETED and not self.host_ready)

    def headers(self) -> Headers:
        """The session's headers; none before the server has answered `initialize`."""
        if self.state in (State.CLOSED, State.OPENING):
            return ()
        version = (("MCP-Protocol-Version", self.version),)
        return version if self.id is None else (("Mcp-Session-Id", self.id), *version)

    def open_stream(self, call: int) -> list[Command]:
        """Asks for what the server sends on its own."""
        self.stream_at = None
        return [OpenStream(call, self.headers())]

    def stream_ended(self, status: int | None, now: float) -> list[Command]:
        """405 means that the server has no such stream; after a break it is opened again, later and later."""
        if (status is not None and status >= 400) or self.state is not State.OPEN:
            return []
        delay = STREAM_RETRY[min(self._breaks, len(STREAM_RETRY) - 1)]
        self._breaks += 1
        self.stream_at = now + delay
        return []

    def stream_due(self, now: float) -> bool:
        """Whether the stream is to be opened again now."""
        return self.state is State.OPEN and self.stream_at is not None and self.stream_at <= now

    def lose(self) -> None:
        """Forgets the server's side; the host's `initialize` stays, to open another."""
        self.state, self.id, self.opening, self.stream_at = State.CLOSED, None, None, None

    def end(self) -> list[Command]:
        """Tells the server that the session is over, where it has one."""
        headers, had = self.headers(), self.id is not None
        self.lose()
        return [EndSession(headers)] if had else []
