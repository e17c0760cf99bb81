"""Whatever a host and an upstream send, in whatever order: nothing raises, everything is answered once."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, TypeVar, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acp_stdio.catalogue.model import DISCOVER, NO_ERA, Catalogue
from acp_stdio.errors import Failure
from acp_stdio.relay.commands import Abort, Command, HandOver, OpenStream, Post, RunHelper, Settle, ToHost
from acp_stdio.relay.mind import Mind
from acp_stdio.relay.relay import Relay
from acp_stdio.wire import frames
from acp_stdio.wire.ending import Ending
from tests.kit.playbook import MODERN_META, SIGNED_OUT, hello, welcome

T = TypeVar("T")

FOREVER: Final = 1000.0
"""Seconds; longer than any wait of the relay."""
ROUNDS: Final = 20
"""Exchanges that follow each other without time passing; more is a loop."""

CATALOGUES: Final[list[Catalogue]] = [
    {},
    {"initialize 2025-11-25": json.dumps(welcome()).encode(), "legacy tools/list ": b'{"tools":[]}'},
    {DISCOVER: b'{"supportedVersions":["2026-07-28"]}', "modern tools/list ": b'{"tools":[]}'},
    {DISCOVER: NO_ERA},
    {DISCOVER: b'{"supportedVersions":["2026-07-28"]}', "initialize 2025-11-25": NO_ERA},
]
METHODS: Final = ["tools/call", "tools/list", "prompts/list", "resources/read", "subscriptions/listen", "ping", "x/y"]
PARAMS: Final = ['{"name":"echo"}', '{"name":"acp_login"}', '{"name":1}', '{"name":"echo","arguments":{"a":"\\ud83d"}}']
ANSWERS: Final[list[dict[str, Any]]] = [
    {"result": welcome()},
    {"result": {"supportedVersions": ["2026-07-28"]}},
    {"result": {"supportedVersions": ["2025-11-25"]}},
    {"result": {"tools": []}},
    {"result": None},
    {"error": {"code": -32601, "message": "no"}},
    {"error": {"code": -32020, "message": "no"}},
    {"method": "sampling/createMessage", "id": 1},
    {"method": "notifications/progress"},
    {"method": "elicitation/create", "id": 2, "params": {"message": "?"}},
    {"error": {"code": -32022, "message": "no", "data": {"supported": ["2026-07-28"]}}},
    {"result": {"resultType": "input_required", "requestState": "s"}},
    {"result": {"resultType": "input_required", "inputRequests": {"a": {"method": "roots/list"}}}},
    {"result": {"resultType": "task", "taskId": "t"}},
    {"result": {"status": "completed", "result": {"content": []}}},
]
ODD_LINES: Final = [
    b'{"method":"x","id":"\xff"}',
    b'{"method":"x","id":["\xc3\xa9",%b]}' % (b"1" * 5000),
    b'{"method":"x","id":{"a":"\\ud800"}}',
    b'{"method":"tools/call","id":null,"params":[]}',
    b'{"method":"notifications/cancelled","params":{"requestId":"\xff"}}',
    b'{"method":"notifications/cancelled","params":7}',
    b'{"id":"\xff","result":{}}',
    b'{"id":null,"error":7}',
    b"[]",
    b"{",
]
STATUSES: Final = [None, 200, 202, 302, 400, 401, 403, 404, 405, 429, 500]
BODIES: Final = [b"", b"no", b'{"jsonrpc":"2.0","id":null,"error":{"code":-32020,"message":"no"}}']
PAUSES: Final = [0.1, 0.5, 2.0, 100.0, 300.0]


class World:
    """A host and an upstream around one relay, and the count of what each was told."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        catalogue = dict(self.pick(CATALOGUES))
        signed_in, helpers = self.pick([True, False]), self.pick([True, False])
        self.relay: Mind = Relay("finance", catalogue, signed_in=signed_in, mint=self._mint, helpers=helpers)
        self.now = 0.0
        self.on_way: dict[int, bytes] = {}
        self.helpers: list[int] = []
        self.ids = 0
        self.waiting: set[int] = set()
        self.answered: Counter[int] = Counter()
        self.cancelled: set[int] = set()
        self.recorded: set[int] = set()
        self.settled: Counter[int] = Counter()
        self.questions: list[Any] = []
        self.states: list[str] = []
        self.minted = 0

    def _mint(self) -> str:
        self.minted += 1
        return f"{self.minted:032x}"

    def pick(self, choices: Sequence[T]) -> T:
        """One of them, which hypothesis chooses and shrinks."""
        return self.data.draw(st.sampled_from(choices))

    def carry_out(self, commands: list[Command]) -> None:
        """Does what the relay wants and counts it."""
        for command in commands:
            match command:
                case ToHost(raw):
                    self._told(_read(raw))
                case Post(call, raw, _, record):
                    self.on_way[call] = raw
                    if record is not None:
                        self.recorded.add(call)
                case OpenStream(call):
                    self.on_way[call] = b"{}"
                case Abort(call):
                    self.on_way.pop(call, None)
                    self.helpers = [helper for helper in self.helpers if helper != call]
                case HandOver(mind):
                    self.relay = mind
                case RunHelper(call):
                    self.helpers.append(call)
                case Settle(call):
                    self.settled[call] += 1
                    assert self.settled[call] == 1, "two outcomes"
                case _:
                    pass

    def _told(self, frame: dict[str, Any]) -> None:
        if "method" not in frame and isinstance(frame["id"], int):
            self.answered[frame["id"]] += 1
            assert self.answered[frame["id"]] == 1, "two answers"
            self.waiting.discard(frame["id"])
            result: Any = frame.get("result")
            if isinstance(result, dict) and "requestState" in result:
                self.states.append(cast("dict[str, Any]", result)["requestState"])
        elif "method" not in frame:
            assert not str(frame["id"]).startswith("acp-stdio"), "an answer to what we asked"
        elif frame.get("method") == "notifications/subscriptions/acknowledged":
            self.waiting.discard(frame["params"]["_meta"].get("io.modelcontextprotocol/subscriptionId"))
        elif "method" in frame and "id" in frame:
            self.questions.append(frame["id"])

    # -- what can happen --------------------------------------------------------------------------

    def host_asks(self) -> None:
        method = self.pick(["initialize", "server/discover", *METHODS, *METHODS])
        params = json.dumps(hello()) if method == "initialize" else self.pick(PARAMS)
        if method != "initialize" and self.pick([True, False]):
            params = params[:-1] + f',"_meta":{json.dumps(MODERN_META)}}}'
        if self.states and self.pick([True, False]):
            params = f'{params[:-1]},"inputResponses":{{}},"requestState":{json.dumps(self.states.pop())}}}'
        self.ids += 1
        self.waiting.add(self.ids)
        self._host_sends(f'{{"jsonrpc":"2.0","id":{self.ids},"method":"{method}","params":{params}}}'.encode())

    def host_tells(self) -> None:
        method = self.pick(["notifications/initialized", "notifications/progress"])
        self._host_sends(b'{"jsonrpc":"2.0","method":"%b"}' % method.encode())

    def host_cancels(self) -> None:
        if self.waiting:
            which = self.pick(sorted(self.waiting))
            self.cancelled.add(which)
            self._host_sends(b'{"method":"notifications/cancelled","params":{"requestId":%d}}' % which)

    def host_answers(self) -> None:
        if self.questions:
            answer: dict[str, Any] = self.pick(
                [{"result": {"action": "accept"}}, {"error": {"code": 1, "message": "no"}}]
            )
            question = self.questions.pop()
            self._host_sends(json.dumps({"jsonrpc": "2.0", "id": question, **answer}).encode())

    def host_is_odd(self) -> None:
        self._host_sends(self.pick(ODD_LINES))

    def _host_sends(self, raw: bytes) -> None:
        try:
            frame = frames.parse(raw)
        except frames.BadFrame as problem:
            self.carry_out(self.relay.host_sent_garbage(problem))
        else:
            self.carry_out(self.relay.host_sent(frame, self.now))

    def upstream_answers(self) -> None:
        if self.on_way:
            call = self.pick(sorted(self.on_way))
            if self.pick([True, False]):
                self.relay.upstream_opened(call, self.pick([None, "S1", "S2"]))
            asked = _read(self.on_way[call]).get("id")
            answer = {"jsonrpc": "2.0", "id": self.pick([asked, asked, asked, None, "z"]), **self.pick(ANSWERS)}
            self.carry_out(self.relay.upstream_sent(call, frames.parse(json.dumps(answer).encode()), self.now))

    def upstream_is_odd(self) -> None:
        if self.on_way:
            call, raw = self.pick(sorted(self.on_way)), self.pick(ODD_LINES)
            try:
                frame = frames.parse(raw)
            except frames.BadFrame:
                return
            self.carry_out(self.relay.upstream_sent(call, frame, self.now))

    def exchange_ends(self) -> None:
        if self.on_way:
            call, status = self.pick(sorted(self.on_way)), self.pick(STATUSES)
            self.on_way.pop(call)
            body = self.pick(BODIES) if status is not None and status >= 300 else b""
            event = self.pick(["", "e1", "e2"]) if status in (None, 200) else ""
            ending = Ending(status, sent=self.pick([True, False]), why="it broke", body=body, last_event_id=event)
            self.carry_out(self.relay.upstream_ended(call, ending, self.now))

    def call_is_refused(self) -> None:
        if self.on_way:
            call = self.pick(sorted(self.on_way))
            self.on_way.pop(call)
            self.carry_out(self.relay.refused(call, Failure("idp_unreachable", "No.", "Wait."), self.now))

    def helper_finishes(self) -> None:
        if self.helpers:
            self.carry_out(self.relay.helper_finished(self.helpers.pop(), "Done."))

    def time_passes(self) -> None:
        self.now += self.pick(PAUSES)
        self.carry_out(self.relay.tick(self.now))

    def somebody_signs_in(self) -> None:
        self.carry_out(self.relay.signed_in(self.now))

    def somebody_signs_out(self) -> None:
        self.carry_out(self.relay.signed_out(SIGNED_OUT, self.now))

    # -- the end ----------------------------------------------------------------------------------

    def answer_all_with(self, ending: Ending) -> None:
        """Each exchange ends so; whatever the relay begins in return, too. No time passes."""
        for _ in range(ROUNDS):
            for call in sorted(self.on_way):
                if self.on_way.pop(call, None) is not None:
                    self.carry_out(self.relay.upstream_ended(call, ending, self.now))
        assert not self.on_way, "it begins again and again"

    def wind_up(self) -> None:
        """The network is gone, helpers end, and all waits pass, twice: what was held is then sent and fails."""
        for _ in range(3):
            self.answer_all_with(Ending(None, sent=False, why="no network"))
            while self.helpers:
                self.helper_finishes()
            self.now += FOREVER
            self.carry_out(self.relay.tick(self.now))


