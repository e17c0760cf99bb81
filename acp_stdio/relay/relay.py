"""The relay: what happened goes in, what to do comes out. No I/O, no clock.

Each method is an event in the past tense and returns commands to carry out in order. `now`
is any clock that only goes forward, in seconds. Nothing that a peer sends raises.
"""

from collections.abc import Callable
from typing import Final

from msgspec import Raw

from acp_stdio.catalogue.model import DISCOVER, NO_ERA, list_key
from acp_stdio.errors import Failure
from acp_stdio.relay import answers, envelope, handshake, lists
from acp_stdio.relay.commands import Abort, CallRecord, Command, RunHelper, ToHost, Wake
from acp_stdio.relay.desk import LINGER
from acp_stdio.relay.pending import Phase, Purpose, Row
from acp_stdio.relay.timing import LONGEST, Timing
from acp_stdio.wire import errors, frames, methods
from acp_stdio.wire.ending import Ending
from acp_stdio.wire.frames import Frame

MAX_IN_FLIGHT: Final = 512
"""Requests of one host. Above this a host is in a loop; it is told at once."""


class Relay(Timing):
    """Between one host and one upstream."""

    # -- the host -----------------------------------------------------------------------------

    def host_sent(self, frame: Frame, now: float) -> list[Command]:
        """One frame from the host."""
        if frame.is_response:
            # Servers count from one in each session: what was asked in another, perhaps of another person, is void.
            asked = frame.id is not None and self._session.is_answered(frames.id_key(frame.id))
            return self._note(frame, now) if asked else []
        if frame.id is None:
            return self._notified(frame, now)
        return self._requested(frame, now)

    @property
    def batches(self) -> bool:
        """Whether both ends speak the one revision of MCP that has JSON-RPC batches."""
        return not self.modern and self._session.version == methods.BATCH_VERSION

    def host_sent_garbage(self, problem: frames.BadFrame) -> list[Command]:
        """A line from the host that is no message."""
        return [ToHost(frames.error_answer(None, problem.code, str(problem)))]

    def _requested(self, frame: Frame, now: float) -> list[Command]:
        assert frame.id is not None
        assert frame.method is not None
        key = frames.id_key(frame.id)
        if key in self._by_id:
            return [ToHost(frames.error_answer(frame.id, frames.INVALID_REQUEST, "this id is already in use"))]
        if len(self._by_id) >= MAX_IN_FLIGHT:
            busy = Failure("overloaded", f"{MAX_IN_FLIGHT} requests are already waiting.", "Try again in a moment.")
            return [ToHost(self._refusal(frame.id, frame.method, busy, answers.NOTHING_SENT))]
        try:
            frames.check_unambiguous(frame.raw)
        except frames.BadFrame as problem:
            return [ToHost(frames.error_answer(frame.id, problem.code, str(problem)))]
        view = handshake.view(frame.params)
        refusal = envelope.misfit(frame, view, modern=self.modern and self._session.hello is None)
        if refusal is not None:
            return [ToHost(refusal)]
        modern = view.version is not None
        if modern and self._needs_bridge(frame.method):
            return self._bridge_modern_host(now, frame)
        if modern:
            self.agent = view.agent or self.agent
        if frame.method != methods.PING:
            self.modern = modern
        row = self._row(Purpose.CALL, frame.method, frame.raw)
        row.modern = modern
        row.id, row.key = frame.id, key
        row.deadline, row.latest = now + self._call_timeout, now + max(LONGEST, self._call_timeout)
        row.progress = view.progress
        match frame.method:
            case methods.INITIALIZE:
                return self._initialize(row, frame, now)
            case methods.DISCOVER:
                return self._discover(row, frame, now)
            case methods.PING if not modern:
                self._drop(row)
                return [ToHost(frames.answer(frame.id, b"{}"))]
            case methods.TOOLS_CALL if self._helpers and view.name in (lists.LOGIN_TOOL, lists.STATUS_TOOL):
                row.purpose, row.phase = Purpose.HELPER, Phase.POSTED
                self._by_id[key] = row
                return [RunHelper(row.call, view.name)]
            case methods.LISTEN:
                row.deadline = float("inf")
            case method if method in methods.LISTS:
                row.purpose, row.cursor = Purpose.LIST, view.cursor
                row.deadline = now + self._list_wait
            case _:
                pass
        self._by_id[key] = row
        if modern:
            row.headers = self._modern_headers.of(frame.method, view, frame.params)
        if frame.method not in methods.UNAUDITED:
            size = len(frame.params) if frame.params is not None else 0  # type: ignore[arg-type]  # Raw has __len__
            resource = frame.method.startswith("resources/")
            name = view.uri or view.name if resource else view.name or view.uri
            params = frame.params or Raw(b"{}")
            row.record = CallRecord(frame.method, name, self.agent.name, self.agent.version, size, view.trace, params)
        commands = self._send(row, now)
        if row.purpose is Purpose.LIST:
            commands.append(Wake(self._list_wait))
        return commands

    def _notified(self, frame: Frame, now: float) -> list[Command]:
        if frame.method == methods.INITIALIZED:
            return self._host_is_ready(frame, now)
        if frame.method == methods.CANCELLED:
            return self._cancelled(frame, now)
        return self._note(frame, now)

    def _note(self, frame: Frame, now: float) -> list[Command]:
        row = self._row(Purpose.NOTE, frame.method or "", frame.raw)
        row.deadline = now + self._call_timeout
        commands = self._send(row, now)
        if row.phase is Phase.HELD:
            self._bound_notes()
        return commands

    def _cancelled(self, frame: Frame, now: float) -> list[Command]:
        raw_id = handshake.cancelled_id(frame.params)
        row = self._by_id.get(frames.id_key(raw_id)) if raw_id is not None else None
        if row is None or row.purpose is Purpose.HANDSHAKE:
            return []  # unknown or already answered: MCP says to ignore it
        return self._give_up(row, frame.raw, "cancelled", "", now)

    # -- the upstream ---------------------------------------------------------------------------

    def upstream_opened(self, call: int, session_id: str | None) -> None:
        """A successful head came; for `initialize` it may carry the session's id."""
        row = self._rows.get(call)
        if row is not None and row.method == methods.INITIALIZE and row.call == self._session.opening:
            self._session.id = session_id
        elif row is not None and row.purpose is Purpose.STREAM:
            self._session.stream_opened()

    def server_asked(self, call: int, frame: Frame) -> None:
        """A request of the server's goes to the host, who may answer it in the session that it came in."""
        row = self._rows.get(call)
        if row is not None and frame.id is not None and row.session == self._session.id:
            self._session.was_asked(frames.id_key(frame.id))

    def upstream_sent(self, call: int, frame: Frame, now: float) -> list[Command]:
        """One frame that came on this call's exchange."""
        row = self._rows.get(call)
        if row is None or row.phase is Phase.ANSWERED:
            return []
        if row.purpose is Purpose.STREAM:
            self._session.stream_brought()
        if not frame.is_response:
            self._kept_alive(frame, now)
            self.server_asked(call, frame)
            return [] if row.phase is Phase.CANCELLED or row.purpose is Purpose.SCHEMA else [ToHost(frame.raw)]
        if row.purpose is Purpose.SCHEMA:
            return self._schema_came(row, frame, now)
        if row.id is None and row.purpose is not Purpose.HANDSHAKE:
            return []  # an answer to nothing that was asked here
        if frame.error is not None and frame.id in (None, b"null"):
            frame = answers.named(frame, row.id)  # an error may come without the id that could not be read
        if frame.id is None or (row.key is not None and frames.id_key(frame.id) != row.key):
            return []  # an answer to another request: not for this call
        if row.purpose is Purpose.HANDSHAKE:
            return self._shaken(row, frame, now)
        return self._schema_asked(row, frame) or self._answered(row, frame, now)

    def upstream_ended(self, call: int, ending: Ending, now: float) -> list[Command]:
        """This call's exchange is over; nothing more comes on it."""
        row = self._rows.get(call)
        if row is None:
            return []
        if row.phase is Phase.ANSWERED:
            self._drop(row)
            return []
        if ending.status == 404 and self._means_lost(row):
            return self._session_was_lost(row, now)
        match row.purpose:
            case Purpose.READY:
                return self._session_is_open(row, ending, now)
            case Purpose.STREAM:
                self._drop(row)
                return self._session.stream_ended(ending, now)
            case Purpose.NOTE:
                self._drop(row)
                return self._after_note(row)
            case _:
                return self._to_be_resumed(row, ending, now) or self._unanswered(row, ending, now)

    def refused(self, call: int, failure: Failure, now: float, *, turned_away: bool = False) -> list[Command]:
        """The call did not leave: no token, no intent, or no right to send it.

        `turned_away`: it did, the server did not take its token (401), and there is no other.
        """
        row = self._rows.get(call)
        if row is None:
            return []
        return self._fail(row, failure, self._unsent(row, turned_away=turned_away), "denied", now)

    def _means_lost(self, row: Row) -> bool:
        """Whether a 404 to this row says that its session is gone. A session is opened again once a row."""
        if row.purpose is Purpose.STREAM and not self._session.streamed:
            return False
        known = row.session is not None and row.purpose is not Purpose.READY
        return known and not row.retried and not row.last_event_id

    def _answered(self, row: Row, frame: Frame, now: float) -> list[Command]:
        waits, cancelled = self._waits(row), row.phase is Phase.CANCELLED
        self._forget_id(row)
        row.move(Phase.ANSWERED)
        row.deadline = now + LINGER
        if cancelled:
            return []
        commands: list[Command] = []
        raw = frame.raw
        if row.purpose is Purpose.LIST and frame.result is not None:
            key = list_key(row.method, row.cursor, modern=row.modern)
            result = bytes(frame.result)
            commands.append(self._learn(key, result))
            raw = self._list_answer(row, result, live=True) or raw
        if not waits:
            return commands
        commands += self._settled(row, answers.outcome_of(frame), answers.reason_of(frame), len(raw))
        return [*commands, ToHost(raw)]

    def _unanswered(self, row: Row, ending: Ending, now: float) -> list[Command]:
        """The exchange ended without an answer in it, or its status says that there is none."""
        if self._doubts(row, ending):
            return self._probe(now)
        if ending.status is not None and ending.status >= 400 and ending.status not in (401, 403):
            try:
                frame = frames.parse(ending.body)
            except frames.BadFrame:
                frame = None
            if frame is not None and frame.error is not None and self._era_fits(row, ending):
                told = self.upstream_sent(row.call, answers.named(frame, row.id), now)
                if row.phase is not Phase.HELD:
                    self._drop(row)
                return told
        if row.method == methods.DISCOVER and errors.means_legacy(ending.status, ending.body):
            learned = self._learn(DISCOVER, NO_ERA)
            waits = self._waits(row)
            self._drop(row)
            if not waits:
                return [learned, *self._resolved(now)]
            self.modern = False
            return [learned, self._speaks_legacy(row.id or b"null"), *self._resolved(now)]
        if later := self._asked_to_wait(row, ending, now):
            return later
        failure, opening = answers.failure_of(ending, self._upstream, modern=row.modern, helpers=self._helpers)
        if row.last_event_id:  # it was taken the first time; only going on was refused
            opening = answers.PERHAPS_DONE
        outcome = "denied" if opening == answers.NOTHING_DONE else "unknown" if ending.sent else "error"
        doubt = self._probe(now) if failure.reason == "era_mismatch" else []
        return [*self._fail(row, failure, opening, outcome, now), *doubt]

    def _era_fits(self, row: Row, ending: Ending) -> bool:
        """A 4xx body answers a modern probe only if it is a modern error; else the server is of the other era."""
        return row.method != methods.DISCOVER or errors.is_modern(ending.body)

    # -- sign-in, helpers -------------------------------------------------------------------

    def signed_in(self, now: float) -> list[Command]:
        """Somebody signed in: the upstream can be reached, and its lists may be others."""
        self._signed_in = True
        told: list[Command] = []
        if self._session.hello is not None and not self.modern:  # the modern era tells it on a subscription
            told = [ToHost(frames.notification("notifications/tools/list_changed"))]
        return told + self.reach_out(now)

    def signed_out(self, failure: Failure, now: float, left: Callable[[int], bool] = lambda _: True) -> list[Command]:
        """The sign-in ended: streams close, calls in flight are cancelled. `left`: as for `tick`."""
        self._signed_in = False
        self._session.lose()
        commands: list[Command] = []
        for row in list(self._rows.values()):
            if row.purpose is Purpose.HELPER or row.call not in self._rows:
                continue
            sent = row.phase is Phase.POSTED and left(row.call)
            opening = answers.PERHAPS_DONE if sent else self._unsent(row)
            commands.append(Abort(row.call))
            commands += self._fail(row, failure, opening, "cancelled" if sent else "denied", now)
        return commands

    def host_left(self) -> list[Command]:
        """The host closed its end: everything in flight is cancelled, the session is ended."""
        commands: list[Command] = []
        for row in list(self._rows.values()):
            self._drop(row)
            commands.append(Abort(row.call))
            commands += self._settled(row, "cancelled", "host_left", 0)
        return commands + self._end_session()

    def helper_finished(self, call: int, text: str, *, error: bool = False) -> list[Command]:
        """One of our own tools is done."""
        row = self._rows.get(call)
        if row is None or row.id is None:
            return []
        self._drop(row)
        return [ToHost(frames.answer(row.id, answers.tool_result(text, modern=row.modern, error=error)))]
