"""What both bridges share: an inner relay that sees one era, the host's requests, and times to come back to."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec import Raw

from acp_stdio.errors import Failure
from acp_stdio.relay import answers, handshake
from acp_stdio.relay.commands import Command, ToHost, Wake
from acp_stdio.relay.handshake import Agent
from acp_stdio.relay.relay import MAX_IN_FLIGHT, Relay
from acp_stdio.wire import frames, methods
from acp_stdio.wire.ending import Ending
from acp_stdio.wire.frames import Frame
from acp_stdio.wire.members import encoded, joined, members

Mint = Callable[[], str]
"""128 random bits as hexadecimal digits; a bridge has no randomness of its own."""
Then = Callable[[Frame, float], list[Command]]
"""What is to be done with the answer to a request."""

INVALID_PARAMS: Final = -32602
MAX_QUESTIONS: Final = 32
"""Of one request at a time. A person answers a few; above this a server is in a loop."""


@dataclass(slots=True, eq=False)
class Asked:
    """A host's request, from its frame to its answer."""

    id: bytes
    key: bytes
    method: str
    params: dict[str, Raw]
    """Without what its era adds."""
    since: float
    wire: bytes = b""
    """The id under which it is upstream now; none while it is not."""
    rounds: int = 0
    """How often the upstream has answered with questions."""
    repeated: bool = False
    """Sent once more after an error that another try may not bring; not a second time."""
    trace: str = ""
    level: str = ""
    """Of log messages, where it asked for them."""
    capabilities: dict[str, Raw] = field(default_factory=dict[str, Raw])
    """What the host declared with it."""