EVENTS: Final = [
    *(World.host_asks, World.host_answers, World.host_tells, World.host_cancels, World.host_is_odd),
    *(World.upstream_answers, World.upstream_answers, World.upstream_is_odd, World.exchange_ends),
    *(World.call_is_refused, World.helper_finishes, World.time_passes),
    *(World.somebody_signs_in, World.somebody_signs_out),
]


@settings(max_examples=1200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_every_request_is_answered_once_and_every_record_has_one_outcome(data: st.DataObject) -> None:
    world = World(data)
    for event in data.draw(st.lists(st.sampled_from(EVENTS), max_size=30)):
        event(world)
    world.wind_up()
    assert world.waiting <= world.cancelled, "a request without an answer"
    assert world.recorded <= world.settled.keys(), "a record without an outcome"


@pytest.mark.parametrize("stage", ["notifications/initialized", "the stream"])
def test_a_server_that_forgets_each_session_at_once_is_not_asked_without_end(stage: str) -> None:
    relay = Relay("finance", {}, signed_in=True, mint=str)
    posted = relay.host_sent(_frame(id=0, method="initialize", params=hello()), 0.0)
    opened = 0
    for _ in range(ROUNDS):
        calls = [command.call for command in posted if isinstance(command, Post)]
        if not calls:
            return
        opened += 1
        relay.upstream_opened(calls[0], "S1")
        ready = relay.upstream_sent(calls[0], _frame(id=0, result=welcome()), 0.0)
        if opened == 1:
            ready = relay.host_sent(_frame(method="notifications/initialized"), 0.0)
        (call,) = [command.call for command in ready if isinstance(command, Post)]
        posted = relay.upstream_ended(call, Ending(404 if stage != "the stream" else 202), 0.0)
        for stream in [command.call for command in posted if isinstance(command, OpenStream)]:
            posted = relay.upstream_ended(stream, Ending(404), 0.0)
    raise AssertionError(f"{opened} sessions were opened without a pause")


def _read(raw: bytes) -> dict[str, Any]:
    """A frame as a lenient reader sees it: bytes that are no text, and numbers that Python does not convert."""
    return json.loads(raw.decode("utf-8", "replace"), parse_int=lambda digits: int(digits[:9]))


def _frame(**members: Any) -> frames.Frame:
    return frames.parse(json.dumps({"jsonrpc": "2.0", **members}).encode())
