"""The switchboard: one host in front, a lane to each upstream behind. No I/O, no clock.

Like a relay it takes events and returns what to do in order; what its lanes say comes back as
`lane_sent`. It sees one era, the host's: a lane whose upstream speaks the other one translates, or
says that it cannot. Nothing that a host or a lane sends raises.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from acp_stdio.catalogue.model import Catalogue
from acp_stdio.errors import Failure
from acp_stdio.relay import answers, envelope, handshake, lists
from acp_stdio.relay.commands import Abort, RunHelper, ToHost
from acp_stdio.relay.handshake import Agent, RequestView
from acp_stdio.relay.relay import MAX_IN_FLIGHT
from acp_stdio.relay.switchboard import merging
from acp_stdio.relay.switchboard.directory import Directory, Routed
from acp_stdio.relay.switchboard.listening import Listening
from acp_stdio.relay.switchboard.moves import Move, ToLane
from acp_stdio.relay.switchboard.questions import Questions
from acp_stdio.relay.switchboard.rounds import INVALID_PARAMS, MANY, Rounds
from acp_stdio.wire import frames, members, methods
from acp_stdio.wire.frames import Frame

NO_SUCH_RESOURCE: Final = -32002
"""MCP up to 2025-11-25; the modern era says `INVALID_PARAMS`."""


class _Asked(NamedTuple):
    """A request that one lane has; `lane` -1: one of our own tools, whose number is `call`."""

    lane: int
    id: bytes
    call: int = 0
    token: bytes = b""
    """The key of its progress token; empty where it has none."""


_OURS: Final = -1


class Switchboard:
    """Between one host and several lanes."""

    def __init__(
        self,
        upstreams: Sequence[str],
        catalogues: Sequence[Catalogue],
        *,
        helpers: bool = True,
        notice: Callable[[], str] = lambda: "",
        jitter: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`catalogues`: what the lanes remember and go on learning, in the order of `upstreams`; `notice`: what
        people should know about the tools; `jitter`: random, from 0 to 1."""
        self.agent = Agent()
        self.modern = False
        self._upstreams = upstreams
        self._catalogues = catalogues
        self._helpers = helpers
        self._directory = Directory(upstreams, catalogues)
        self._questions = Questions(upstreams)
        self._listening = Listening(upstreams, self._directory, jitter)
        self._rounds = Rounds(upstreams, catalogues, self._directory, self._announce, helpers=helpers, notice=notice)
        self._asked: dict[bytes, _Asked] = {}
        self._legacy = False
        """The host has said `initialize`."""
        self._last_call = 0

    # -- the host -----------------------------------------------------------------------------

    def handshake_was_answered(self, frame: Frame) -> None:
        """The host's first frame was answered from memory; the lanes are told the same."""
        self._shake(frame, handshake.view(frame.params))

    def host_sent(self, frame: Frame, now: float) -> list[Move]:
        """One frame from the host."""
        if frame.is_response:
            answer = self._questions.answer(frame)
            return [] if answer is None else [answer]
        return self._notified(frame) if frame.id is None else self._requested(frame, now)

    def host_sent_garbage(self, problem: frames.BadFrame) -> list[Move]:
        """A line from the host that is no message."""
        return [ToHost(frames.error_answer(None, problem.code, str(problem)))]

    def helper_finished(self, call: int, text: str, *, error: bool = False) -> list[Move]:
        """One of our own tools is done."""
        for key, asked in self._asked.items():
            if asked.lane == _OURS and asked.call == call:
                del self._asked[key]
                return [ToHost(frames.answer(asked.id, answers.tool_result(text, modern=self.modern, error=error)))]
        return []

    def _requested(self, frame: Frame, now: float) -> list[Move]:
        assert frame.id is not None
        assert frame.method is not None
        key = frames.id_key(frame.id)
        if key in self._asked or self._rounds.is_ours(key) or self._listening.is_ours(key):
            return [ToHost(frames.error_answer(frame.id, frames.INVALID_REQUEST, "this id is already in use"))]
        if len(self._asked) + self._listening.count >= MAX_IN_FLIGHT:
            busy = Failure("overloaded", f"{MAX_IN_FLIGHT} requests are already waiting.", "Try again in a moment.")
            refusal = answers.refusal(frame.id, frame.method, busy, answers.NOTHING_SENT, modern=self.modern)
            return [ToHost(refusal)]
        view = handshake.view(frame.params)
        misfit = envelope.misfit(frame, view, modern=self.modern and not self._legacy)
        if misfit is not None:
            return [ToHost(misfit)]
        self._shake(frame, view)
        match frame.method:
            case methods.PING if view.version is None:
                return [ToHost(frames.answer(frame.id, b"{}"))]
            case methods.LISTEN:
                return self._listening.listen(frame, key, now)
            case methods.TOOLS_CALL if self._helpers and view.name in (lists.LOGIN_TOOL, lists.STATUS_TOOL):
                self._last_call += 1
                self._asked[key] = _Asked(_OURS, frame.id, self._last_call)
                return [RunHelper(self._last_call, view.name)]
            case method if method in MANY:
                cursor = members.members(frame.params).get("cursor")
                own = None if cursor is None or bytes(cursor) == b"null" else members.text(cursor)
                return self._rounds.ask(frame, key, own, now, modern=view.version is not None)
            case _:
                return self._routed(frame, key, view)

    def _shake(self, frame: Frame, view: RequestView) -> None:
        """Notices which era the host speaks, and who it is."""
        if frame.method == methods.INITIALIZE:
            self.agent, self.modern, self._legacy = handshake.offered(frame.params)[1], False, True
        elif view.version is not None:
            self.agent, self.modern = view.agent or self.agent, True

    def _routed(self, frame: Frame, key: bytes, view: RequestView) -> list[Move]:
        assert frame.id is not None
        found = self._directory.route(frame, view) or self._only_one_for(frame)
        if found is None:
            return [ToHost(self._nobodys(frame, view))]
        self._asked[key] = _Asked(found.lane, frame.id, token=view.progress)
        return [ToLane(found.lane, found.raw)]

    def _only_one_for(self, frame: Frame) -> Routed | None:
        """A request that names nothing of anybody's goes to the one upstream that offers such a thing."""
        word = (frame.method or "").partition("/")[0]
        offering = [lane for lane, known in enumerate(self._catalogues) if merging.offers(known, word)]
        return Routed(offering[0], frame.raw) if len(offering) == 1 and word not in ("tools", "prompts") else None

    def _nobodys(self, frame: Frame, view: RequestView) -> bytes:
        """The answer to a request that is nobody's. None is asked on the off chance: it may be another's secret."""
        raw_id = frame.id or b"null"
        if view.name:
            return frames.error_answer(raw_id, INVALID_PARAMS, f"nothing here is named {view.name}")
        if view.uri:
            code = INVALID_PARAMS if self.modern else NO_SUCH_RESOURCE
            why = "none of the servers has named this resource; list the resources first"
            return frames.error_answer(raw_id, code, why, {"uri": view.uri})
        if view.task:
            return frames.error_answer(raw_id, INVALID_PARAMS, "no such task")
        served = ", ".join(self._upstreams)
        why = f"{served} are served here together, and nothing says which of them {frame.method} is for"
        return frames.error_answer(raw_id, frames.METHOD_NOT_FOUND, why)

    def _notified(self, frame: Frame) -> list[Move]:
        match frame.method:
            case methods.CANCELLED:
                return self._cancelled(frame)
            case methods.PROGRESS:
                move = self._questions.progressed(frame)
                return [] if move is None else [move]
            case "notifications/tasks/status":
                lane = self._questions.whose_task(handshake.view(frame.params).task)
                return [] if lane is None else [ToLane(lane, frame.raw)]
            case _:  # for all of them: ready, roots changed, or something of a later revision
                return [ToLane(lane, frame.raw) for lane in range(len(self._upstreams))]

    def _cancelled(self, frame: Frame) -> list[Move]:
        named = handshake.cancelled_id(frame.params)
        if named is None:
            return []
        key = frames.id_key(named)
        asked = self._asked.pop(key, None)
        if asked is not None:
            return [Abort(asked.call) if asked.lane == _OURS else ToLane(asked.lane, frame.raw)]
        if self._rounds.cancel(key):
            return []
        return self._listening.end(key)

    # -- the lanes --------------------------------------------------------------------------------

    def lane_sent(self, lane: int, frame: Frame, now: float) -> list[Move]:
        """What a lane would tell the host."""
        if frame.is_response:
            return self._answered(lane, frame, now)
        if frame.is_request:
            shown = frames.parse(self._directory.shown_notice(lane, frame))
            question = self._questions.ask(lane, shown)
            return [question if isinstance(question, ToLane) else ToHost(question)]
        listened = self._listening.told(lane, frame, now)
        if listened is not None:
            return listened
        if frame.method == methods.PROGRESS and self._is_of_another(lane, handshake.progress_token(frame.params)):
            return []
        if frame.method == methods.CANCELLED:
            withdrawn = self._questions.withdrawn(lane, frame)
            return [] if withdrawn is None else [ToHost(withdrawn)]
        return [ToHost(self._directory.shown_notice(lane, frame))]

    def _is_of_another(self, lane: int, token: bytes) -> bool:
        whose = {asked.lane for asked in self._asked.values() if token and asked.token == token}
        return bool(whose) and lane not in whose

    def lane_came(self, lane: int, now: float) -> list[Move]:
        """Somebody signed in there: it can be reached, and its lists may be others."""
        self._rounds.forget(lane)
        moves = self._listening.came(lane)
        for capability in ("prompts", "resources", "tools"):
            if merging.offers(self._catalogues[lane], capability) is not False:
                moves += self._announce(capability, unless_legacy=capability == "tools")  # which a relay announces
        return moves

    def tick(self, now: float) -> list[Move]:
        """Time has passed: some waits may be over."""
        return [*self._rounds.tick(now), *self._listening.tick(now)]

    def _answered(self, lane: int, frame: Frame, now: float) -> list[Move]:
        key = frames.id_key(frame.id or b"null")
        asked = self._asked.get(key)
        if asked is not None and asked.lane == lane:
            del self._asked[key]
            return [ToHost(self._directory.shown_result(lane, frame))]
        moves = self._rounds.answered(lane, frame, now)
        if moves is None:
            moves = self._listening.answered(lane, frame, now)
        return moves or []

    def _announce(self, capability: str, *, unless_legacy: bool = False) -> list[Move]:
        """Tells the host that a list has changed, in its era's way."""
        if self.modern:
            return self._listening.changed(capability)
        told = self._legacy and not unless_legacy and capability in ("tools", "prompts", "resources")
        return [ToHost(frames.notification(f"notifications/{capability}/list_changed"))] if told else []
