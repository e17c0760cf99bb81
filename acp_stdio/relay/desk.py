"""The relay's desk: the rows of what is on its way, and how each can end."""

from collections.abc import Callable
from typing import Final

from acp_stdio.catalogue.model import (
    NO_ERA,
    Catalogue,
    forget_unreachable,
    is_handshake,
    is_initialize,
    list_key,
    speaks,
)
from acp_stdio.errors import Failure
from acp_stdio.relay import answers, handshake, lists
from acp_stdio.relay.commands import Abort, Command, Learn, Post, Settle, ToHost
from acp_stdio.relay.handshake import Agent
from acp_stdio.relay.modern import ModernHeaders
from acp_stdio.relay.pending import Phase, Purpose, Row
from acp_stdio.relay.session import LegacySession, State
from acp_stdio.wire import frames, methods
from acp_stdio.wire.ending import Ending

Mint = Callable[[], str]
ERA_WAIT: Final = 0.4
"""Seconds that a handshake without a remembered answer waits for the upstream's own."""
LINGER: Final = 2.0
"""Seconds that a server may keep a stream open behind the answer; a connection is not its own for longer."""
LIST_WAIT: Final = 1.5
"""Seconds that a list waits for the upstream before the catalogue serves it."""
MAX_HELD_NOTES: Final = 256
"""Notifications of the host that wait for a session; above that the oldest go."""
MAX_HELD_NOTE_BYTES: Final = 1 << 20
"""Bytes of them, unless it is a single one."""


Sieve = Callable[[str, bytes, bool], bytes]
"""From a list method, its result and whether it came just now, to what the host may see of it. Raises `Failure`."""


