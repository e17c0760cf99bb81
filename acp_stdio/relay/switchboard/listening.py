"""`subscriptions/listen` (MCP 2026-07-28): one of the host's, one at each upstream behind it.

Acknowledged once, with everything that anybody honours; a part that ends is asked for again, and the
whole ends only when the host ends it.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec import Raw

from acp_stdio.relay import handshake
from acp_stdio.relay.commands import ToHost, Wake
from acp_stdio.relay.session import STREAM_RETRY
from acp_stdio.relay.switchboard.directory import Directory
from acp_stdio.relay.switchboard.editing import at, in_frame, put, replaced, string
from acp_stdio.relay.switchboard.moves import Move, ToLane
from acp_stdio.wire import errors, frames, members, methods
from acp_stdio.wire.frames import Frame

ACKNOWLEDGE: Final = 1.5
"""Seconds that the host waits for the acknowledgements of all."""
ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"
SUBSCRIPTION: Final = "io.modelcontextprotocol/subscriptionId"
_FLAGS: Final = {"tools": "toolsListChanged", "prompts": "promptsListChanged", "resources": "resourcesListChanged"}


@dataclass(slots=True)
class _Part:
    """One upstream's share of a subscription."""

    mark: bytes
    """The id under which it was asked."""
    answered: bool = False
    """It was acknowledged, or refused."""
    breaks: int = 0
    again_at: float | None = None


@dataclass(slots=True)
class _Listen:
    frame: Frame
    wanted: dict[str, Raw]
    ack_at: float
    parts: dict[int, _Part] = field(default_factory=dict[int, _Part])
    honoured: dict[str, Raw | bytes] = field(default_factory=dict[str, Raw | bytes])
    words: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """The URIs and task ids that are honoured, as the host knows them."""
    acknowledged: bool = False

    def wants(self, flag: str) -> bool:
        return bytes(self.wanted.get(flag, b"")) == b"true"


