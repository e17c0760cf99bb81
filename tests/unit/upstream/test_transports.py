"""What each transport promises as exchanges, whatever it looks like on the wire; then what is special to each."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

import pytest

from acp_stdio.upstream.channel import header_of
from acp_stdio.upstream.child import ChildConnector
from acp_stdio.upstream.child_process import environment
from acp_stdio.upstream.http import Connector
from acp_stdio.upstream.http_sse import SseConnector
from acp_stdio.upstream.ladder import LadderConnector
from acp_stdio.upstream.pool import LeanConnector, Limits
from tests.unit.upstream.loopback import PATIENCE, Answer, Peer, serving

pytestmark = pytest.mark.anyio

POST = b"Authorization: Bearer T\r\nAccept: application/json, text/event-stream\r\nContent-Type: application/json\r\n"
GET = b"Authorization: Bearer T\r\nAccept: text/event-stream\r\n"
INITIALIZE: dict[str, Any] = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {}}
SSE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n"


class Far(Protocol):
    """The server's side: what reached it, and the pen to write with."""

    heard: "asyncio.Queue[dict[str, Any]]"

    async def answer(self, request: dict[str, Any], result: Any) -> None: ...

    async def say(self, frame: dict[str, Any]) -> None:
        """Unasked, on the session's own stream."""
        ...

    async def cut(self) -> None:
        """Everything under way breaks."""
        ...


class Near:
    """The client's side of one session."""

    def __init__(self, connector: Connector) -> None:
        self.connector = connector
        self.session = ""
        self.last: Any = None

    def post(self, frame: dict[str, Any], extra: bytes = b"") -> Answer:
        answer = Answer()
        version = b"" if frame.get("method") == "initialize" else b"MCP-Protocol-Version: 2024-11-05\r\n"
        block = POST + version + self._session_line() + extra
        self.last = self.connector.request(
            "POST", "/mcp", block, json.dumps(frame).encode(), answer, head_timeout=PATIENCE
        )
        assert not answer.status, "no callback before the request has returned"
        return answer

    def stream(self) -> Answer:
        answer = Answer()
        block = GET + self._session_line()
        self.last = self.connector.request("GET", "/mcp", block, b"", answer, head_timeout=PATIENCE)
        return answer

    def end(self) -> Answer:
        answer = Answer()
        self.connector.request("DELETE", "/mcp", self._session_line(), b"", answer, head_timeout=PATIENCE)
        return answer

    def _session_line(self) -> bytes:
        return f"Mcp-Session-Id: {self.session}\r\n".encode() if self.session else b""


