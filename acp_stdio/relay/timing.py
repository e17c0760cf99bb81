"""What time does to the rows: deadlines, progress that moves them, and servers that ask to be asked later."""

from collections.abc import Callable
from typing import Final

from acp_stdio.errors import Failure
from acp_stdio.relay import answers, handshake
from acp_stdio.relay.commands import Abort, Command, ToHost, Wake, Withdraw
from acp_stdio.relay.pending import Phase, Purpose, Row
from acp_stdio.relay.remedies import Remedies
from acp_stdio.relay.session import MIN_RETRY
from acp_stdio.wire import frames, methods
from acp_stdio.wire.ending import Ending
from acp_stdio.wire.frames import Frame

LONGEST: Final = 3600.0
"""Seconds of one call, whatever progress it makes: senders keep a maximum (MCP 2025-11-25, lifecycle: timeouts)."""
MAX_REPEATS: Final = 2
"""How often a request is sent once more because the server asked to be asked later."""
REPEATABLE: Final = frozenset({*methods.LISTS, "resources/read", "prompts/get", "completion/complete"})
"""What changes nothing at the server. A `tools/call` is never among them."""


class Timing(Remedies):
    """The part of the relay that looks at the time it is given."""

    def tick(self, now: float, left: Callable[[int], bool] = lambda _: True) -> list[Command]:
        """Time has passed: some waits may be over. `left`: whether a posted call may have reached the server."""
        commands: list[Command] = []
        for row in [r for r in self._rows.values() if r.deadline <= now]:
            if row.call in self._rows:
                commands += self._overdue(row, now, left)
        for row in [r for r in self._rows.values() if r.resume_at is not None and r.resume_at <= now]:
            row.resume_at = None
            if row.session != self._session.id:
                gone = Failure("upstream_unreachable", f"{self._upstream} ended its session.", "Try again.")
                commands += self._fail(row, gone, answers.PERHAPS_DONE, "unknown", now)
                continue
            commands.append(self._session.resume(row.call, row.last_event_id))
        for row in [r for r in self._rows.values() if r.repeat_at is not None and r.repeat_at <= now]:
            row.repeat_at = None
            if row.phase is Phase.HELD:
                commands += self._send(row, now)
        if self._session.stream_due(now):
            commands += self._open_stream(now)
        return commands

    @property
    def waiting(self) -> bool:
        """Whether `tick` has anything to look at."""
        endless = float("inf")
        return self._session.stream_at is not None or any(row.deadline < endless for row in self._rows.values())

    def _overdue(self, row: Row, now: float, left: Callable[[int], bool]) -> list[Command]:
        row.deadline = now + self._call_timeout
        if row.purpose is Purpose.LIST and row.phase in (Phase.HELD, Phase.POSTED):
            served = self._serve_list(row)
            if served or not row.overdue:
                row.overdue = True
                return served
        if row.purpose is Purpose.HANDSHAKE and self._waits(row):
            assert row.id is not None
            self._forget_id(row)  # the live answer is learned when it comes
            return [ToHost(frames.answer(row.id, self._made_up_handshake(row)))]
        opens = row.purpose in (Purpose.HANDSHAKE, Purpose.READY)
        if not opens and (row.id is None or row.phase in (Phase.CANCELLED, Phase.SERVED, Phase.ANSWERED)):
            self._drop(row)
            return [Abort(row.call)]
        sent = row.phase is Phase.POSTED and left(row.call)
        failure = Failure(
            "timeout",
            f"{self._upstream} {'did not answer' if sent else 'could not be asked'} within {self._call_timeout:.0f} s.",
            "Ask again, or for less at once.",
        )
        opening = answers.PERHAPS_DONE if sent else self._unsent(row)
        if opens or row.id is None:
            return [Abort(row.call), *self._fail(row, failure, opening, "timeout", now)]
        told = ToHost(self._refusal(row.id, row.method, failure, opening))
        notice = b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%b,"reason":"timeout"}}'
        return [*self._give_up(row, notice % row.id, "timeout", "timeout", now), told]

    def _give_up(self, row: Row, notice: bytes, outcome: str, reason: str, now: float) -> list[Command]:
        """Ends a row that nobody waits for any more and tells the upstream in its era's way."""
        told_by_closing = row.modern or row.phase is not Phase.POSTED or row.purpose is Purpose.HELPER
        self._forget_id(row)
        commands = self._settled(row, outcome, reason, 0)
        if told_by_closing:
            self._drop(row)
            return [*commands, Abort(row.call)]
        row.move(Phase.CANCELLED)
        note = self._row(Purpose.NOTE, methods.CANCELLED, notice)
        note.cancels, note.deadline = row.call, now + self._call_timeout
        return [*commands, Withdraw(row.call), *self._send(note, now)]

    def _kept_alive(self, frame: Frame, now: float) -> None:
        """Progress moves a request's deadline, up to `LONGEST` after its beginning (MCP 2025-11-25, timeouts)."""
        if frame.method != methods.PROGRESS:
            return
        token = handshake.progress_token(frame.params)
        for row in self._rows.values() if token else ():
            if row.progress == token and row.phase is Phase.POSTED:
                row.deadline = max(row.deadline, min(row.latest, now + self._call_timeout))

    def _asked_to_wait(self, row: Row, ending: Ending, now: float) -> list[Command]:
        """429 or 503 with `Retry-After` (RFC 9110 section 10.2.3): asked again then, if that is in time and safe."""
        if ending.status not in (429, 503) or ending.retry is None or row.method not in REPEATABLE:
            return []
        wait = max(ending.retry, MIN_RETRY)
        if row.phase is not Phase.POSTED or row.repeats >= MAX_REPEATS or now + wait >= row.deadline:
            return []
        row.repeats += 1
        row.move(Phase.HELD)
        row.repeat_at = now + wait
        return [Wake(wait)]
