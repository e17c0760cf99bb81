"""Whatever a host and its lanes send, in whatever order: nothing raises, and each request is answered exactly once."""

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acp_stdio.catalogue.model import NO_ERA, Catalogue
from acp_stdio.errors import Failure
from acp_stdio.relay.commands import Abort, Command, HandOver, OpenStream, Post, RunHelper, ToHost
from acp_stdio.relay.mind import Mind
from acp_stdio.relay.relay import Relay
from acp_stdio.relay.switchboard.moves import Move, ToLane
from acp_stdio.relay.switchboard.switchboard import Switchboard
from acp_stdio.wire import frames
from acp_stdio.wire.ending import Ending
from acp_stdio.wire.frames import Frame
from tests.kit.playbook import MODERN_META, SIGNED_OUT, hello, welcome

T = TypeVar("T")

UPSTREAMS: Final = ["a", "a__b", "finance"]
FOREVER: Final = 1000.0
"""Seconds; longer than any wait of a lane."""
ROUNDS: Final = 30
"""Exchanges that follow each other without time passing; more is a loop."""
METHODS: Final = ["tools/call", "prompts/get", "resources/read", "tools/list", "resources/list", "prompts/list", "x/y"]
METHODS_TOO: Final = ["subscriptions/listen", "ping", "logging/setLevel", "completion/complete", "tasks/list"]
PARAMS: Final = [
    '{"name":"a__b__c"}',
    '{"name":"finance__x"}',
    '{"name":"acp_login"}',
    '{"name":1,"uri":"x://1","ref":7,"notifications":3}',
    '{"uri":"acp-stdio:finance:x://1"}',
    '{"taskId":"finance:1"}',
    '{"cursor":"W1siYSIsICJjIl1d"}',
    '{"ref":{"type":"ref/prompt","name":"a__\\ud83d"},"name":"\\ud83d"}',
    '{"notifications":{"toolsListChanged":true,"resourceSubscriptions":["x://1",5],"taskIds":"no"}}',
]
RESULTS: Final[list[Any]] = [
    welcome(),
    {"supportedVersions": ["2026-07-28"], "capabilities": {"resources": {}, "tasks": []}, "instructions": "\ud83d"},
    {"tools": [{"name": "t" * 80}, 5, {"name": "\ud83d"}], "nextCursor": "more", "ttlMs": -3},
    {"resources": [{"uri": "x://1"}, {"uri": "acp-stdio:x"}], "nextCursor": None, "ttlMs": 1.5},
    {"content": [{"type": "resource_link", "uri": "x://1"}, "uri"], "taskId": "1", "_meta": {"ui": 3}, "uri": {}},
    None,
    [],
]
NOTICES: Final[list[dict[str, Any]]] = [
    {"method": "sampling/createMessage", "id": 1, "params": {"_meta": {"progressToken": 1}}},
    {"method": "notifications/cancelled", "params": {"requestId": 1}},
    {"method": "notifications/progress", "params": {"progressToken": 1}},
    {"method": "notifications/resources/updated", "params": {"uri": "x://1"}},
    {"method": "notifications/tools/list_changed"},
]
ODD_LINES: Final = [
    b'{"method":"x/y","id":"\xff","params":{"name":"finance__x"}}',
    b'{"method":"tools/call","id":"o1","params":{"name":"finance__x","\xff":1}}',
    b'{"method":"tools/call","id":"o2","\xff":1,"params":{"name":"finance__x"}}',
    b'{"method":"tools/list","id":"o3","params":[]}',
    b'{"method":"notifications/cancelled","params":{"requestId":"\xff"}}',
    b'{"id":"\xff","result":{"uri":"\xff","taskId":"1"}}',
    b'{"id":null,"error":7}',
    b'{"method":"x","id":{"a":1}}',
    b"[]",
]
PAUSES: Final = [0.1, 0.5, 2.0, 100.0, 300.0]


