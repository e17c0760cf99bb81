"""What can be put right before a host is told of a failure: a broken stream, headers made from an old schema."""

from typing import Final

import msgspec
from msgspec import Raw

from acp_stdio.catalogue.model import list_key, next_cursor
from acp_stdio.errors import Failure
from acp_stdio.relay import handshake
from acp_stdio.relay.commands import Abort, Command, ToHost, Wake
from acp_stdio.relay.greeting import Greeter
from acp_stdio.relay.pending import Phase, Purpose, Row
from acp_stdio.relay.session import MIN_RETRY
from acp_stdio.wire import errors, frames, methods
from acp_stdio.wire.backoff import delay
from acp_stdio.wire.ending import Ending
from acp_stdio.wire.frames import Frame

MAX_RESUMES: Final = 3
"""Attempts in a row that bring nothing new."""
RESUME_AFTER: Final = 0.5
"""Seconds, where the server does not say; longer each time that brings nothing."""
MAX_PAGES: Final = 50
"""Pages of `tools/list` that are read for one call."""


class Remedies(Greeter):
    """The part of the relay that tries once more, where that is safe."""

    def _to_be_resumed(self, row: Row, ending: Ending, now: float) -> list[Command]:
        """A stream that ended early can be asked to go on, if the server said where (legacy era only).

        An attempt that brought no event leaves the place as it was.
        """
        place = ending.last_event_id or row.last_event_id
        refused = ending.status is not None and ending.status >= 300
        if row.modern or refused or not place or row.session != self._session.id:
            return []
        row.resumes = row.resumes + 1 if place == row.last_event_id else 1
        row.last_event_id = place
        if row.resumes > MAX_RESUMES or row.phase is Phase.CANCELLED:
            return []
        unsaid = delay(row.resumes - 1, self._jitter(), RESUME_AFTER)
        wait = max(ending.retry if ending.retry is not None else unsaid, MIN_RETRY)
        row.resume_at = now + wait
        return [Wake(wait)]

    # -- HeaderMismatch (MCP 2026-07-28, streamable-http): nothing was done; the schema that we know may be old ------

    def _schema_asked(self, row: Row, frame: Frame) -> list[Command]:
        """Reads the tools again, once a call, before it is sent with the headers that they ask for now."""
        mismatch = errors.code_of(frame.error) == errors.HEADER_MISMATCH
        if not mismatch or row.method != methods.TOOLS_CALL or row.refusal or row.phase is not Phase.POSTED:
            return []
        row.refusal = frame.raw
        row.move(Phase.HELD)
        return [Abort(row.call), self._read_tools(row, "", MAX_PAGES)]

    def _read_tools(self, call: Row, cursor: str, pages: int) -> Command:
        params = {"_meta": handshake.meta(frames.parse(call.raw).params)}
        if cursor:
            params["cursor"] = Raw(msgspec.json.encode(cursor))
        asked = {"jsonrpc": "2.0", "id": f"acp-stdio/schema/{call.call}", "method": methods.TOOLS_LIST}
        row = self._row(Purpose.SCHEMA, methods.TOOLS_LIST, msgspec.json.encode({**asked, "params": params}))
        row.cursor, row.repairs, row.pages, row.deadline = cursor, call.call, pages, call.deadline
        row.modern = call.modern
        encoded = Raw(msgspec.json.encode(params))
        row.headers = self._modern_headers.of(methods.TOOLS_LIST, handshake.view(encoded), encoded)
        return self._post(row)

    def _schema_came(self, row: Row, frame: Frame, now: float) -> list[Command]:
        if frame.result is None:
            return self._unrepaired(row)
        page = bytes(frame.result)
        self._modern_headers.learn(page)
        learned = self._learn(list_key(methods.TOOLS_LIST, row.cursor, modern=True), page)
        self._drop(row)
        done: list[Command] = [learned, Abort(row.call)]
        call = self._rows.get(row.repairs or 0)
        if call is None or call.phase is not Phase.HELD:
            return done
        cursor = next_cursor(page)
        if cursor and row.pages > 1:
            return [*done, self._read_tools(call, cursor, row.pages - 1)]
        params = frames.parse(call.raw).params
        headers = self._modern_headers.of(call.method, handshake.view(params), params)
        if headers == call.headers:
            return [*done, *self._told_as_it_came(call)]
        call.headers = headers
        return [*done, self._post(call)]

    def _unrepaired(self, row: Row) -> list[Command]:
        """The tools cannot be read: the host gets the server's own refusal."""
        self._drop(row)
        call = self._rows.get(row.repairs or 0)
        held = call is not None and call.phase is Phase.HELD
        return [Abort(row.call), *(self._told_as_it_came(call) if call is not None and held else [])]

    def _told_as_it_came(self, call: Row) -> list[Command]:
        waits = self._waits(call)
        self._drop(call)
        settled = self._settled(call, "error", "", len(call.refusal))
        return [*settled, ToHost(call.refusal)] if waits else settled

    def _fail(self, row: Row, failure: Failure, opening: str, outcome: str, now: float) -> list[Command]:
        if row.purpose is Purpose.SCHEMA:
            return self._unrepaired(row)
        return super()._fail(row, failure, opening, outcome, now)