class StreamableFar:
    """A Streamable HTTP server (2025-11-25) that a test plays."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._posts: dict[Any, Peer] = {}
        self._peers: list[Peer] = []
        self.listening = asyncio.Event()
        self._stream: Peer | None = None
        self._sessions = 0

    async def __call__(self, peer: Peer) -> None:
        self._peers.append(peer)
        while True:
            head, body = await peer.request()
            session = header_of(head, "mcp-session-id")
            if session and session != f"S{self._sessions}":
                await peer.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            elif head.startswith(b"GET"):
                await peer.send(SSE_HEAD)
                self._stream = peer
                self.listening.set()
                await peer.gone()
                return
            elif head.startswith(b"DELETE"):
                self._sessions += 1
                await peer.answer(b"")
            else:
                frame = json.loads(body)
                if "id" in frame and "method" in frame:
                    self._posts[frame["id"]] = peer
                else:
                    await peer.send(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
                await self.heard.put(frame)

    async def answer(self, request: dict[str, Any], result: Any) -> None:
        extra = b"Content-Type: application/json\r\n"
        if request["method"] == "initialize":
            self._sessions += 1
            extra += b"Mcp-Session-Id: S%d\r\n" % self._sessions
        body = json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}).encode()
        with suppress(ConnectionError):  # who gave up has closed the connection
            await self._posts.pop(request["id"]).answer(body, extra)

    async def say(self, frame: dict[str, Any]) -> None:
        await asyncio.wait_for(self.listening.wait(), PATIENCE)
        assert self._stream is not None
        await self._stream.send(b"data: %b\n\n" % json.dumps(frame).encode())

    async def cut(self) -> None:
        self._sessions += 1
        for peer in self._peers:
            await peer.close()


class SseFar:
    """An HTTP+SSE server (2024-11-05) that a test plays."""

    endpoint = b"/messages?session=1"

    def __init__(self) -> None:
        self.heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.heads: list[bytes] = []
        self.stream: Peer | None = None
        self.gone = asyncio.Event()
        """The client closed a stream."""
        self.refusal = 0
        """A status for the next POST to the endpoint."""

    async def __call__(self, peer: Peer) -> None:
        while True:
            head, body = await peer.request()
            self.heads.append(head)
            if head.startswith(b"GET /mcp "):
                self.stream = peer
                await peer.send(SSE_HEAD + b"event: endpoint\ndata: %b\n\n" % self.endpoint)
                await peer.gone()
                self.gone.set()
                return
            if not head.startswith(b"POST /messages?session=1 "):
                await peer.send(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
                continue
            status, self.refusal = self.refusal or 202, 0
            await peer.send(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)
            if status == 202:
                await self.heard.put(json.loads(body))

    async def answer(self, request: dict[str, Any], result: Any) -> None:
        await self.say({"id": request["id"], "result": result})

    async def say(self, frame: dict[str, Any]) -> None:
        assert self.stream is not None
        await self.stream.send(b"event: message\r\ndata: %b\r\n\r\n" % json.dumps({"jsonrpc": "2.0", **frame}).encode())

    async def cut(self) -> None:
        assert self.stream is not None
        await self.stream.close()


Stage = Callable[[], Any]


@asynccontextmanager
async def over_http(far: Any, way: Callable[[Connector, str], Connector]) -> AsyncGenerator[tuple[Near, Any]]:
    async with serving(far) as server:
        connector = way(LeanConnector(server.origin, limits=Limits(keep_idle=3600.0)), f"{server.origin}/mcp")
        try:
            yield Near(connector), far
        finally:
            await connector.aclose()


CHILD = """
import os, socket, sys, threading
far = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
def hear():
    while data := os.read(0, 65536):
        far.sendall(data)
    os._exit(0)
threading.Thread(target=hear, daemon=True).start()
while data := far.recv(65536):
    os.write(1, data)
os._exit(3)
"""
"""A child whose two pipes lead to the test. It ends with its input, or when the test hangs up."""


class ChildFar:
    """A child server that a test plays, whichever process it is at the moment."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.begun = 0
        self._writer: asyncio.StreamWriter | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.begun += 1
        self._writer = writer
        with suppress(ConnectionError):
            while line := await reader.readline():
                await self.heard.put(json.loads(line))
        writer.close()

    async def answer(self, request: dict[str, Any], result: Any) -> None:
        await self.say({"id": request["id"], "result": result})

    async def say(self, frame: dict[str, Any]) -> None:
        await self.raw(json.dumps({"jsonrpc": "2.0", **frame}).encode() + b"\n")

    async def raw(self, data: bytes) -> None:
        assert self._writer is not None
        self._writer.write(data)
        with suppress(ConnectionError):
            await self._writer.drain()

    async def cut(self) -> None:
        assert self._writer is not None
        self._writer.close()


@asynccontextmanager
async def over_pipes(jitter: float = -0.99) -> AsyncGenerator[tuple[Near, Any]]:
    """`jitter` below 0 makes the wait after a crash short."""
    far = ChildFar()
    listener = await asyncio.start_server(far.serve, "127.0.0.1", 0)
    arguments = ("-ISc", CHILD, str(listener.sockets[0].getsockname()[1]))
    connector = ChildConnector("finance", sys.executable, arguments, environment(os.environ, {}), jitter=lambda: jitter)
    try:
        yield Near(connector), far
    finally:
        await connector.aclose()
        listener.close()


