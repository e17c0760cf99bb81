"""An HTTP server in front of `acp-stdio run`, so that clients which speak only HTTP can try it.

One child for each legacy session and one for the modern era. What HTTP itself must do is done here: Host
and Origin, `Mcp-*` headers against the body, status codes, streams, and a client that goes away. Ids,
progress tokens and subscription ids are exchanged, since clients share a child that knows one host.
"""

import asyncio
import contextlib
import itertools
import json
import secrets
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import uvicorn
from mcp.shared.inbound import (
    ERROR_CODE_HTTP_STATUS,
    NAME_BEARING_METHODS,
    decode_header_value,
    validate_mcp_param_headers,
)

from acp_stdio.demo.lifetime import loopback_socket
from tests.kit.host import RUN

Json = dict[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

LEGACY = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
META_VERSION = "io.modelcontextprotocol/protocolVersion"
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
HEADER_MISMATCH = -32020
LINE = 32 * 1024 * 1024
"""Bytes; the longest line that a child may send."""
GOODBYE = 10.0
"""Seconds for a child to end before it is killed."""


@dataclass
class Exchange:
    """One request on its way; `frames` ends with the answer."""

    here: int
    there: Any
    token: Any = None
    listens: bool = False
    frames: "asyncio.Queue[Json]" = field(default_factory=asyncio.Queue[Json])


class Child:
    """One `acp-stdio run` and what is on its way to it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._numbers = itertools.count(1)
        self._exchanges: dict[int, Exchange] = {}
        self.apart: asyncio.Queue[Json] = asyncio.Queue()
        """What belongs to no request: for the session's own stream."""
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, environment: Mapping[str, str], home: Path) -> "Child":
        with (home / "front-stderr").open("ab") as errors:
            pipe = asyncio.subprocess.PIPE
            process = await asyncio.create_subprocess_exec(
                *RUN, env=dict(environment), cwd=home, stdin=pipe, stdout=pipe, stderr=errors, limit=LINE
            )
        return cls(process)

    async def stop(self) -> None:
        """Closes its stdin, as a host that quits."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), GOODBYE)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reader

    def ask(self, frame: Json) -> Exchange:
        """Sends a request under a number of our own."""
        exchange = Exchange(next(self._numbers), frame["id"], listens=frame["method"] == "subscriptions/listen")
        frame["id"] = exchange.here
        meta = _meta(frame)
        if "progressToken" in meta:
            exchange.token, meta["progressToken"] = meta["progressToken"], f"front-{exchange.here}"
        self._exchanges[exchange.here] = exchange
        self.tell(frame)
        return exchange

    def tell(self, frame: Json) -> None:
        """A notification or an answer. A cancelled request is named by the number it has here."""
        if frame.get("method") == "notifications/cancelled":
            wanted = frame["params"].get("requestId")
            found = next((e.here for e in self._exchanges.values() if e.there == wanted), None)
            frame["params"]["requestId"] = wanted if found is None else found
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(frame).encode() + b"\n")

    def give_up(self, exchange: Exchange) -> None:
        """The client of a modern request closed its connection, which cancels it."""
        if self._exchanges.pop(exchange.here, None) is not None:
            self.tell({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": exchange.here}})

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self._sort(json.loads(line))
        for exchange in self._exchanges.values():
            error = {"code": -32603, "message": "acp-stdio ended"}
            exchange.frames.put_nowait({"jsonrpc": "2.0", "id": exchange.there, "error": error})

    def _sort(self, frame: Json) -> None:
        if "method" not in frame:
            exchange = self._exchanges.pop(frame["id"], None) if frame.get("id") is not None else None
            if exchange is not None:
                _rename(frame.get("result", {}), exchange)
                exchange.frames.put_nowait({**frame, "id": exchange.there})
            return
        params = frame.get("params", {})
        exchange = None
        if SUBSCRIPTION in params.get("_meta", {}):
            exchange = self._exchanges.get(params["_meta"][SUBSCRIPTION])
            if exchange is None:
                return
            _rename(params, exchange)
        elif frame["method"] == "notifications/progress":
            exchange = self._exchanges.get(int(str(params["progressToken"]).removeprefix("front-")))
            if exchange is None:
                return
            params["progressToken"] = exchange.token
        elif "id" in frame or frame["method"] == "notifications/message":
            # stdio does not say which request a question or a log line belongs to; the last one that waits is it.
            exchange = next((e for e in reversed(self._exchanges.values()) if not e.listens), None)
        (self.apart if exchange is None else exchange.frames).put_nowait(frame)


def _meta(frame: Json) -> Json:
    params: Any = frame.get("params")
    meta: Any = cast(Json, params).get("_meta") if isinstance(params, dict) else None
    return cast(Json, meta) if isinstance(meta, dict) else {}


def _rename(holder: Json, exchange: Exchange) -> None:
    meta = holder.get("_meta", {})
    if SUBSCRIPTION in meta:
        meta[SUBSCRIPTION] = exchange.there


class Front:
    """The ASGI application."""

    def __init__(self, environment: Mapping[str, str], home: Path, *, knows_no_other: bool) -> None:
        self._environment, self._home, self._knows_no_other = environment, home, knows_no_other
        self._sessions: dict[str, Child] = {}
        self._modern: Child | None = None
        self._starting = asyncio.Lock()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1").strip() for name, value in scope["headers"]}
        if not _is_local(headers.get("host", ""), headers.get("origin")):
            await _answer(send, 403, None)
            return
        session = headers.get("mcp-session-id")
        if session is not None and session not in self._sessions:
            await _answer(send, 404, None)
            return
        match scope["method"]:
            case "POST":
                await self._post(headers, receive, send)
            case "GET" if session is not None:
                await self._stream(self._sessions[session], receive, send)
            case "DELETE" if session is not None:
                await self._sessions.pop(session).stop()
                await _answer(send, 200, None)
            case _:
                await _answer(send, 405, None)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        children = [*self._sessions.values(), *([self._modern] if self._modern is not None else [])]
        await asyncio.gather(*(child.stop() for child in children))
        await send({"type": "lifespan.shutdown.complete"})

    async def _post(self, headers: Mapping[str, str], receive: Receive, send: Send) -> None:
        try:
            frame = json.loads(await _body(receive))
        except ValueError:
            await _answer(send, 400, _error(None, -32700, "this is no JSON"))
            return
        version = headers.get("mcp-protocol-version", "")
        modern = META_VERSION in _meta(frame) or (version != "" and version not in LEGACY)
        session = headers.get("mcp-session-id")
        more: dict[str, str] = {}
        if modern:
            child = await self._modern_child()
            wrong = await _mismatch(headers, frame, child)
            if wrong:
                await _answer(send, 400, _error(frame.get("id"), HEADER_MISMATCH, wrong))
                return
        elif session is not None:
            child = self._sessions[session]
        elif frame.get("method") == "initialize":
            session = secrets.token_urlsafe(16)
            child = self._sessions[session] = await Child.start(self._environment, self._home)
            more["mcp-session-id"] = session
        else:
            await _answer(send, 400, _error(frame.get("id"), -32600, "no session"))
            return
        if "id" not in frame or "method" not in frame:
            child.tell(frame)
            await _answer(send, 202, None)
            return
        await self._call(child, child.ask(frame), more, receive, send, modern=modern)

    async def _modern_child(self) -> Child:
        async with self._starting:
            if self._modern is None:
                self._modern = await Child.start(self._environment, self._home)
                if self._knows_no_other:
                    await _insist(self._modern)
            return self._modern

    async def _call(
        self, child: Child, exchange: Exchange, more: dict[str, str], receive: Receive, send: Send, *, modern: bool
    ) -> None:
        """One JSON answer where nothing comes before it, else a stream; whoever leaves a modern one cancels it."""
        async with _until_they_leave(receive) as left:
            streaming = False
            while (frame := await _next(exchange.frames, left)) is not None:
                if "method" not in frame and not streaming:
                    code = frame.get("error", {}).get("code", 0)
                    await _answer(send, ERROR_CODE_HTTP_STATUS.get(code, 200) if modern else 200, frame, more)
                    return
                if not streaming:
                    await _open(send, more)
                    streaming = True
                await _event(send, frame, last="method" not in frame)
                if "method" not in frame:
                    return
        if modern:
            child.give_up(exchange)

    async def _stream(self, child: Child, receive: Receive, send: Send) -> None:
        async with _until_they_leave(receive) as left:
            await _open(send, {})
            while (frame := await _next(child.apart, left)) is not None:
                await _event(send, frame, last=False)


# -- what HTTP must check --------------------------------------------------------------------------


def _is_local(host: str, origin: str | None) -> bool:
    """DNS rebinding: a page of another name must not reach a local server (MCP, transports, security)."""
    names = [urlsplit(f"//{host}").hostname, *([urlsplit(origin).hostname] if origin is not None else [])]
    return all(name in ("localhost", "127.0.0.1", "::1") for name in names)


async def _mismatch(headers: Mapping[str, str], frame: Json, child: Child) -> str:
    """How the headers differ from the body (MCP 2026-07-28, streamable-http); empty where they do not."""
    version, method, params = _meta(frame).get(META_VERSION), frame.get("method"), frame.get("params", {})
    if version is not None and headers.get("mcp-protocol-version") != version:
        return "MCP-Protocol-Version differs from the body"
    if headers.get("mcp-method") != method:
        return "Mcp-Method differs from the body"
    named_by = NAME_BEARING_METHODS.get(str(method))
    if named_by is None:
        return ""
    if decode_header_value(headers.get("mcp-name")) != params.get(named_by):
        return "Mcp-Name differs from the body"
    if method != "tools/call" or version is None:
        return ""
    meta = {key: value for key, value in _meta(frame).items() if key != "progressToken"}
    listing = child.ask({"jsonrpc": "2.0", "id": 0, "method": "tools/list", "params": {"_meta": meta}})
    tools: list[Json] = (await listing.frames.get()).get("result", {}).get("tools", [])
    schema = next((tool["inputSchema"] for tool in tools if tool["name"] == params.get("name")), None)
    wrong = validate_mcp_param_headers(schema, params.get("arguments") or {}, headers)
    return "" if wrong is None else wrong.message


# -- what HTTP looks like --------------------------------------------------------------------------


def _error(request_id: Any, code: int, message: str) -> Json:
    return {"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": message}}


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _answer(send: Send, status: int, frame: Json | None, more: Mapping[str, str] | None = None) -> None:
    headers = [(name.encode(), value.encode()) for name, value in (more or {}).items()]
    if frame is not None:
        headers.append((b"content-type", b"application/json"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if frame is None else json.dumps(frame).encode()})


async def _open(send: Send, more: Mapping[str, str]) -> None:
    headers = [(name.encode(), value.encode()) for name, value in more.items()]
    headers += [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": True})


async def _event(send: Send, frame: Json, *, last: bool) -> None:
    event = f"event: message\ndata: {json.dumps(frame)}\n\n"
    await send({"type": "http.response.body", "body": event.encode(), "more_body": not last})


@contextlib.asynccontextmanager
async def _until_they_leave(receive: Receive) -> AsyncGenerator[asyncio.Task[None]]:
    """A task that ends when the client closes its connection."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    task = asyncio.create_task(watch())
    try:
        yield task
    finally:
        task.cancel()


async def _next(frames: "asyncio.Queue[Json]", left: asyncio.Task[None]) -> Json | None:
    """The next frame; None once the client has left."""
    waiting = asyncio.ensure_future(frames.get())
    await asyncio.wait((waiting, left), return_when=asyncio.FIRST_COMPLETED)
    if waiting.done():
        return waiting.result()
    waiting.cancel()
    return None


async def _insist(child: Child) -> None:
    """What a host that knows the modern era alone does: it asks, is told of the other era, and goes on in its own."""
    meta: Json = {META_VERSION: "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
    asked = child.ask({"jsonrpc": "2.0", "id": 0, "method": "server/discover", "params": {"_meta": meta}})
    await asked.frames.get()


@contextlib.contextmanager
def http_front(environment: Mapping[str, str], home: Path, *, knows_no_other: bool = False) -> Generator[str]:
    """The address of a front for `run` in this environment, served by a thread.

    `knows_no_other`: its modern clients stand for hosts that do not fall back to the legacy era.
    """
    listener = loopback_socket(0)
    config = uvicorn.Config(
        Front(environment, home, knows_no_other=knows_no_other),
        log_config=None,
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
    finally:
        server.should_exit = True
        thread.join(60)
        listener.close()