class Host:
    """A host in front of a switchboard, and the count of what it was told."""

    def __init__(self, data: st.DataObject, catalogues: Sequence[Catalogue]) -> None:
        self.data = data
        self.now = 0.0
        self.ids = 0
        self.waiting: set[int] = set()
        self.cancelled: set[int] = set()
        self.answered: Counter[int] = Counter()
        self.board = Switchboard(UPSTREAMS, catalogues, helpers=self.pick([True, False]))
        self.helpers: list[int] = []
        self.questions: list[Any] = []

    def pick(self, choices: Sequence[T]) -> T:
        """One of them, which hypothesis chooses and shrinks."""
        return self.data.draw(st.sampled_from(choices))

    def do(self, moves: list[Move]) -> None:
        """Carries out what the switchboard wants; what goes to a lane is `to_lane`'s."""
        for move in moves:
            match move:
                case ToHost(raw):
                    self.told(frames.parse(raw))
                case ToLane(lane, raw):
                    self.to_lane(lane, frames.parse(raw))
                case RunHelper(call):
                    self.helpers.append(call)
                case Abort(call):
                    self.helpers.remove(call)
                case _:
                    pass

    def to_lane(self, lane: int, frame: Frame) -> None:
        """A frame for one of the lanes."""
        raise NotImplementedError

    def told(self, frame: Frame) -> None:
        if frame.is_request:
            self.questions.append(frame.id)
        if frame.is_response and (frame.id or b"").isdigit():
            number = int(frame.id or b"")
            self.answered[number] += 1
            assert self.answered[number] == 1, "two answers"
            assert number not in self.cancelled, "an answer to what was cancelled"
            self.waiting.discard(number)

    # -- what can happen --------------------------------------------------------------------------

    def host_asks(self) -> None:
        method = self.pick(["initialize", "server/discover", *METHODS, *METHODS, *METHODS_TOO])
        params = json.dumps(hello()) if method == "initialize" else self.pick(PARAMS)
        if method != "initialize" and self.pick([True, False]):
            params = params[:-1] + f',"_meta":{json.dumps(MODERN_META)}}}'
        self.ids += 1
        if method != "subscriptions/listen":  # it is answered when the host ends it, which is never
            self.waiting.add(self.ids)
        raw = f'{{"jsonrpc":"2.0","id":{self.ids},"method":"{method}","params":{params}}}'
        self.do(self.board.host_sent(frames.parse(raw.encode()), self.now))

    def host_says_something(self) -> None:
        line = self.pick([*ODD_LINES, b'{"method":"notifications/initialized"}', b'{"method":"notifications/x"}'])
        try:
            frame = frames.parse(line)
        except frames.BadFrame as problem:
            self.do(self.board.host_sent_garbage(problem))
        else:
            self.do(self.board.host_sent(frame, self.now))

    def host_gives_up(self) -> None:
        if self.waiting:
            number = self.pick(sorted(self.waiting))
            raw = b'{"method":"notifications/cancelled","params":{"requestId":%d}}' % number
            self.do(self.board.host_sent(frames.parse(raw), self.now))
            if self.answered[number] == 0:
                self.cancelled.add(number)
                self.waiting.discard(number)

    def host_answers(self) -> None:
        if self.questions:
            raw = b'{"id":%b,"result":{"task":{"taskId":"h"}}}' % self.questions.pop()
            self.do(self.board.host_sent(frames.parse(raw), self.now))

    def helper_ends(self) -> None:
        if self.helpers:
            self.do(self.board.helper_finished(self.helpers.pop(), "done"))

    def somebody_signs_in(self) -> None:
        self.do(self.board.lane_came(self.pick(range(len(UPSTREAMS))), self.now))

    def time_passes(self, seconds: float | None = None) -> None:
        self.now += self.pick(PAUSES) if seconds is None else seconds
        self.do(self.board.tick(self.now))

    OURS: Final = (
        host_asks,
        host_asks,
        host_says_something,
        host_gives_up,
        host_answers,
        helper_ends,
        somebody_signs_in,
        time_passes,
    )


class WildHost(Host):
    """Its lanes answer what they like, twice, under each other's ids, or never."""

    def __init__(self, data: st.DataObject) -> None:
        super().__init__(data, [{} for _ in UPSTREAMS])
        self.seen: list[tuple[int, bytes]] = []
        self.routed: dict[bytes, int] = {}

    def to_lane(self, lane: int, frame: Frame) -> None:
        if frame.is_request and frame.id is not None:
            self.seen.append((lane, frame.id))
            if frame.id.isdigit():
                self.routed[frame.id] = lane

    def lane_says(self) -> None:
        lane = self.pick(range(len(UPSTREAMS)))
        known = self.pick(self.seen)[1] if self.seen else b"1"
        frame: dict[str, Any] = dict(self.pick([{"result": self.pick(RESULTS)}, {"error": {"code": -32601}}]))
        if self.pick([True, False]):
            raw = json.dumps(self.pick(NOTICES)).encode()
        else:
            raw = b'{"id":%b,%b' % (known, json.dumps(frame).encode()[1:])
        self._say(lane, raw)

    def lane_says_something_odd(self) -> None:
        self._say(self.pick(range(len(UPSTREAMS))), self.pick(ODD_LINES))

    def _say(self, lane: int, raw: bytes) -> None:
        with suppress(frames.BadFrame):  # what is no message does not come this far
            self.do(self.board.lane_sent(lane, frames.parse(raw), self.now))

    def settle(self) -> None:
        """What one lane alone has to answer, it answers in the end; for the rest time is enough."""
        for raw_id, lane in list(self.routed.items()):
            self.do(self.board.lane_sent(lane, frames.parse(b'{"id":%b,"result":{}}' % raw_id), self.now))
        while self.helpers:
            self.helper_ends()
        self.time_passes(FOREVER)