STAGES: dict[str, Stage] = {
    "streamable": lambda: over_http(StreamableFar(), lambda http, _: http),
    "auto to streamable": lambda: over_http(StreamableFar(), LadderConnector),
    "sse": lambda: over_http(SseFar(), SseConnector),
    "auto to sse": lambda: over_http(SseFar(), LadderConnector),
    "stdio": over_pipes,
}


@pytest.fixture(params=STAGES)
def stage(request: pytest.FixtureRequest) -> Stage:
    return STAGES[request.param]


async def greet(near: Near, far: Far, version: str = "2024-11-05") -> None:
    """A whole handshake; afterwards the session's own stream is open."""
    asked = near.post(INITIALIZE)
    await far.answer(await asyncio.wait_for(far.heard.get(), PATIENCE), {"protocolVersion": version})
    await asked.end()
    assert asked.status == 200
    near.session = asked.headers["mcp-session-id"]
    told = near.post({"jsonrpc": "2.0", "method": "notifications/initialized"})
    await told.end()
    assert told.status == 202
    assert (await asyncio.wait_for(far.heard.get(), PATIENCE))["method"] == "notifications/initialized"


def call(number: int, method: str = "tools/call") -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": {}}


def frames_of(answer: Answer) -> list[Any]:
    """The messages of an exchange, as JSON or as events."""
    if answer.headers["content-type"].startswith("application/json"):
        return [json.loads(answer.body)]
    return [json.loads(line[5:]) for line in answer.body.splitlines() if line.startswith(b"data:")]


async def test_each_request_gets_the_answer_with_its_id_in_whatever_order_they_come(stage: Stage) -> None:
    async with stage() as (near, far):
        await greet(near, far)
        first, second = near.post(call(1)), near.post(call(2))
        asked = {(frame := await far.heard.get())["id"]: frame for _ in range(2)}
        await far.answer(asked[2], "two")
        assert frames_of(await second.end())[-1]["result"] == "two"
        assert not first.over
        await far.answer(asked[1], "one")
        assert frames_of(await first.end())[-1]["result"] == "one"


async def test_what_a_server_says_unasked_comes_on_the_sessions_own_stream_and_the_hosts_answer_goes_back(
    stage: Stage,
) -> None:
    async with stage() as (near, far):
        await greet(near, far)
        stream = near.stream()
        await stream.arrived()
        assert stream.headers["content-type"].startswith("text/event-stream")
        await far.say({"jsonrpc": "2.0", "id": "r", "method": "roots/list"})
        await stream.arrived(10)
        assert frames_of(stream)[0]["method"] == "roots/list"
        await near.post({"jsonrpc": "2.0", "id": "r", "result": {"roots": []}}).end()
        assert (await far.heard.get())["result"] == {"roots": []}
        assert not stream.over


async def test_what_waits_when_everything_breaks_fails_as_sent_and_the_session_is_gone(stage: Stage) -> None:
    async with stage() as (near, far):
        await greet(near, far)
        stream, waiting = near.stream(), near.post(call(1))
        await stream.arrived()
        await far.heard.get()
        await far.cut()
        assert (await waiting.failure())[0] is True
        await stream.ended()
        late = near.post(call(2))
        await late.end()
        assert late.status == 404, "so the relay opens another session and sends the frame once more"
        near.session = ""
        await greet(near, far)


async def test_a_session_that_was_ended_is_gone_and_another_can_begin(stage: Stage) -> None:
    async with stage() as (near, far):
        await greet(near, far)
        goodbye = await near.end().end()
        assert goodbye.status == 200
        late = await near.post(call(1)).end()
        assert late.status == 404
        near.session = ""
        await greet(near, far)


