"""Handshakes: how a host and an upstream come to speak, and the legacy era's session."""

from acp_stdio.catalogue.model import DISCOVER, NO_ERA, initialize_key, is_initialize
from acp_stdio.errors import Failure
from acp_stdio.relay import answers, handshake
from acp_stdio.relay.commands import Abort, Command, ToHost, Wake
from acp_stdio.relay.crossing import Crossing
from acp_stdio.relay.pending import Phase, Purpose, Row
from acp_stdio.relay.session import LegacySession, State
from acp_stdio.wire import errors, frames, methods
from acp_stdio.wire.ending import Ending
from acp_stdio.wire.frames import Frame


class Greeter(Crossing):
    """The part of the relay that shakes hands."""

    def handshake_was_answered(self, frame: Frame) -> None:
        """The host's first frame was answered from the catalogue before this relay existed."""
        if frame.method == methods.INITIALIZE:
            self._begin_legacy(frame)
        else:
            self.modern = True
            self.agent = handshake.view(frame.params).agent or self.agent

    def reach_out(self, now: float) -> list[Command]:
        """Opens the session behind an answered handshake, so that the first call finds it open."""
        if self._session.state is State.CLOSED and self._session.hello is not None:
            return self._open_session(now)
        return self._probe(now) if self.modern else []

    def _probe(self, now: float) -> list[Command]:
        """Asks the server what it is now, for the next start: behind an answer from memory, or when one stops fitting.

        What the host was answered holds for this process's life.
        """
        if any(row.method == methods.DISCOVER for row in self._rows.values()):
            return []
        raw = handshake.discover_request(self.agent)
        row = self._row(Purpose.HANDSHAKE, methods.DISCOVER, raw)
        row.deadline = now + self._call_timeout
        params = frames.parse(raw).params
        row.headers = self._modern_headers.of(methods.DISCOVER, handshake.view(params), params)
        return [self._post(row)]

    def _begin_legacy(self, frame: Frame) -> None:
        asked, self.agent = handshake.offered(frame.params)
        self.modern = False
        self._session = LegacySession(hello=frame.raw, asked=asked, jitter=self._jitter)

    def _initialize(self, row: Row, frame: Frame, now: float) -> list[Command]:
        ended = self._end_session()
        self._begin_legacy(frame)
        if self._only_modern:
            self._drop(row)
            return [*ended, *self._bridge_legacy_host(frame.raw, now, greeted=False)]
        known = self._catalogue.get(initialize_key(self._session.asked))
        if known is not None and known != NO_ERA:
            self._drop(row)
            return [*ended, ToHost(frames.answer(row.id or b"null", known)), *self._open_session(now)]
        if not self._signed_in:
            self._drop(row)
            return [*ended, ToHost(frames.answer(row.id or b"null", self._made_up_initialize()))]
        row.purpose, row.deadline = Purpose.HANDSHAKE, now + self._era_wait
        self._by_id[row.key or b""] = row
        self._session.state, self._session.opening = State.OPENING, row.call
        return [*ended, self._post(row), Wake(self._era_wait)]

    def _discover(self, row: Row, frame: Frame, now: float) -> list[Command]:
        known = self._catalogue.get(DISCOVER)
        assert row.id is not None
        assert row.key is not None
        if known is not None:
            self._drop(row)
            self.modern = known != NO_ERA
            told = ToHost(frames.answer(row.id, known)) if self.modern else self._speaks_legacy(row.id)
            return [told, *(self._probe(now) if self._signed_in else [])]
        if not self._signed_in:
            self._drop(row)
            return [ToHost(frames.answer(row.id, handshake.discover_result()))]
        row.purpose, row.deadline = Purpose.HANDSHAKE, now + self._era_wait
        self._by_id[row.key] = row
        row.headers = self._modern_headers.of(methods.DISCOVER, handshake.view(frame.params), frame.params)
        return [self._post(row), Wake(self._era_wait)]

    def _shaken(self, row: Row, frame: Frame, now: float) -> list[Command]:
        waits = self._waits(row)
        commands: list[Command] = []
        self._drop(row)
        if row.method == methods.DISCOVER:
            return self._discovered(row, frame, now, waits=waits)
        if row.call != self._session.opening:  # of a handshake that another has taken the place of
            return [ToHost(frame.raw)] if waits else []
        version = handshake.negotiated(frame.result) if frame.result is not None else ""
        if not version:
            self._session.state = State.CLOSED
            why = Failure("upstream_unreachable", f"{self._upstream} refused to open a session.", "Try again later.")
            if errors.refuses_initialize(frame.error):
                commands += self._speaks_no_legacy()
                if not self.crossed:
                    return [*commands, *self._bridge_legacy_host(row.raw, now, greeted=not waits)]
                self._forget_no_modern()
                why = answers.other_era(self._upstream)
            if waits:
                commands.append(ToHost(frame.raw))
            return commands + self._fail_held(why, answers.NOTHING_SENT, now)
        self._session.version, self._session.state = version, State.GREETED
        assert frame.result is not None
        commands.append(self._learn(initialize_key(self._session.asked), bytes(frame.result)))
        if waits:
            commands.append(ToHost(frame.raw))
        if self._session.host_ready:
            commands += self._confirm_session(now)
        else:
            commands += self._release_held()
        return commands

    def _discovered(self, row: Row, frame: Frame, now: float, *, waits: bool) -> list[Command]:
        """What the server said to a `server/discover`: a verdict about the modern era, unless it is one of its errors.

        Another error, or a result that names no version of it, means legacy (MCP 2026-07-28, versioning).
        """
        modern = frame.result is not None and handshake.offers_modern(frame.result)
        commands: list[Command] = []
        if modern or not errors.is_modern(frame.raw):
            commands.append(self._learn(DISCOVER, bytes(frame.result) if modern and frame.result else NO_ERA))
        if waits and frame.result is not None and not modern:  # a legacy server that advertises itself
            self.modern = False
            commands.append(self._speaks_legacy(row.id or b"null"))
        elif waits:
            commands.append(ToHost(frame.raw))
        return [*commands, *self._resolved(now)]

    def _speaks_no_legacy(self) -> list[Command]:
        """Remembers that every `initialize` is refused, also one that was answered in earlier days."""
        known = [key for key in self._catalogue if is_initialize(key)]
        return [self._learn(key, NO_ERA) for key in {*known, initialize_key(self._session.asked)}]

    def _host_is_ready(self, frame: Frame, now: float) -> list[Command]:
        self._session.host_ready = True
        if self._session.state is State.GREETED:
            return self._confirm_session(now)
        return []

    def _confirm_session(self, now: float) -> list[Command]:
        row = self._row(Purpose.READY, methods.INITIALIZED, frames.notification(methods.INITIALIZED))
        row.deadline = now + self._call_timeout
        self._session.state = State.CONFIRMING
        row.headers = self._session.headers()
        return [self._post(row)]

    def _session_is_open(self, row: Row, ending: Ending, now: float) -> list[Command]:
        self._drop(row)
        if ending.status is None or ending.status >= 300:
            self._session.lose()
            failure, opening = answers.failure_of(ending, self._upstream, modern=False, helpers=self._helpers)
            return self._fail_held(failure, opening, now)
        self._session.state = State.OPEN
        self.sessions += 1
        # The stream first: what the server sends on it before it is open may be lost, a held call's question too.
        return [*self._open_stream(now), *self._release_held()]

    def _open_stream(self, now: float) -> list[Command]:
        row = self._row(Purpose.STREAM, "", b"")
        row.move(Phase.POSTED)
        row.session = self._session.id
        return self._session.open_stream(row.call, now)

    def _session_was_lost(self, row: Row, now: float) -> list[Command]:
        """404 in a session: the server forgot it and did nothing. The frame is sent once more, in another."""
        commands: list[Command] = []
        if self._session.id == row.session:
            self._session.lose()
            for other in [r for r in self._rows.values() if r.purpose is Purpose.STREAM]:
                self._drop(other)
                commands.append(Abort(other.call))
        answers_the_lost_one = row.purpose is Purpose.NOTE and not row.method
        if row.purpose is Purpose.STREAM or answers_the_lost_one or row.phase in (Phase.CANCELLED, Phase.SERVED):
            self._drop(row)
        else:
            row.retried = True
            row.move(Phase.HELD)
        if self._session.state is State.CLOSED:
            commands += self._open_session(now)
        elif self._session.passes:
            commands += self._release_held()
        return commands

    def _end_session(self) -> list[Command]:
        commands: list[Command] = []
        for row in [r for r in self._rows.values() if r.purpose in (Purpose.STREAM, Purpose.READY)]:
            self._drop(row)
            commands.append(Abort(row.call))
        return commands + self._session.end()
