"""A real server on the loopback interface that does, byte by byte, what a test says; and who listens."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

PATIENCE = 30.0
"""Seconds after which a test gives up; nothing here is expected to take one."""


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def request(self) -> tuple[bytes, bytes]:
        """Reads one request: head and body. Raises `IncompleteReadError` when the client has gone."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return head, await self.reader.readexactly(length)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, body: bytes = b"ok", extra: bytes = b"") -> None:
        await self.send(b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (extra, len(body), body))

    async def gone(self) -> None:
        """Waits until the client has closed."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            pass

    async def close(self) -> None:
        self.writer.close()

    async def cut(self) -> None:
        """Ends the connection without a TLS goodbye."""
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


class Server:
    def __init__(self, script: Script, scheme: str) -> None:
        self._script = script
        self._scheme = scheme
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.accepted = 0
        self.current = 0
        self.empty = asyncio.Event()
        """No connection is open."""

    @property
    def origin(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self.current += 1
        self.empty.clear()
        try:
            await self._script(Peer(reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass  # the client has gone, as clients do
        finally:
            writer.close()
            with suppress(OSError, ssl.SSLError):
                await writer.wait_closed()
            self.current -= 1
            if not self.current:
                self.empty.set()


@asynccontextmanager
async def serving(script: Script, tls: ssl.SSLContext | None = None) -> AsyncGenerator[Server]:
    """Runs `script` for each connection. At the end, every connection must have been closed by someone."""
    server = Server(script, "https" if tls else "http")
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls, limit=1 << 20)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
        if server.accepted:
            await asyncio.wait_for(server.empty.wait(), PATIENCE)
    finally:
        listener.close()


class Answer:
    """Listens to one exchange and insists on the order of callbacks that the seam promises."""

    def __init__(self) -> None:
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._progress = asyncio.Event()
        self.status = 0
        self.headers: dict[str, str] = {}
        self.pieces: list[bytes] = []
        self.sent: bool | None = None
        self.why = ""

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def over(self) -> bool:
        return self._over.done()

    async def end(self) -> "Answer":
        """Waits for `on_end`."""
        await asyncio.wait_for(self._over, PATIENCE)
        assert not self.why, self.why
        return self

    async def failure(self) -> tuple[bool | None, str]:
        """Waits for `on_failed`: whether anything was sent, and the words."""
        await asyncio.wait_for(self._over, PATIENCE)
        assert self.why, f"answered with {self.status}"
        return self.sent, self.why

    async def ended(self) -> None:
        """Waits for either end."""
        await asyncio.wait_for(self._over, PATIENCE)

    async def arrived(self, size: int = 0) -> None:
        """Waits for the head and `size` bytes of body."""
        while not self.status or len(self.body) < size:
            self._progress.clear()
            await asyncio.wait_for(self._progress.wait(), PATIENCE)

    def on_head(self, status: int, headers: dict[str, str]) -> None:
        assert not self.status
        assert not self.over
        self.status, self.headers = status, headers
        self._progress.set()

    def on_data(self, data: bytes) -> None:
        assert self.status
        assert not self.over
        assert data
        self.pieces.append(data)
        self._progress.set()

    def on_end(self) -> None:
        assert self.status
        self._over.set_result(None)

    def on_failed(self, sent: bool, why: str) -> None:
        assert why
        self.sent, self.why = sent, why
        self._over.set_result(None)