async def test_an_answer_that_nobody_waits_for_any_more_is_told_to_nobody(stage: Stage) -> None:
    async with stage() as (near, far):
        await greet(near, far)
        given_up = near.post(call(1))
        asked = await far.heard.get()
        near.last.abort()
        kept = near.post(call(2))
        next_one = await far.heard.get()
        await far.answer(asked, "late")
        await far.answer(next_one, "in time")
        assert frames_of(await kept.end())[-1]["result"] == "in time"
        assert not given_up.over


async def test_while_it_is_held_nothing_is_read_and_afterwards_all_of_it(stage: Stage) -> None:
    size = 1 << 20
    async with stage() as (near, far):
        await greet(near, far)
        stream = near.stream()
        await stream.arrived()
        near.connector.hold(True)
        saying = asyncio.create_task(far.say({"method": "notifications/message", "params": {"data": "x" * size}}))
        for _ in range(100):
            await asyncio.sleep(0)
        assert stream.body == b""
        near.connector.hold(False)
        await stream.arrived(size)
        await saying


async def test_what_is_opened_meanwhile_is_held_too(stage: Stage) -> None:
    async with stage() as (near, far):
        near.connector.hold(True)
        asked = near.post(INITIALIZE)
        if not isinstance(far, SseFar):  # whose endpoint has to be read before anything can be sent
            await far.answer(await asyncio.wait_for(far.heard.get(), PATIENCE), {"protocolVersion": "2025-11-25"})
        for _ in range(100):
            await asyncio.sleep(0)
        assert not asked.status
        near.connector.hold(False)
        if isinstance(far, SseFar):
            await far.answer(await asyncio.wait_for(far.heard.get(), PATIENCE), {"protocolVersion": "2024-11-05"})
        await asked.end()
        assert asked.status == 200


async def test_closing_fails_what_is_under_way(stage: Stage) -> None:
    async with stage() as (near, far):
        await greet(near, far)
        waiting = near.post(call(1))
        await far.heard.get()
        await near.connector.aclose()
        assert (await waiting.failure())[0] is True


# -- HTTP+SSE ------------------------------------------------------------------------------------


def sse(far: SseFar | None = None, way: Callable[[Connector, str], Connector] = SseConnector) -> Any:
    return over_http(far or SseFar(), way)


async def test_the_stream_and_each_post_carry_the_token_and_no_session_id_of_ours() -> None:
    async with sse() as (near, far):
        await greet(near, far)
        assert [head.split(b" ", 2)[:2] for head in far.heads] == [
            [b"GET", b"/mcp"],
            [b"POST", b"/messages?session=1"],
            [b"POST", b"/messages?session=1"],
        ]
        assert all(header_of(head, "authorization") == "Bearer T" for head in far.heads)
        assert not any(header_of(head, "mcp-session-id") for head in far.heads)
        assert header_of(far.heads[0], "accept") == "text/event-stream"


async def test_no_session_begins_on_the_stream_of_one_that_was_never_answered() -> None:
    async with sse() as (near, far):
        near.post(INITIALIZE)
        await asyncio.wait_for(far.heard.get(), PATIENCE)
        near.last.abort()
        another = POST.replace(b" T", b" U")
        near.connector.request(
            "POST", "/mcp", another, json.dumps(INITIALIZE).encode(), Answer(), head_timeout=PATIENCE
        )
        await asyncio.wait_for(far.heard.get(), PATIENCE)
        await asyncio.wait_for(far.gone.wait(), PATIENCE)
        assert [header_of(head, "authorization") for head in far.heads] == ["Bearer T"] * 2 + ["Bearer U"] * 2


async def test_who_gives_up_the_sessions_stream_leaves_no_connection_open_that_carries_the_token() -> None:
    async with sse() as (near, far):
        await greet(near, far)
        near.stream()
        near.last.abort()
        await asyncio.wait_for(far.gone.wait(), PATIENCE)
        assert (await near.post(call(1)).end()).status == 404


