"""A legacy server's questions to a modern host: the call stays upstream while its host is asked and asks again.

Up to 2025-11-25 a server asks on the stream of a call; since 2026-07-28 the call is answered with the question, and
the host repeats it with what it was asked for (basic/patterns/mrtr). `requestState` names the call that waits. It
cannot be guessed and fits that call alone, and tampering with it brings an error and no more, so it needs no seal.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec import Raw

from acp_stdio.errors import Failure
from acp_stdio.relay.bridge import capabilities, envelope, problems, results
from acp_stdio.relay.bridge.base import INVALID_PARAMS, MAX_QUESTIONS, Asked, Bridge
from acp_stdio.relay.commands import Command
from acp_stdio.wire import frames, methods
from acp_stdio.wire.frames import Frame
from acp_stdio.wire.members import encoded, joined, members, text

GATHER: Final = 0.05
"""Seconds in which further questions of one call are put with the first one."""

_REFUSED: Final = -32600


@dataclass(frozen=True, slots=True)
class Question:
    """What the server wants to know."""

    id: bytes | None
    """Of the server's request; None for a page of a call that is sent again."""
    method: str
    params: Raw | None


@dataclass(slots=True, eq=False)
class Trip:
    """One request upstream, over all rounds that the host makes of it."""

    asked: Asked | None
    """The host's request that waits for it; none between two rounds."""
    method: str
    params: dict[str, Raw]
    capabilities: dict[str, Raw]
    wire: bytes = b""
    token: Raw | None = None
    """The progress token that the server knows."""
    questions: dict[str, Question] = field(default_factory=dict[str, Question])
    """Those without an answer."""
    number: int = 0
    gathering: bool = False
    state: str = ""
    """The `requestState` that the host was given last."""
    end: Frame | None = None
    """The server's answer, where it came while nobody waited."""

    @property
    def sent_again(self) -> bool:
        """Whether the server wants the whole call again, behind its pages."""
        return any(question.id is None for question in self.questions.values())