class Desk:
    """What the relay knows, and the moves that its events are made of."""

    def __init__(
        self,
        upstream: str,
        catalogue: Catalogue,
        *,
        signed_in: bool,
        mint: Mint,
        helpers: bool = True,
        call_timeout: float = 230.0,
        patience: float | None = None,
        jitter: Callable[[], float] = lambda: 0.0,
        sieve: Sieve = lambda _method, result, _live: result,
        notice: Callable[[], str] = lambda: "",
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`jitter`: random, from 0 to 1; it spreads our next attempts over time. `mint` gives 128 random bits as
        hexadecimal digits. With `patience` (seconds, in place of both short waits) only the upstream's own
        answers count: nothing is made up where it gives none. `warn`: for the log."""
        self.agent = Agent()
        self.modern = False
        self.strange = not catalogue
        """The host saw no catalogue: it has to be reopened once to see the tools after a sign-in."""
        self._sieve, self._notice = sieve, notice
        self._upstream = upstream
        self._catalogue = catalogue
        self.crossed = False
        """Whether a bridge stands between the host and this relay, which then sees one era and crosses no more."""
        self.sessions: int = 0
        """How many were opened."""
        self._signed_in = signed_in
        self._mint = mint
        self._said_legacy = False
        """Whether the host was told that this is a server of the legacy era."""
        self._helpers = helpers
        self._call_timeout = call_timeout
        self._makes_up = patience is None
        self._era_wait = ERA_WAIT if patience is None else patience
        self._list_wait = LIST_WAIT if patience is None else patience
        self._jitter = jitter
        self._session = LegacySession(jitter=jitter)
        self._modern_headers = ModernHeaders(warn)
        self._warn = warn
        self._notes_dropped = 0
        self._rows: dict[int, Row] = {}
        self._by_id: dict[bytes, Row] = {}
        self._last_call = 0

    @property
    def upstream(self) -> str:
        """Its name in the configuration."""
        return self._upstream

    @property
    def call_timeout(self) -> float:
        """Seconds for one call."""
        return self._call_timeout

    def spread(self, seconds: float) -> float:
        """This long, and up to as much again: many clients of one server do not come back as one."""
        return seconds * (1 + self._jitter())

    def request_of(self, call: int) -> bytes | None:
        """The id of the host's request that this call carries: empty for the session's own stream, and None where the
        host waits for none."""
        row = self._rows.get(call)
        if row is not None and row.purpose is Purpose.STREAM:
            return b""
        return row.id if row is not None and self._waits(row) else None

    def _row(self, purpose: Purpose, method: str, raw: bytes) -> Row:
        self._last_call += 1
        row = Row(self._last_call, purpose, method, raw, modern=self.modern and self._session.hello is None)
        self._rows[row.call] = row
        return row

    def _send(self, row: Row, now: float) -> list[Command]:
        """Posts the row, or holds it until the session is open."""
        if row.modern or self._session.passes:
            return [self._post(row)]
        if self._session.state is State.CLOSED and self._session.hello is not None:
            return self._open_session(now)
        if self._session.hello is None:
            return self._fail(
                row,
                Failure(
                    "upstream_unreachable",
                    "The host has not said initialize yet.",
                    "Restart the application.",
                ),
                answers.NOTHING_SENT,
                "denied",
                now,
            )
        return []

    def _post(self, row: Row) -> Post:
        row.move(Phase.POSTED)
        modern = row.modern or row.method == methods.DISCOVER
        row.session = None if modern else self._session.id
        headers = row.headers if modern else self._session.headers()
        return Post(row.call, row.raw, headers, row.record)

    def _open_session(self, now: float) -> list[Command]:
        """Sends the host's own `initialize` upstream once more; its answer stays here."""
        assert self._session.hello is not None
        row = self._row(Purpose.HANDSHAKE, methods.INITIALIZE, self._session.hello)
        row.deadline = now + self._call_timeout
        self._session.state, self._session.opening = State.OPENING, row.call
        return [self._post(row)]

    def _release_held(self) -> list[Command]:
        return [self._post(row) for row in self._held()]

    def _held(self) -> list[Row]:
        return [row for row in self._rows.values() if row.phase is Phase.HELD]

    def _bound_notes(self) -> None:
        """Drops the oldest notifications where more wait than may.

        Nobody is told, since a notification has no answer and promises no effect (JSON-RPC 2.0 section 4.1). Not
        reading from the host instead would hold back what must pass: cancellations, `ping`, `acp_login`.
        """
        held = [row for row in self._held() if row.purpose is Purpose.NOTE and row.method and row.cancels is None]
        size = sum(len(row.raw) for row in held)
        for row in held[:-1]:
            if len(held) <= MAX_HELD_NOTES and size <= MAX_HELD_NOTE_BYTES:
                return
            held.remove(row)
            size -= len(row.raw)
            self._drop(row)
            self._notes_dropped += 1
            if self._notes_dropped == 1:
                self._warn(f"notifications of the host are dropped: more than {MAX_HELD_NOTES} wait for a session")

    def _fail_held(self, failure: Failure, opening: str, now: float) -> list[Command]:
        """No session, so no held row leaves. `opening`: how far the session came, which decides about lists."""
        commands: list[Command] = []
        for row in self._held():
            if row.call not in self._rows:  # one row's end can be another's
                continue
            told = opening if row.purpose is Purpose.LIST else self._unsent(row)
            commands += self._fail(row, failure, told, "denied", now)
        return commands

    def _unsent(self, row: Row, *, turned_away: bool = False) -> str:
        """The opening for a row that is not on its way at the moment."""
        if row.last_event_id:
            return answers.PERHAPS_DONE  # it was taken the first time; only going on did not leave
        return answers.NOTHING_DONE if row.was_refused or turned_away else answers.NOTHING_SENT

    def _fail(self, row: Row, failure: Failure, opening: str, outcome: str, now: float) -> list[Command]:
        """Answers a row that has no live answer: from the catalogue where that can be, else with the failure."""
        waits = self._waits(row)
        if row.purpose is Purpose.HANDSHAKE:
            return self._handshake_failed(row, failure, opening, now, waits=waits)
        if row.purpose is Purpose.READY:
            self._session.lose()
            self._drop(row)
            return self._fail_held(failure, opening, now)
        if row.purpose is Purpose.STREAM:
            self._drop(row)
            return self._session.stream_ended(Ending(None), now)
        if row.purpose is Purpose.LIST and waits:
            # Who has to sign in finds `acp_login`, also where a server refused the sign-in that there was.
            starts = opening == answers.NOTHING_SENT or failure.reason == "login_required"
            served = self._serve_list(row, made_up=self._makes_up and starts)
            if served:
                self._drop(row)
                return served
        self._drop(row)
        if row.purpose is Purpose.NOTE:
            return self._after_note(row)
        if row.id is None or not waits:
            return []
        raw = self._refusal(row.id, row.method, failure, opening)
        return [*self._settled(row, outcome, failure.reason, len(raw)), ToHost(raw)]

    def _handshake_failed(self, row: Row, failure: Failure, opening: str, now: float, *, waits: bool) -> list[Command]:
        self._drop(row)
        commands: list[Command] = []
        if waits and row.id is not None:
            if self._makes_up:
                commands.append(ToHost(frames.answer(row.id, self._made_up_handshake(row))))
            else:
                commands.append(ToHost(self._refusal(row.id, row.method, failure, opening)))
        if row.method == methods.INITIALIZE and row.call == self._session.opening:
            self._session.lose()
            commands += self._fail_held(failure, opening, now)
        return commands

    def _after_note(self, row: Row) -> list[Command]:
        """The upstream took the cancellation: its exchange is not waited for any longer."""
        cancelled = self._rows.get(row.cancels) if row.cancels is not None else None
        if cancelled is None:
            return []
        self._drop(cancelled)
        return [Abort(cancelled.call)]

    def _serve_list(self, row: Row, *, made_up: bool = False) -> list[Command]:
        """The list from the catalogue; from nothing, if it may be made up. Empty where neither can be."""
        known = self._catalogue.get(list_key(row.method, row.cursor, modern=row.modern))
        if known is not None:
            raw = self._list_answer(row, known, live=False) or frames.answer(row.id or b"null", known)
        elif made_up and not row.cursor:
            raw = frames.answer(row.id or b"null", lists.empty(row.method, helpers=self._helpers, modern=row.modern))
        else:
            return []
        self._forget_id(row)
        row.move(Phase.SERVED)
        return [ToHost(raw)]

    def _list_answer(self, row: Row, result: bytes, *, live: bool) -> bytes | None:
        """What the host is shown of a list; None where that is the list as it came."""
        tools = row.method == methods.TOOLS_LIST
        shown = self._modern_headers.learn(result) if tools and row.modern else result
        try:
            shown = self._sieve(row.method, shown, live)
        except Failure as failure:
            return self._refusal(row.id or b"null", row.method, failure, "")
        if tools and self._helpers:
            shown = lists.with_helpers(shown, self._notice()) or shown
        return None if shown is result else frames.answer(row.id or b"null", shown)

    def _made_up_initialize(self) -> bytes:
        known = next((v for k, v in self._catalogue.items() if is_initialize(k) and v != NO_ERA), None)
        return handshake.initialize_result(self._session.asked, known)

    def _made_up_handshake(self, row: Row) -> bytes:
        return self._made_up_initialize() if row.method == methods.INITIALIZE else handshake.discover_result()

    def _speaks(self, *, modern: bool) -> bool | None:
        """Whether the upstream speaks that era, as far as it has shown (`catalogue.model.speaks`)."""
        return speaks(self._catalogue, modern=modern)

    def _learn(self, key: str, result: bytes) -> Learn:
        self._catalogue[key] = result
        if not is_handshake(key):
            forget_unreachable(self._catalogue)
        return Learn(key, result)

    def _refusal(self, raw_id: bytes, method: str, failure: Failure, opening: str) -> bytes:
        return answers.refusal(raw_id, method, failure, opening, modern=self.modern)

    def _settled(self, row: Row, outcome: str, reason: str, size: int) -> list[Command]:
        record, row.record = row.record, None
        return [] if record is None else [Settle(row.call, record, outcome, reason, size)]

    def _waits(self, row: Row) -> bool:
        """Whether the host still waits for this row. Another request may have its id by now."""
        return row.key is not None and self._by_id.get(row.key) is row

    def _forget_id(self, row: Row) -> None:
        if row.key is not None and self._waits(row):
            del self._by_id[row.key]

    def _drop(self, row: Row) -> None:
        self._rows.pop(row.call, None)
        self._forget_id(row)