@pytest.mark.parametrize(
    "endpoint",
    [
        b"https://evil.example.com/messages",
        b"//evil.example.com/x",
        b"http://127.0.0.1:1/x",
        b"http://[",
        b"\xff",
        b"/a b",
    ],
)
async def test_an_endpoint_of_another_origin_gets_nothing(endpoint: bytes) -> None:
    far = SseFar()
    far.endpoint = endpoint
    async with sse(far) as (near, far):
        sent, why = await near.post(INITIALIZE).failure()
        assert sent is False
        assert "a token is not carried elsewhere" in why
        assert far.heard.empty()


async def test_an_endpoint_may_be_spelled_with_its_origin() -> None:
    far = SseFar()
    async with serving(far) as server:
        far.endpoint = f"{server.origin}/messages?session=1".encode()
        near = Near(SseConnector(LeanConnector(server.origin), f"{server.origin}/mcp"))
        await greet(near, far)
        await near.connector.aclose()


async def test_a_message_that_the_server_does_not_take_is_answered_with_its_status() -> None:
    async with sse() as (near, far):
        await greet(near, far)
        far.refusal = 401
        refused = await near.post(call(1)).end()
        assert refused.status == 401, "so the token is renewed and the message sent once more"
        again = near.post(call(1))
        await far.answer(await far.heard.get(), "now")
        assert frames_of(await again.end())[-1]["result"] == "now"


async def test_the_modern_era_has_no_such_transport() -> None:
    async with sse() as (near, far):
        answer = await near.post(call(1, "server/discover"), b"Mcp-Method: server/discover\r\n").end()
        assert answer.status == 405
        assert far.heads == [], "nothing was asked"


async def test_what_is_said_before_anybody_listens_is_kept() -> None:
    async with sse() as (near, far):
        asked = near.post(INITIALIZE)
        await far.answer(await far.heard.get(), {})
        await far.say({"method": "notifications/tools/list_changed"})
        near.session = (await asked.end()).headers["mcp-session-id"]
        stream = near.stream()
        await stream.arrived(10)
        assert frames_of(stream)[0]["method"] == "notifications/tools/list_changed"


async def test_an_error_without_an_id_is_for_the_one_who_asked() -> None:
    async with sse() as (near, far):
        await greet(near, far)
        waiting = near.post(call(1))
        await far.heard.get()
        await far.say({"id": None, "error": {"code": -32700, "message": "no"}})
        assert frames_of(await waiting.end())[0]["error"]["code"] == -32700


async def test_two_requests_of_one_id_are_not_taken_for_each_other() -> None:
    async with sse() as (near, far):
        await greet(near, far)
        near.post(call(1))
        await far.heard.get()
        sent, why = await near.post(call(1)).failure()
        assert not sent
        assert "this id" in why


async def test_a_stream_without_an_endpoint_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acp_stdio.upstream.http_sse.ENDPOINT_WAIT", 0.05)

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD)
        await peer.gone()

    async with over_http(script, SseConnector) as (near, _):
        sent, why = await near.post(INITIALIZE).failure()
        assert not sent
        assert "no endpoint event within" in why


class SilentFar(SseFar):
    """Takes messages, and never ends the answer to a POST: with half a head, or half a body."""

    def __init__(self, begun: bytes) -> None:
        super().__init__()
        self.begun = begun
        self.gone: asyncio.Queue[bytes] = asyncio.Queue()
        """The POSTs whose connections were closed."""

    async def __call__(self, peer: Peer) -> None:
        head, body = await peer.request()
        if head.startswith(b"GET"):
            self.stream = peer
            await peer.send(SSE_HEAD + b"event: endpoint\ndata: %b\n\n" % self.endpoint)
            await peer.gone()
            return
        await peer.send(self.begun)
        await self.heard.put(json.loads(body))
        await peer.gone()
        await self.gone.put(body)


HALVES = [b"HTTP/1.1 202", b"HTTP/1.1 202 Accepted\r\nContent-Length: 9\r\n\r\n"]


