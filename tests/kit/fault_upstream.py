"""An MCP server on loopback, byte by byte, that misbehaves on command and counts what it carried out.

It speaks both eras as far as `initialize`, `tools/list` and `tools/call` go, takes any bearer token and keeps
every request with its `Authorization`. `next("tools/call", act)` says what becomes of the next request of that
method; for the others than POST the HTTP method is its name. An act is a function of one `Request`.
"""

import contextlib
import json
import socket
import ssl
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Final

PATIENCE: Final = 60.0
"""Seconds for what is bound to happen."""
MODERN: Final = "2026-07-28"


@dataclass
class Request:
    """One request, and the ways to answer it."""

    server: "FaultUpstream"
    connection: socket.socket
    http_method: str
    path: str
    headers: dict[str, str]
    rpc: dict[str, Any]
    keep: bool = True
    """Whether the connection may carry another request."""
    left: threading.Event = field(default_factory=threading.Event)
    """The client has closed the connection while this was not answered."""

    @property
    def name(self) -> str:
        """The JSON-RPC method, or the HTTP one where there is none."""
        return str(self.rpc.get("method") or self.http_method)

    @property
    def text(self) -> str:
        """What `echo` was asked to say."""
        params: dict[str, Any] = self.rpc.get("params") or {}
        arguments: dict[str, Any] = params.get("arguments") or {}
        return str(arguments.get("text", ""))

    def carry_out(self) -> None:
        """The tool does what it is for: more than once would be harm."""
        self.server.carried_out[self.text] += 1

    def result(self) -> bytes:
        """The right answer, as JSON-RPC."""
        return json.dumps({"jsonrpc": "2.0", "id": self.rpc.get("id"), "result": self.server.result(self)}).encode()

    def raw(self, data: bytes) -> None:
        """Bytes as they are."""
        with contextlib.suppress(OSError):
            self.connection.sendall(data)

    def reply(
        self, status: int, body: bytes = b"", kind: str = "application/json", *more: str, length: int | None = None
    ) -> None:
        """A whole answer; `more` are header lines, `length` a lie about its size."""
        lines = [f"HTTP/1.1 {status} said", f"Content-Type: {kind}", *more]
        lines.append(f"Content-Length: {len(body) if length is None else length}")
        self.raw("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def good(self) -> None:
        """Carries it out and answers."""
        self.carry_out()
        self.reply(200, self.result())

    def end(self) -> None:
        """Closes the connection in good manners."""
        self.keep = False

    def cut(self) -> None:
        """Resets the connection."""
        self.keep = False
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def never(self) -> None:
        """Holds the request until the client goes away, the test lets go, or patience ends."""
        self.keep = False
        self.server.holding.append(self)
        until = time.monotonic() + PATIENCE
        with contextlib.suppress(OSError):
            self.connection.settimeout(0.05)
            while time.monotonic() < until and not self.server.released.is_set():
                try:
                    if not self.connection.recv(1):
                        break
                except TimeoutError:
                    continue
        self.left.set()


Act = Callable[[Request], None]


class FaultUpstream:
    """The server, and what it has seen. `http://127.0.0.1:PORT/mcp`, or https with a TLS context."""

    def __init__(self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        """`host`: the name in its URL, under which a client finds it."""
        self._tls, self._host = tls, host
        self._acts: dict[str, deque[Act]] = {}
        self._lock = threading.Condition()
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.port = 0
        self.requests: list[Request] = []
        """Every request of MCP, oldest first."""
        self.carried_out: Counter[str] = Counter()
        """How often each text was echoed."""
        self.sessions: set[str] = set()
        """The sessions that it knows."""
        self.opened = 0
        """How often a session was opened."""
        self.holding: list[Request] = []
        self.released = threading.Event()
        self.listen()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self._host}:{self.port}/mcp"

    @property
    def closed(self) -> bool:
        """Whether its port refuses connections."""
        return self._listener is None

    # What a test does with it.

    def next(self, name: str, *acts: Act) -> None:
        """The next requests of this method, one act each; the ones behind them go well."""
        with self._lock:
            self._acts.setdefault(name, deque()).extend(acts)

    def forget_sessions(self) -> None:
        """As after a restart."""
        self.sessions.clear()

    def behave(self) -> None:
        """Nothing more goes wrong; what is held is let go."""
        with self._lock:
            self._acts.clear()
        self.released.set()
        self.released = threading.Event()

    def listen(self) -> None:
        """Takes connections; after `away` on the same port again."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(64)
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def away(self) -> None:
        """Its port refuses connections, and the open ones end."""
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.until(lambda: not self._open, "every connection is closed")

    def seen(self, name: str, text: str | None = None) -> list[Request]:
        """The requests of this method, and with this text."""
        with self._lock:
            return [r for r in self.requests if r.name == name and text in (None, r.text)]

    def until(self, holds: Callable[[], object], what: str) -> None:
        """Waits until `holds()`. Raises `AssertionError` naming `what`."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline, f"still not: {what}"
            with self._lock:
                self._lock.wait(0.05)

    def held(self, text: str) -> Request:
        """Waits until the request with this text has come and is held."""
        self.until(lambda: any(r.text == text for r in self.holding), f"{text} is held")
        return next(r for r in self.holding if r.text == text)

    # What it says.

    def result(self, request: Request) -> dict[str, Any]:
        """The right result."""
        about: dict[str, Any] = {"capabilities": {"tools": {}}}
        match request.name:
            case "initialize":
                version = request.rpc["params"]["protocolVersion"]
                return {**about, "protocolVersion": version, "serverInfo": {"name": "fault", "version": "1"}}
            case "server/discover":
                modern = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
                return {**about, **modern, "supportedVersions": [MODERN, "2025-11-25"]}
            case "tools/list":
                schema = {"type": "object", "properties": {"text": {"type": "string"}}}
                tools = [{"name": "echo", "description": "Says it.", "inputSchema": schema}]
                return {"tools": tools, "resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
            case _:
                content = [{"type": "text", "text": request.text}]
                return {"content": content, "isError": False, "resultType": "complete"}

    def _answer(self, request: Request) -> None:
        if ".well-known" in request.path:
            request.reply(404)
            return
        with self._lock:
            self.requests.append(request)
            acts = self._acts.get(request.name)
            act = acts.popleft() if acts else None
            self._lock.notify_all()
        if act is not None:
            act(request)
        else:
            self._behave_well(request)

    def _behave_well(self, request: Request) -> None:
        session = request.headers.get("mcp-session-id")
        if session is not None and session not in self.sessions:
            request.reply(404, b"no such session", "text/plain")
            return
        match request.name:
            case "initialize":
                self.opened += 1
                session = f"session-{self.opened}"
                self.sessions.add(session)
                request.reply(200, request.result(), "application/json", f"Mcp-Session-Id: {session}")
            case "GET":
                request.reply(405)
            case "DELETE":
                self.sessions.discard(session or "")
                request.reply(200)
            case "tools/call":
                request.good()
            case _ if "id" in request.rpc:
                request.reply(200, request.result())
            case _:
                request.reply(202)

    # How it listens.

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        connection = raw
        with contextlib.suppress(OSError, ValueError):
            if self._tls is not None:
                raw.settimeout(PATIENCE)
                connection = self._tls.wrap_socket(raw, server_side=True)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open.add(connection)
            buffer = connection.makefile("rb")
            with buffer:
                while (request := self._read(connection, buffer)) is not None:
                    self._answer(request)
                    if not request.keep:
                        break
        with self._lock:
            self._open.discard(connection)
            self._lock.notify_all()
        with contextlib.suppress(OSError):
            connection.close()
        raw.close()

    def _read(self, connection: socket.socket, buffer: Any) -> Request | None:
        start = buffer.readline().decode("latin-1").split()
        if len(start) != 3:
            return None
        headers: dict[str, str] = {}
        while line := buffer.readline().decode("latin-1").strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = buffer.read(int(headers.get("content-length", "0")))
        return Request(self, connection, start[0], start[1], headers, json.loads(body) if body else {})


@contextlib.contextmanager
def fault_upstream(tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Generator[FaultUpstream]:
    """A server for as long as the block lasts."""
    server = FaultUpstream(tls, host)
    try:
        yield server
    finally:
        server.behave()
        server.away()
