"""Requests that several upstreams answer together: handshakes, lists, the log level.

Each lane is asked under an id of ours. The host is answered when all have answered, or when the
time is over, then with what each last said; who comes later is announced as a change.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec import Raw

from acp_stdio.catalogue.model import DISCOVER, Catalogue, initialize_key
from acp_stdio.relay import handshake, lists
from acp_stdio.relay.commands import Learn, ToHost, Wake
from acp_stdio.relay.desk import ERA_WAIT, LIST_WAIT
from acp_stdio.relay.switchboard import merging
from acp_stdio.relay.switchboard.directory import LISTS, Directory
from acp_stdio.relay.switchboard.editing import replaced, string
from acp_stdio.relay.switchboard.merging import BadCursor, Cursors
from acp_stdio.relay.switchboard.moves import Move, ToLane
from acp_stdio.wire import frames, members, methods
from acp_stdio.wire.frames import Frame

GRACE: Final = 0.1
"""Seconds beyond what a lane itself waits before it answers from its memory."""
SET_LEVEL: Final = "logging/setLevel"
MANY: Final = frozenset({methods.INITIALIZE, methods.DISCOVER, SET_LEVEL, *LISTS})
"""The methods that go to several upstreams."""
INVALID_PARAMS: Final = -32602


@dataclass(slots=True)
class _Round:
    frame: Frame
    """The host's request."""
    key: bytes
    method: str
    mark: str
    """The id under which the lanes are asked."""
    modern: bool
    asked: Cursors
    version: str
    """That an `initialize` asked for."""
    began: float
    wait: float
    answers: dict[int, Frame] = field(default_factory=dict[int, Frame])
    used: dict[int, bytes] = field(default_factory=dict[int, bytes])
    """What the host was told in each upstream's name."""
    told: bool = False
    again: bool = False
    """Those who refused a `server/discover` were asked once more."""

    @property
    def id(self) -> bytes:
        return self.frame.id or b"null"

    @property
    def ours(self) -> bytes:
        """The id's key, as answers bear it."""
        return bytes(string(self.mark))