class Trips:
    """All requests that are upstream, by their id there."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._trips: dict[bytes, Trip] = {}
        self._states: dict[str, Trip] = {}
        self.server_info: Raw | None = None

    @property
    def under_way(self) -> bool:
        """Whether anything is upstream."""
        return bool(self._trips)

    def begin(self, asked: Asked, now: float) -> list[Command]:
        """Sends a host's request upstream."""
        return self._send(Trip(asked, asked.method, asked.params, asked.capabilities), now)

    def _send(self, trip: Trip, now: float) -> list[Command]:
        assert trip.asked is not None
        params = joined(envelope.without(trip.params))
        trip.wire = trip.asked.wire = self._bridge.new_wire()
        trip.token = members(trip.params.get("_meta")).get("progressToken")
        self._trips[trip.wire] = trip
        return self._bridge.post(
            trip.wire, trip.method, params, now, lambda frame, later: self._answered(trip, frame, later)
        )

    # -- questions ----------------------------------------------------------------------------------

    def ask(self, wire: bytes | None, frame: Frame, now: float) -> list[Command]:
        """The server asks on the stream of the request with this id, or (empty) on its session's own.

        There it belongs to the one call on its way: servers ask apart from the call that they ask for (the MCP
        TypeScript SDK's `elicitInput`). Of several nobody can say which, and without one there is no way to the host.
        """
        trip = self._the_only_one() if wire == b"" else self._trips.get(wire or b"null")
        method = frame.method or ""
        if trip is None or trip.method not in methods.ASKING or method not in methods.QUESTIONS:
            return self._refuse(frame, "this cannot be asked here: MCP 2026-07-28 asks within a call alone", now)
        if not capabilities.allows(trip.capabilities, method, frame.params):
            return self._refuse(frame, f"the application does not offer {method}", now)
        if len(trip.questions) >= MAX_QUESTIONS:
            return self._refuse(frame, f"{MAX_QUESTIONS} questions are open already", now)
        trip.number += 1
        trip.questions[f"question{trip.number}"] = Question(frame.id, method, frame.params)
        return self._gather(trip, now)

    def _the_only_one(self) -> Trip | None:
        asking = [trip for trip in self._trips.values() if trip.method in methods.ASKING]
        return asking[0] if len(asking) == 1 else None

    def _refuse(self, frame: Frame, why: str, now: float) -> list[Command]:
        number = frames.METHOD_NOT_FOUND if frame.method not in methods.QUESTIONS else _REFUSED
        return self._bridge.respond(frames.error_answer(frame.id, number, why), now)

    def _gather(self, trip: Trip, now: float) -> list[Command]:
        if trip.asked is None or trip.gathering:
            return []
        trip.gathering = True
        return self._bridge.later(GATHER, now, lambda _: self._put(trip))

    def _put(self, trip: Trip) -> list[Command]:
        """Answers the host's request with what is to be known first."""
        trip.gathering = False
        if trip.asked is None or not trip.questions:
            return []
        trip.state = self._bridge.mint()
        self._states[trip.state] = trip
        requests = {key: Raw(_question(question)) for key, question in trip.questions.items()}
        result: dict[str, Raw] = {
            "resultType": encoded("input_required"),
            "inputRequests": Raw(joined(requests)),
            "requestState": encoded(trip.state),
        }
        asked, trip.asked = trip.asked, None
        return self._bridge.finish(asked, joined(result))

    def withdrawn(self, raw_id: bytes | None) -> None:
        """The server does not want an answer any more."""
        for trip in self._trips.values():
            trip.questions = {key: q for key, q in trip.questions.items() if q.id is None or q.id != raw_id}

    # -- the host comes back ---------------------------------------------------------------------------

    def resume(self, asked: Asked, now: float) -> list[Command]:
        """The host repeats a request with the state that it was given."""
        trip = self._states.get(text(asked.params.get("requestState")))
        if trip is None or trip.method != asked.method or _salient(trip.params) != _salient(asked.params):
            return self._bridge.refuse(asked, INVALID_PARAMS, "no call waits for this requestState")
        given = members(asked.params.get("inputResponses"))
        wrong = [key for key in trip.questions if key in given and not bytes(given[key]).lstrip().startswith(b"{")]
        if wrong or not bytes(asked.params.get("inputResponses", b"{}")).lstrip().startswith(b"{"):
            return self._bridge.refuse(asked, INVALID_PARAMS, "inputResponses is no object of objects")
        del self._states[trip.state]
        trip.asked, trip.state, trip.capabilities = asked, "", asked.capabilities
        if trip.sent_again:
            return self._again(trip, given, now)
        asked.wire = trip.wire
        commands: list[Command] = []
        for key in [key for key in trip.questions if key in given]:
            question = trip.questions.pop(key)
            commands += self._bridge.respond(frames.answer(question.id or b"null", bytes(given[key])), now)
        if trip.end is not None:
            return [*commands, *self._deliver(trip, trip.end, now)]
        return [*commands, *(self._put(trip) if trip.questions else [])]

    def _again(self, trip: Trip, given: dict[str, Raw], now: float) -> list[Command]:
        """The pages were opened, so the call is sent once more; a call of its own for the trail too."""
        assert trip.asked is not None
        if not trip.questions.keys() <= given.keys():
            return self._put(trip)
        if any(text(members(given[key]).get("action")) != "accept" for key in trip.questions):
            why = "The page that has to be opened first was not."
            return self._bridge.fail(trip.asked, Failure("denied", why, "Ask again and open it."))
        trip.questions, trip.params = {}, trip.asked.params
        return self._send(trip, now)

    # -- the end ------------------------------------------------------------------------------------------

    def _answered(self, trip: Trip, frame: Frame, now: float) -> list[Command]:
        self._trips.pop(trip.wire, None)
        trip.questions = {}
        if trip.asked is not None:
            return self._deliver(trip, frame, now)
        trip.end = frame
        return self._expire_later(trip.state, now)

    def _expire_later(self, state: str, now: float) -> list[Command]:
        def expire(_: float) -> list[Command]:
            self._states.pop(state, None)
            return []

        return self._bridge.later(self._bridge.inner.call_timeout, now, expire)

    def forget_ended(self) -> None:
        """Somebody else may sign in: the last person's answers and pages, of which the server knows no more, go."""
        self._states = {state: trip for state, trip in self._states.items() if trip.wire in self._trips}

    def _deliver(self, trip: Trip, frame: Frame, now: float) -> list[Command]:
        assert trip.asked is not None
        if frame.result is not None:
            return self._bridge.finish(trip.asked, results.for_modern(trip.method, frame.result, self.server_info))
        pages = problems.pages(frame.error)
        if trip.method in methods.ASKING and pages:
            question = [Question(None, methods.ELICIT, Raw(page.params)) for page in pages]
            if all(capabilities.allows(trip.capabilities, q.method, q.params) for q in question):
                trip.questions = {page.key: q for page, q in zip(pages, question, strict=True)}
                return [*self._put(trip), *self._expire_later(trip.state, now)]
        return self._bridge.finish_with(trip.asked, problems.for_modern(frame.error or Raw(b"{}")))

    def give_up(self, asked: Asked, now: float) -> list[Command]:
        """The host cancelled a request."""
        trip = self._trips.pop(asked.wire, None)
        if trip is not None:
            self._states.pop(trip.state, None)
        return self._bridge.take_back(asked.wire, now) if asked.wire else []

    # -- progress --------------------------------------------------------------------------------------

    def progress(self, frame: Frame) -> Frame | None:
        """A progress notification under the token of the round that waits; None where none does."""
        params = members(frame.params)
        token = params.get("progressToken")
        trip = next((trip for trip in self._trips.values() if trip.token is not None and trip.token == token), None)
        if trip is None:
            return frame
        shown = members(trip.asked.params.get("_meta")).get("progressToken") if trip.asked is not None else None
        if shown is None or shown == token:
            return frame if shown is not None else None
        params["progressToken"] = shown
        return frames.parse(
            b'{"jsonrpc":"2.0","method":%b,"params":%b}' % (bytes(encoded(methods.PROGRESS)), joined(params))
        )


def _question(question: Question) -> bytes:
    parts = {"method": encoded(question.method)}
    if question.params is None:
        return joined(parts)
    params = members(question.params)
    params.pop("elicitationId", None)  # 2026-07-28 has none
    return joined({**parts, "params": Raw(joined(params))})


def _salient(params: dict[str, Raw]) -> Any:
    kept = {name: raw for name, raw in params.items() if name not in (*envelope.ROUND_TRIP, "_meta")}
    return json.loads(joined(kept), parse_int=str, parse_float=str)
