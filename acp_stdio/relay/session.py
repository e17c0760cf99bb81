"""The one session with an upstream of the legacy era (MCP up to 2025-11-25)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from acp_stdio.relay.commands import Command, EndSession, Headers, OpenStream, Wake
from acp_stdio.wire.ending import Ending
from acp_stdio.wire.headers import encode_value

STREAM_RETRY: Final = (1.0, 2.0, 5.0, 15.0, 60.0)
"""Seconds before the GET stream is opened again after it broke, by how often in a row."""
LIVED: Final = 15.0
"""Seconds after which a stream that breaks was a good one: servers and proxies close those that say nothing."""
_NO_STREAM: Final = frozenset({*range(400, 500), 501} - {408, 429})
"""What a server answers that will not open one later either."""
MAX_QUESTIONS: Final = 1024
"""Requests of one server that wait for the host; above that the oldest is not answered any more."""

MIN_RETRY: Final = 0.05
"""Seconds; a server that asks for less is in a loop."""


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

    jitter: Callable[[], float]
    """Random, from 0 to 1."""
    hello: bytes | None = None
    """The host's own `initialize`, byte for byte."""
    asked: str = ""
    version: str = ""
    id: str | None = None
    state: State = State.CLOSED
    opening: int | None = None
    host_ready: bool = False
    questions: dict[bytes, None] = field(default_factory=dict[bytes, None])
    """The server's requests that the host has not answered, oldest first, by the key of their ids."""
    streamed: bool = False
    """A GET stream was opened in it: a 404 to the next one means a lost session, and not a server without streams."""
    stream_at: float | None = None
    """When the GET stream is to be opened again."""
    _asked_at: float = 0.0
    """When the GET stream was asked for."""
    _runs: bool = False
    """The server has opened it."""
    _breaks: int = 0
    _last_event_id: str = ""

    @property
    def passes(self) -> bool:
        """Whether requests may be sent now."""
        return self.state is State.OPEN or (self.state is State.GREETED and not self.host_ready)

    def headers(self) -> Headers:
        """The session's headers; none before the server has answered `initialize`."""
        if self.state in (State.CLOSED, State.OPENING):
            return ()
        version = (("MCP-Protocol-Version", encode_value(self.version)),)
        return version if self.id is None else (("Mcp-Session-Id", self.id), *version)

    def open_stream(self, call: int, now: float) -> list[Command]:
        """Asks for what the server sends on its own, from where it broke off."""
        self.stream_at, self._asked_at, self._runs = None, now, False
        return [self.resume(call, self._last_event_id)]

    def resume(self, call: int, last_event_id: str) -> OpenStream:
        """A GET that goes on behind this event; an empty id begins anew."""
        place = (("Last-Event-ID", last_event_id),) if last_event_id else ()
        return OpenStream(call, (*self.headers(), *place))

    def stream_opened(self) -> None:
        """The server answers with a stream."""
        self.streamed = self._runs = True

    def stream_brought(self) -> None:
        """Something came on it: what breaks next was a good one."""
        self._breaks = 0

    def stream_ended(self, ending: Ending, now: float) -> list[Command]:
        """405 means that the server has no such stream; after a break it is opened again, later and later.

        An attempt that brought nothing, or met a server in trouble, does not change where it goes on. One that
        brought something, or lived for a while, is the first of those that break.
        """
        if self.state is not State.OPEN or (ending.status is not None and ending.status in _NO_STREAM):
            return []
        if ending.last_event_id not in ("", self._last_event_id):
            self._last_event_id, self._breaks = ending.last_event_id, 0
        if self._runs and now - self._asked_at >= LIVED:
            self._breaks = 0
        self._runs = False
        # Spread over as much again: a server that comes back would else meet all its clients at once.
        delay = STREAM_RETRY[min(self._breaks, len(STREAM_RETRY) - 1)] * (1 + self.jitter())
        self._breaks += 1
        wait = delay if ending.retry is None else max(ending.retry, MIN_RETRY)
        self.stream_at = now + wait
        return [Wake(wait)]

    def stream_due(self, now: float) -> bool:
        """Whether the stream is to be opened again now."""
        return self.state is State.OPEN and self.stream_at is not None and self.stream_at <= now

    def was_asked(self, key: bytes) -> None:
        """The server asks the host something."""
        if len(self.questions) >= MAX_QUESTIONS:
            del self.questions[next(iter(self.questions))]
        self.questions[key] = None

    def is_answered(self, key: bytes) -> bool:
        """Whether this answers something that was asked in this session. Counts once."""
        return self.questions.pop(key, False) is None

    def lose(self) -> None:
        """Forgets the server's side; the host's `initialize` stays, to open another."""
        self.state, self.id, self.opening, self.stream_at = State.CLOSED, None, None, None
        self._last_event_id, self._breaks, self.streamed = "", 0, False
        self.questions.clear()

    def end(self) -> list[Command]:
        """Tells the server that the session is over, where it has one."""
        headers, had = self.headers(), self.id is not None
        self.lose()
        return [EndSession(headers)] if had else []