class Rounds:
    """The rounds under way. A round stays until all have answered, also when the host has its answer."""

    def __init__(
        self,
        upstreams: Sequence[str],
        catalogues: Sequence[Catalogue],
        directory: Directory,
        announce: Callable[[str], list[Move]],
        *,
        helpers: bool,
        notice: Callable[[], str],
    ) -> None:
        """`announce`: tells the host that this list (`tools`, …) has changed. `helpers`: ours are in the list, and
        `notice` is what they say about the others."""
        self._upstreams = upstreams
        self._catalogues = catalogues
        self._directory = directory
        self._announce = announce
        self._helpers, self._notice = helpers, notice
        self._rounds: dict[bytes, _Round] = {}
        self._by_host: dict[bytes, _Round] = {}
        self._last: dict[tuple[int, str], bytes] = {}
        """The first page of each list, as each upstream last gave it."""
        self._slow: set[int] = set()
        """Who did not answer in time the last time: the others' lists do not wait for it again."""
        self._number = 0

    def is_ours(self, key: bytes) -> bool:
        """Whether an id is one that the host waits for here, or one of our own."""
        return key in self._by_host or key in self._rounds

    def ask(self, frame: Frame, key: bytes, cursor: str | None, now: float, *, modern: bool) -> list[Move]:
        """Puts one request of the host's to all whom it concerns."""
        assert frame.id is not None
        assert frame.method is not None
        try:
            asked = self._whom(frame.method, cursor)
        except BadCursor:
            return [ToHost(frames.error_answer(frame.id, INVALID_PARAMS, "this cursor is not one of this server's"))]
        shakes = frame.method in (methods.INITIALIZE, methods.DISCOVER)
        wait = (ERA_WAIT if shakes else LIST_WAIT) + GRACE
        version = handshake.offered(frame.params)[0] if frame.method == methods.INITIALIZE else ""
        self._number += 1
        mark = f"acp-stdio/{self._number}"
        opened = _Round(frame, key, frame.method, mark, modern, asked, version, now, wait)
        self._by_host[key] = opened
        if not asked:
            return self._tell(opened)
        self._rounds[opened.ours] = opened
        return [*(ToLane(lane, _part(opened, lane)) for lane in asked), Wake(wait)]

    def cancel(self, key: bytes) -> bool:
        """The host does not wait any more; whether it did."""
        known = self._by_host.pop(key, None)
        if known is not None:
            known.told = True
        return known is not None

    def forget(self, lane: int) -> None:
        """Somebody signed in there: what the last person could see is no answer any more."""
        self._last = {of: result for of, result in self._last.items() if of[0] != lane}

    def answered(self, lane: int, frame: Frame, now: float) -> list[Move] | None:
        """One lane's answer; None where it belongs to no round."""
        key = frames.id_key(frame.id or b"null")
        part = self._rounds.get(key)
        if part is None:
            return None
        if lane not in part.asked or lane in part.answers:
            return []
        part.answers[lane] = frame
        if len(part.answers) == len(part.asked):
            del self._rounds[key]
        (self._slow.add if now - part.began >= LIST_WAIT else self._slow.discard)(lane)
        first_page = part.method in LISTS and part.asked[lane] is None
        if first_page and frame.result is not None:
            self._last[lane, part.method] = bytes(frame.result)
        if not part.told:
            return (self._ask_again(part) or self._tell(part)) if self._is_complete(part) else []
        if first_page and frame.result is not None and part.used.get(lane) != bytes(frame.result):
            return self._announce(part.method.partition("/")[0])
        return []

    def tick(self, now: float) -> list[Move]:
        """Answers the host where the time is over."""
        moves: list[Move] = []
        for late in [r for r in self._by_host.values() if now >= r.began + r.wait]:
            self._slow |= late.asked.keys() - late.answers.keys()
            moves += self._tell(late)
        return moves

    def _ask_again(self, part: _Round) -> list[Move]:
        """Puts a `server/discover` once more to those who refused it, where others speak the modern era.

        A first refusal sends a host of both eras to the legacy one. Whoever gets a second request of the modern
        era has a host in front that will not go there, and translates if it can.
        """
        refused = [lane for lane, frame in part.answers.items() if frame.result is None]
        if part.method != methods.DISCOVER or part.again or not refused or len(refused) == len(part.answers):
            return []
        part.again = True
        self._rounds[part.ours] = part
        for lane in refused:
            del part.answers[lane]
        return [ToLane(lane, _part(part, lane)) for lane in refused]

    def _whom(self, method: str, cursor: str | None) -> Cursors:
        if cursor is not None:
            return merging.from_cursor(cursor, self._upstreams)
        every = range(len(self._upstreams))
        if method in (methods.INITIALIZE, methods.DISCOVER):
            return dict.fromkeys(every)
        word = method.partition("/")[0]
        return {lane: None for lane in every if merging.offers(self._catalogues[lane], word) is not False}

    def _is_complete(self, part: _Round) -> bool:
        """Whether nobody is to be waited for: all have answered, but those of whom it is known that they are slow."""
        missing = part.asked.keys() - part.answers.keys()
        return not missing or (bool(part.answers) and missing <= self._slow)

    def _tell(self, part: _Round) -> list[Move]:
        part.told = True
        self._by_host.pop(part.key, None)
        part.used = {lane: bytes(frame.result) for lane, frame in part.answers.items() if frame.result is not None}
        errors = [part.answers[lane] for lane in sorted(part.answers) if part.answers[lane].result is None]
        if part.method in (methods.INITIALIZE, methods.DISCOVER):
            return self._tell_handshake(part, errors)
        live = set(part.used)
        for lane, cursor in part.asked.items():
            if lane not in part.answers and cursor is None and (lane, part.method) in self._last:
                part.used[lane] = self._last[lane, part.method]
        if part.method == SET_LEVEL:
            result = b"{}" if part.used or not errors else b""
        else:
            result = self._list(part, live, nothing_but_errors=not part.used and bool(errors))
        return [ToHost(frames.answer(part.id, result) if result else replaced(errors[0], id=part.id))]

    def _list(self, part: _Round, live: set[int], *, nothing_but_errors: bool) -> bytes:
        """The merged list; empty bytes where only errors came and ours are not in it either."""
        ours = self._helpers and part.method == methods.TOOLS_LIST
        if nothing_but_errors and not ours:
            return b""
        member = LISTS[part.method]
        page = merging.merged_list(
            member,
            part.used,
            lambda lane: self._directory.shown_item(lane, member),
            self._upstreams,
            modern=part.modern,
            complete=live == part.asked.keys(),
        )
        return (lists.with_helpers(page, self._notice()) or page) if ours else page

    def _tell_handshake(self, part: _Round, errors: list[Frame]) -> list[Move]:
        legacy = part.method == methods.INITIALIZE
        if not part.used and errors:  # nobody speaks this era
            return [ToHost(replaced(errors[0], id=part.id))]
        if not part.used:
            result = handshake.initialize_result(part.version, None) if legacy else handshake.discover_result()
            return [ToHost(frames.answer(part.id, result))]
        if legacy:
            result = merging.merged_initialize(part.used, self._upstreams, part.version)
        else:
            result = merging.merged_discover(part.used, self._upstreams)
        told = ToHost(frames.answer(part.id, result))
        if len(part.answers) < len(part.asked):
            return [told]
        return [told, Learn(initialize_key(part.version) if legacy else DISCOVER, result)]


def _part(part: _Round, lane: int) -> bytes:
    """The request as one lane gets it: under our id, with its own cursor.

    Without the progress token: only one may report on it, and always with more (MCP, progress).
    """
    mark = string(part.mark)
    if part.method in (methods.INITIALIZE, methods.DISCOVER):
        return replaced(part.frame, id=mark)
    params = members.members(part.frame.params)
    params.pop("cursor", None)
    cursor = part.asked[lane]
    if cursor is not None:
        params["cursor"] = string(cursor)
    meta = members.members(params.get("_meta"))
    if meta.pop("progressToken", None) is not None:
        params["_meta"] = Raw(members.joined(meta))
    if not params:
        return replaced(part.frame, id=mark)
    return replaced(part.frame, id=mark, params=members.joined(params))