class Bridge(ABC):
    """Implements `relay.mind.Mind` around a relay. Every request that goes in has an id of ours.

    So the rounds of one question, and requests that no host made, never meet the host's own ids.
    """

    modern: bool

    def __init__(self, inner: Relay, mint: Mint) -> None:
        self.inner = inner
        self.mint = mint
        self.asked: dict[bytes, Asked] = {}
        """What the host waits for, by the key of its id."""
        self._answers: dict[bytes, Then] = {}
        self._last = 0
        self._due: list[tuple[float, Callable[[float], list[Command]]]] = []

    # -- `relay.mind.Mind` ------------------------------------------------------------------------

    @property
    def agent(self) -> Agent:
        """Who the host says it is."""
        return self.inner.agent

    @property
    def strange(self) -> bool:
        """Whether the host has never seen what the upstream offers."""
        return self.inner.strange

    @property
    def batches(self) -> bool:
        """Whether the host speaks the one revision of MCP that has JSON-RPC batches."""
        return False

    @property
    def waiting(self) -> bool:
        """Whether `tick` has anything to look at."""
        return bool(self._due) or self.inner.waiting

    def handshake_was_answered(self, frame: Frame) -> None:
        """The host's first frame was answered before this was made."""
        self.inner.handshake_was_answered(frame)

    def reach_out(self, now: float) -> list[Command]:
        """See `Relay.reach_out`."""
        return self.out(self.inner.reach_out(now), now)

    def host_sent(self, frame: Frame, now: float) -> list[Command]:
        """One frame from the host."""
        if frame.is_response:
            return self.responded(frame, now)
        if frame.id is None:
            return self.notified(frame, now)
        assert frame.method is not None
        key = frames.id_key(frame.id)
        if key in self.asked:
            return [ToHost(frames.error_answer(frame.id, frames.INVALID_REQUEST, "this id is already in use"))]
        if len(self.asked) >= MAX_IN_FLIGHT:
            busy = Failure("overloaded", f"{MAX_IN_FLIGHT} requests are already waiting.", "Try again in a moment.")
            refusal = answers.refusal(frame.id, frame.method, busy, answers.NOTHING_SENT, modern=self.modern)
            return [ToHost(refusal)]
        try:
            frames.check_unambiguous(frame.raw)  # before anything is read from it and written anew
        except frames.BadFrame as problem:
            return [ToHost(frames.error_answer(frame.id, problem.code, str(problem)))]
        return self.requested(Asked(frame.id, key, frame.method, members(frame.params), now), frame, now)

    def host_sent_garbage(self, problem: frames.BadFrame) -> list[Command]:
        """A line from the host that is no message."""
        return self.inner.host_sent_garbage(problem)

    def upstream_opened(self, call: int, session_id: str | None) -> None:
        """See `Relay.upstream_opened`."""
        self.inner.upstream_opened(call, session_id)

    def upstream_sent(self, call: int, frame: Frame, now: float) -> list[Command]:
        """See `Relay.upstream_sent`."""
        return self.out(self.inner.upstream_sent(call, frame, now), now)

    def upstream_ended(self, call: int, ending: Ending, now: float) -> list[Command]:
        """See `Relay.upstream_ended`."""
        return self.out(self.inner.upstream_ended(call, ending, now), now)

    def refused(self, call: int, failure: Failure, now: float, *, turned_away: bool = False) -> list[Command]:
        """See `Relay.refused`."""
        return self.out(self.inner.refused(call, failure, now, turned_away=turned_away), now)

    def tick(self, now: float, left: Callable[[int], bool] = lambda _: True) -> list[Command]:
        """See `Relay.tick`."""
        commands = self.out(self.inner.tick(now, left), now)
        due = [act for when, act in self._due if when <= now]
        self._due = [(when, act) for when, act in self._due if when > now]
        for act in due:
            commands += act(now)
        return commands

    def signed_in(self, now: float) -> list[Command]:
        """See `Relay.signed_in`."""
        return self.out(self.inner.signed_in(now), now)

    def signed_out(self, failure: Failure, now: float, left: Callable[[int], bool] = lambda _: True) -> list[Command]:
        """See `Relay.signed_out`."""
        return self.out(self.inner.signed_out(failure, now, left), now)

    def host_left(self) -> list[Command]:
        """See `Relay.host_left`."""
        return self.inner.host_left()

    def helper_finished(self, call: int, text: str, *, error: bool = False) -> list[Command]:
        """See `Relay.helper_finished`."""
        return self.out(self.inner.helper_finished(call, text, error=error), 0.0)

    # -- what the two directions do differently -------------------------------------------------------

    @abstractmethod
    def requested(self, asked: Asked, frame: Frame, now: float) -> list[Command]:
        """A request of the host's."""

    @abstractmethod
    def notified(self, frame: Frame, now: float) -> list[Command]:
        """A notification of the host's."""

    @abstractmethod
    def responded(self, frame: Frame, now: float) -> list[Command]:
        """The host's answer to a request of ours."""

    @abstractmethod
    def told(self, frame: Frame, now: float) -> list[Command]:
        """A notification of the upstream's."""

    # -- for both, and for their parts ------------------------------------------------------------------

    def out(self, commands: list[Command], now: float) -> list[Command]:
        """What the inner relay wants done; what it would tell its host is put into the real one's words."""
        done: list[Command] = []
        for command in commands:
            if isinstance(command, ToHost):
                done += self._said(frames.parse(command.raw), now)
            else:
                done.append(command)
        return done

    def _said(self, frame: Frame, now: float) -> list[Command]:
        if not frame.is_response:
            return [] if frame.id is not None else self.told(frame, now)
        then = self._answers.pop(frames.id_key(frame.id or b"null"), None)
        return then(frame, now) if then is not None else [ToHost(frame.raw)]  # to what came before this bridge

    @property
    def on_their_way(self) -> list[bytes]:
        """The ids of the requests that are upstream."""
        return list(self._answers)

    def new_wire(self) -> bytes:
        """An id for a request upstream."""
        self._last += 1
        return b'"acp-stdio-%d"' % self._last

    def post(self, wire: bytes, method: str, params: bytes, now: float, then: Then) -> list[Command]:
        """Sends a request upstream under this id. `then` may be called before this returns."""
        self._answers[wire] = then
        return self._give_in(b'"id":%b,"method":%b,"params":%b' % (wire, bytes(encoded(method)), params), now)

    def request(self, method: str, params: bytes, now: float, then: Then) -> list[Command]:
        """The same for a request of our own, which nobody takes back."""
        return self.post(self.new_wire(), method, params, now, then)

    def _give_in(self, members: bytes, now: float) -> list[Command]:
        raw = b'{"jsonrpc":"2.0",%b}' % members
        return self.out(self.inner.host_sent(frames.parse(raw), now), now)

    def respond(self, raw: bytes, now: float) -> list[Command]:
        """Answers a request of the upstream's."""
        return self.out(self.inner.host_sent(frames.parse(raw), now), now)

    def tell(self, method: str, params: bytes, now: float) -> list[Command]:
        """Sends a notification upstream."""
        return self._give_in(b'"method":%b,"params":%b' % (bytes(encoded(method)), params), now)

    def take_back(self, wire: bytes, now: float) -> list[Command]:
        """Cancels a request upstream, in its era's way; its answer is not waited for."""
        if self._answers.pop(wire, None) is None:
            return []
        return self.tell(methods.CANCELLED, joined({"requestId": Raw(wire)}), now)

    def later(self, seconds: float, now: float, act: Callable[[float], list[Command]]) -> list[Command]:
        """Comes back to something."""
        self._due.append((now + seconds, act))
        return [Wake(seconds)]

    def finish(self, asked: Asked, result: bytes) -> list[Command]:
        """Gives the host its answer."""
        return self.give(asked, frames.answer(asked.id, result))

    def finish_with(self, asked: Asked, error: bytes) -> list[Command]:
        """Gives the host an error."""
        return self.give(asked, b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (asked.id, error))

    def refuse(self, asked: Asked, number: int, message: str, data: dict[str, Any] | None = None) -> list[Command]:
        """Gives the host an error of ours."""
        return self.give(asked, frames.error_answer(asked.id, number, message, data))

    def fail(self, asked: Asked, failure: Failure, opening: str = "") -> list[Command]:
        """Tells the host that its request failed here, as `relay.answers` puts it."""
        return self.give(asked, answers.refusal(asked.id, asked.method, failure, opening, modern=self.modern))

    def give(self, asked: Asked, raw: bytes) -> list[Command]:
        """Answers; nothing where nobody waits any more."""
        asked.wire = b""
        if self.asked.get(asked.key) is not asked:
            return []
        del self.asked[asked.key]
        return [ToHost(raw)]

    def cancelled(self, frame: Frame) -> Asked | None:
        """The request that a host's `notifications/cancelled` names."""
        raw_id = handshake.cancelled_id(frame.params)
        return self.asked.get(frames.id_key(raw_id)) if raw_id is not None else None


def notification(method: str, params: Mapping[str, Raw]) -> ToHost:
    """A notification to the host; without parameters where there are none."""
    if not params:
        return ToHost(frames.notification(method))
    return ToHost(b'{"jsonrpc":"2.0","method":%b,"params":%b}' % (bytes(encoded(method)), joined(params)))