class Listening:
    """The host's subscriptions."""

    def __init__(self, upstreams: Sequence[str], directory: Directory, jitter: Callable[[], float]) -> None:
        """`jitter`: random, from 0 to 1."""
        self._lanes = range(len(upstreams))
        self._directory = directory
        self._jitter = jitter
        self._listens: dict[bytes, _Listen] = {}
        self._by_mark: dict[bytes, tuple[_Listen, int]] = {}
        self._number = 0

    def is_ours(self, key: bytes) -> bool:
        """Whether an id is a subscription of the host's, or one that we asked for."""
        return key in self._listens or key in self._by_mark

    @property
    def count(self) -> int:
        """How many subscriptions the host has."""
        return len(self._listens)

    def listen(self, frame: Frame, key: bytes, now: float) -> list[Move]:
        """A subscription of the host's: everybody is asked for their part of it."""
        wanted = members.members(members.members(frame.params).get("notifications"))
        opened = self._listens[key] = _Listen(frame, wanted, now + ACKNOWLEDGE)
        opened.honoured = {flag: b"true" for flag in _FLAGS.values() if opened.wants(flag)}  # whoever comes or goes
        return [*(self._ask(opened, lane) for lane in self._lanes), Wake(ACKNOWLEDGE)]

    def end(self, key: bytes) -> list[Move]:
        """The host ends a subscription; nothing happens where there is none."""
        ended = self._listens.pop(key, None)
        if ended is None:
            return []
        moves: list[Move] = []
        for lane, part in ended.parts.items():
            if self._by_mark.pop(part.mark, None) is not None:
                params = b'{"requestId":%b}' % part.mark
                cancelled = b'{"jsonrpc":"2.0","method":"%b","params":%b}'
                moves.append(ToLane(lane, cancelled % (methods.CANCELLED.encode(), params)))
        return moves

    def told(self, lane: int, frame: Frame, now: float) -> list[Move] | None:
        """A notification with a subscription's mark; None where it has none of ours."""
        if frame.method == methods.CANCELLED:  # the other way to end a subscription
            named = handshake.cancelled_id(frame.params)
            return None if named is None else self._ended(lane, frames.id_key(named), now, for_good=False)
        params = members.members(frame.params)
        mark = members.members(params.get("_meta")).get(SUBSCRIPTION)
        known = None if mark is None else self._by_mark.get(frames.id_key(bytes(mark)))
        if known is None or known[1] != lane:
            return None if mark is None else []
        listen = known[0]
        if frame.method == ACKNOWLEDGED:
            part = listen.parts[lane]
            if not part.answered and not listen.acknowledged:
                self._honour(listen, lane, members.members(params.get("notifications")))
            part.answered, part.breaks = True, 0
            return self._acknowledge(listen, now)
        tagged = at("_meta", SUBSCRIPTION, edit=put(listen.frame.id or b"null"))
        shown = in_frame(frames.parse(self._directory.shown_notice(lane, frame)), params=tagged)
        return [*self._acknowledge(listen, now, now_or_never=True), ToHost(shown)]

    def answered(self, lane: int, frame: Frame, now: float) -> list[Move] | None:
        """An upstream ended its part, or would not begin it; None where the answer belongs to none."""
        for_good = errors.code_of(frame.error) == frames.METHOD_NOT_FOUND
        return self._ended(lane, frames.id_key(frame.id or b"null"), now, for_good=for_good)

    def changed(self, capability: str) -> list[Move]:
        """Tells the subscriptions that want to know that this list has changed."""
        flag = _FLAGS.get(capability)
        return [
            ToHost(_notification(f"notifications/{capability}/list_changed", each.frame.id or b"null"))
            for each in self._listens.values()
            if flag is not None and each.acknowledged and each.wants(flag)
        ]

    def came(self, lane: int) -> list[Move]:
        """This upstream can be asked again now."""
        return [
            self._ask(each, lane)
            for each in self._listens.values()
            if lane in each.parts and each.parts[lane].again_at is not None
        ]

    def tick(self, now: float) -> list[Move]:
        """Acknowledges where the time is over, and asks again for what broke."""
        moves: list[Move] = []
        for each in self._listens.values():
            moves += self._acknowledge(each, now)
            for lane, part in each.parts.items():
                if part.again_at is not None and part.again_at <= now:
                    moves.append(self._ask(each, lane))
        return moves

    def _ask(self, listen: _Listen, lane: int) -> ToLane:
        self._number += 1
        mark = bytes(string(f"acp-stdio/listen/{self._number}"))
        breaks = listen.parts[lane].breaks if lane in listen.parts else 0
        listen.parts[lane] = _Part(mark, breaks=breaks)
        self._by_mark[mark] = listen, lane
        share = dict(listen.wanted)
        for member, whose in (
            ("resourceSubscriptions", self._directory.whose_uri),
            ("taskIds", self._directory.whose_task),
        ):
            if member in share:
                found = [whose(members.text(item)) for item in members.items(share[member])]
                own = b",".join(bytes(string(place[1])) for place in found if place is not None and place[0] == lane)
                share[member] = Raw(b"[%b]" % own)
        params = {**members.members(listen.frame.params), "notifications": members.joined(share)}
        return ToLane(lane, replaced(listen.frame, id=mark, params=members.joined(params)))

    def _honour(self, listen: _Listen, lane: int, subset: dict[str, Raw]) -> None:
        shows = {"resourceSubscriptions": self._directory.shown_uri, "taskIds": self._directory.shown_task}
        for name, value in subset.items():
            show = shows.get(name)
            if show is not None:
                listen.words.setdefault(name, []).extend(show(lane, members.text(v)) for v in members.items(value))
            elif bytes(value) != b"false":
                listen.honoured.setdefault(name, value)

    def _acknowledge(self, listen: _Listen, now: float, *, now_or_never: bool = False) -> list[Move]:
        """Once: when all have said what they honour, when the time is over, or before the first thing that comes."""
        due = now_or_never or now >= listen.ack_at or all(part.answered for part in listen.parts.values())
        if listen.acknowledged or not due:
            return []
        listen.acknowledged = True
        words = {name: json.dumps(found).encode() for name, found in listen.words.items()}
        subset = members.joined({**listen.honoured, **words})
        return [ToHost(_notification(ACKNOWLEDGED, listen.frame.id or b"null", notifications=subset))]

    def _ended(self, lane: int, mark: bytes, now: float, *, for_good: bool) -> list[Move] | None:
        known = self._by_mark.get(mark)
        if known is None:
            return None
        if known[1] != lane:
            return []
        del self._by_mark[mark]
        listen = known[0]
        part = listen.parts[lane]
        part.answered = True
        moves = self._acknowledge(listen, now)
        if for_good:
            return moves
        wait = STREAM_RETRY[min(part.breaks, len(STREAM_RETRY) - 1)] * (1 + self._jitter())
        part.breaks, part.again_at = part.breaks + 1, now + wait
        return [*moves, Wake(wait)]


def _notification(method: str, subscription: bytes, **params: bytes) -> bytes:
    meta = b'{"%b":%b}' % (SUBSCRIPTION.encode(), subscription)
    body = members.joined({"_meta": meta, **params})
    return b'{"jsonrpc":"2.0","method":"%b","params":%b}' % (method.encode(), body)