class RealHost(Host):
    """Its lanes are relays, and bridges where eras differ, with an upstream each that does what hypothesis likes."""

    def __init__(self, data: st.DataObject) -> None:
        greeting = json.dumps(welcome()).encode()
        known: list[Catalogue] = [
            {},
            {"initialize 2025-11-25": greeting, "legacy tools/list ": b'{"tools":[]}'},
            {"initialize 2025-11-25": greeting, "server/discover": NO_ERA},
            {"server/discover": b'{"supportedVersions":["2026-07-28"]}'},
            {"server/discover": b'{"supportedVersions":["2026-07-28"]}', "initialize 2025-11-25": NO_ERA},
        ]
        catalogues = [dict(data.draw(st.sampled_from(known))) for _ in UPSTREAMS]
        self.minted = 0
        self.relays: list[Mind] = [
            Relay(name, catalogue, signed_in=index != 0, mint=self._mint, helpers=False)
            for index, (name, catalogue) in enumerate(zip(UPSTREAMS, catalogues, strict=True))
        ]
        self.on_way: dict[tuple[int, int], bytes] = {}
        super().__init__(data, catalogues)

    def _mint(self) -> str:
        self.minted += 1
        return f"{self.minted:032x}"

    def to_lane(self, lane: int, frame: Frame) -> None:
        self.carry_out(lane, self.relays[lane].host_sent(frame, self.now))

    def carry_out(self, lane: int, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case ToHost(raw):
                    self.do(self.board.lane_sent(lane, frames.parse(raw), self.now))
                case Post(call, raw):
                    self.on_way[lane, call] = raw
                case HandOver(mind):
                    self.relays[lane] = mind
                case OpenStream(call):
                    self.on_way[lane, call] = b"{}"
                case Abort(call):
                    self.on_way.pop((lane, call), None)
                case _:
                    pass

    def upstream_answers(self) -> None:
        if self.on_way:
            lane, call = self.pick(sorted(self.on_way))
            asked = json.loads(self.on_way[lane, call]).get("id", 1)
            frame = {"jsonrpc": "2.0", "id": asked, "result": self.pick(RESULTS)}
            if self.pick([True, False, False]):
                frame = self.pick(NOTICES)
            sent = frames.parse(json.dumps(frame).encode())
            self.carry_out(lane, self.relays[lane].upstream_sent(call, sent, self.now))

    def exchange_ends(self) -> None:
        if self.on_way:
            lane, call = self.pick(sorted(self.on_way))
            self._ends(
                lane, call, Ending(self.pick([None, 200, 202, 400, 401, 404, 500]), sent=self.pick([True, False]))
            )

    def call_is_refused(self) -> None:
        if self.on_way:
            lane, call = self.pick(sorted(self.on_way))
            del self.on_way[lane, call]
            denied = Failure("denied", "No.", "")
            self.carry_out(lane, self.relays[lane].refused(call, denied, self.now))

    def sign_in_ends(self) -> None:
        lane = self.pick(range(len(UPSTREAMS)))
        self.carry_out(lane, self.relays[lane].signed_out(SIGNED_OUT, self.now))

    def time_passes(self, seconds: float | None = None) -> None:
        super().time_passes(seconds)
        for lane, relay in enumerate(self.relays):
            self.carry_out(lane, relay.tick(self.now))

    def _ends(self, lane: int, call: int, ending: Ending) -> None:
        del self.on_way[lane, call]
        self.carry_out(lane, self.relays[lane].upstream_ended(call, ending, self.now))

    def settle(self) -> None:
        """Every exchange ends at last, every deadline passes."""
        for _ in range(3):
            for _ in range(ROUNDS):
                for lane, call in list(self.on_way):
                    if (lane, call) in self.on_way:
                        self._ends(lane, call, Ending(200, sent=True))
            while self.helpers:
                self.helper_ends()
            self.time_passes(FOREVER)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_whatever_the_lanes_do_each_request_is_answered_exactly_once(data: st.DataObject) -> None:
    host = WildHost(data)
    events = [*Host.OURS, WildHost.lane_says, WildHost.lane_says, WildHost.lane_says_something_odd]
    for _ in range(data.draw(st.integers(1, 25))):
        host.pick(events)(host)
    host.settle()
    assert host.waiting == set()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_in_front_of_real_relays_each_request_is_answered_exactly_once(data: st.DataObject) -> None:
    host = RealHost(data)
    upstreams = [RealHost.upstream_answers, RealHost.exchange_ends, RealHost.call_is_refused, RealHost.sign_in_ends]
    for _ in range(data.draw(st.integers(1, 25))):
        host.pick([*Host.OURS, *upstreams, *upstreams])(host)
    host.settle()
    assert host.waiting == set()