@pytest.mark.parametrize("begun", HALVES)
async def test_a_post_that_is_never_ended_gives_its_connection_back_once_the_answer_has_come(
    begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("acp_stdio.upstream.channel.LINGER", 0.0)
    async with sse(SilentFar(begun)) as (near, far):
        asked = near.post(INITIALIZE)
        await far.answer(await far.heard.get(), {})
        await asked.end()
        assert json.loads(await asyncio.wait_for(far.gone.get(), PATIENCE)) == INITIALIZE


@pytest.mark.parametrize("begun", HALVES)
async def test_a_post_that_is_never_ended_does_not_outlive_its_stream(
    begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("acp_stdio.upstream.channel.LINGER", 0.0)
    async with sse(SilentFar(begun)) as (near, far):
        asked = near.post(INITIALIZE)
        await far.heard.get()
        await far.cut()
        assert (await asked.failure())[0] is True, "it may have been carried out"
        await asyncio.wait_for(far.gone.get(), PATIENCE)


async def test_a_message_that_waits_for_a_connection_has_not_been_sent_and_never_is() -> None:
    far = SilentFar(b"")
    async with serving(far) as server:
        http = LeanConnector(server.origin, limits=Limits(connections=2))
        near = Near(SseConnector(http, f"{server.origin}/mcp"))
        try:
            first = near.post(INITIALIZE)
            assert near.last.sent is False, "there is no place to send it to yet"
            await far.heard.get()
            assert near.last.sent is True
            second = near.post(call(1))
            assert near.last.sent is False, "the stream and the first message have the two connections that there are"
            await far.cut()
            assert (await first.failure())[0] is True
            assert (await second.failure())[0] is False
            near.post({**INITIALIZE, "id": 2})
            assert (await far.heard.get())["id"] == 2, "what nobody waits for is not sent when there is room"
        finally:
            await near.connector.aclose()


# -- from one to the other -------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 404, 405])
@pytest.mark.parametrize("get", [b"405 No", b"200 OK"])
async def test_a_server_that_is_neither_is_answered_with_what_it_said_first(status: int, get: bytes) -> None:
    async def script(peer: Peer) -> None:
        while True:
            head, _ = await peer.request()
            line = get if head.startswith(b"GET") else b"%d No" % status
            await peer.send(b"HTTP/1.1 %b\r\nContent-Length: 5\r\n\r\nwords" % line)

    async with over_http(script, LadderConnector) as (near, _):
        answer = await near.post(INITIALIZE).end()
        assert (answer.status, answer.body) == (status, b"words")


@pytest.mark.parametrize("code", [-32022, -32601])
async def test_an_error_of_the_modern_era_is_no_reason_to_try_an_older_transport(code: int) -> None:
    heads: list[bytes] = []
    body = json.dumps({"jsonrpc": "2.0", "id": 0, "error": {"code": code, "message": "no"}}).encode()

    async def script(peer: Peer) -> None:
        while True:
            heads.append((await peer.request())[0])
            await peer.send(b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async with over_http(script, LadderConnector) as (near, _):
        answer = await near.post(INITIALIZE).end()
        assert answer.body == body
    assert [head[:4] for head in heads] == [b"POST"]


@pytest.mark.parametrize("status", [401, 403, 429, 500])
async def test_a_refused_sign_in_and_a_server_in_trouble_are_no_reason_either(status: int) -> None:
    heads: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            heads.append((await peer.request())[0])
            await peer.send(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)

    async with over_http(script, LadderConnector) as (near, _):
        assert (await near.post(INITIALIZE).end()).status == status
    assert [head[:4] for head in heads] == [b"POST"]


async def test_once_it_is_known_the_next_session_begins_on_what_fitted() -> None:
    async with sse(way=LadderConnector) as (near, far):
        await greet(near, far)
        await far.cut()
        near.session = ""
        far.heads.clear()
        await greet(near, far)
        assert far.heads[0].startswith(b"GET"), "no POST to a place that takes none"
