"""The rows of requests on their way, and the table of legal moves."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from acp_stdio.relay.commands import CallRecord


class Purpose(Enum):
    """Why a row exists."""

    CALL = auto()
    """A host's request that is forwarded."""
    LIST = auto()
    """A host's request that the catalogue can answer too."""
    HANDSHAKE = auto()
    """`initialize`, or `server/discover`."""
    READY = auto()
    """`notifications/initialized`: nothing else may pass before the server took it."""
    NOTE = auto()
    """A host's notification, or its response to a server's request."""
    STREAM = auto()
    """The GET stream of a session."""
    HELPER = auto()
    """A call of one of our own tools."""
    SCHEMA = auto()
    """Our own reading of the tools, for a call whose headers the server refused."""


class Phase(Enum):
    """Where a row stands."""

    HELD = auto()
    """Waiting for the session to open."""
    POSTED = auto()
    SERVED = auto()
    """The host has its answer from the catalogue; the live one is only learned."""
    CANCELLED = auto()
    """The host gave up; a late answer is dropped."""
    ANSWERED = auto()
    """The answer came; its exchange has not ended yet."""


MOVES: Final = {
    Phase.HELD: {Phase.POSTED, Phase.SERVED},
    Phase.POSTED: {Phase.HELD, Phase.SERVED, Phase.CANCELLED, Phase.ANSWERED},  # back to HELD: the session was lost
    Phase.SERVED: {Phase.ANSWERED},
    Phase.CANCELLED: {Phase.ANSWERED},
    Phase.ANSWERED: set[Phase](),
}


@dataclass(slots=True)
class Row:
    """One exchange, from the host's frame to its end."""

    call: int
    purpose: Purpose
    method: str
    raw: bytes
    id: bytes | None = None
    key: bytes | None = None
    modern: bool = False
    """Says all of itself; else it belongs to the session. A host may send both."""
    headers: tuple[tuple[str, str], ...] = ()
    record: CallRecord | None = None
    deadline: float = float("inf")
    latest: float = float("inf")
    """What the deadline may be moved to at most."""
    progress: bytes = b""
    """The key of its progress token; empty where the host wants to hear of none."""
    repeats: int = 0
    """How often it was sent once more because the server asked to be asked later."""
    repeat_at: float | None = None
    cursor: str = ""
    phase: Phase = Phase.HELD
    overdue: bool = False
    """A list that the catalogue could not answer either: it waits for as long as a call."""
    retried: bool = False
    """Once sent again because the session was lost; not a second time."""
    session: str | None = None
    """The id of the session in which it was posted."""
    last_event_id: str = ""
    resumes: int = 0
    """How often in a row its stream was asked to go on without bringing anything new."""
    resume_at: float | None = None
    """When its stream is to be asked to go on."""
    cancels: int | None = None
    """The call that this notification cancels."""
    refusal: bytes = b""
    """The server's answer to a call whose headers were wrong; it is sent once more and not again."""
    doubt: bytes = b""
    """What the host is told if the server, which may be of the legacy era, turns out not to be."""
    repairs: int | None = None
    """The call that waits for this reading of the tools."""
    pages: int = 0
    """How many more pages may be read for it."""

    @property
    def was_refused(self) -> bool:
        """It has been at the server, which did not carry it out."""
        return self.retried or self.repeats > 0 or bool(self.refusal or self.doubt)

    def move(self, phase: Phase) -> None:
        if phase not in MOVES[self.phase]:
            raise AssertionError(f"{self.method}: {self.phase.name} to {phase.name}")
        self.phase = phase
