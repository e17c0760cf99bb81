"""The way through a company's proxy: `CONNECT` (RFC 9110 section 9.3.6)."""

import asyncio
import base64
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import unquote_to_bytes, urlsplit

from acp_stdio.secrets import Secret

_HEAD_LIMIT: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy; `authorization` is the value of `Proxy-Authorization`, if it wants one."""

    host: str
    port: int
    authorization: Secret | None = None

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_proxy(url: str) -> Proxy:
    """`http://[user:password@]host[:port]`. Raises `ValueError`, which does not repeat the URL."""
    try:
        parts = urlsplit(url if "//" in url else f"//{url}", scheme="http")
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        raise ValueError("the proxy's URL cannot be read") from None  # the text would show the password
    if parts.scheme != "http" or not host or not host.isascii():
        raise ValueError("only proxies of the form http://host:port are supported")
    if parts.username is None:
        return Proxy(host, port)
    pair = unquote_to_bytes(parts.username) + b":" + unquote_to_bytes(parts.password or "")
    return Proxy(host, port, Secret("Basic " + base64.b64encode(pair).decode("ascii")))


class Refused(Exception):
    """The proxy would not open a tunnel. The text is for people."""


async def open_tunnel(proxy: Proxy, host: str, port: int) -> asyncio.Transport:
    """Connects to the proxy and through it to `host:port`; the transport is ready for `start_tls`.

    Raises `Refused`, or `OSError` where the proxy cannot be reached. Closes what it opened on failure.
    """
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(
        lambda: _Tunnel(loop), proxy.host, proxy.port, happy_eyeballs_delay=0.25
    )
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    request = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"
    if proxy.authorization is not None:
        request += f"Proxy-Authorization: {proxy.authorization.reveal()}\r\n"
    try:
        transport.write(request.encode("ascii") + b"\r\n")
        head = await protocol.head
        _judge(head, proxy)
    except BaseException:
        transport.abort()
        raise
    return transport


def _judge(head: bytes, proxy: Proxy) -> None:
    status = head.split(b"\r\n", 1)[0].split(b" ")
    if len(status) < 2 or not status[0].startswith(b"HTTP/1.") or not status[1].isdigit():
        raise Refused(f"the proxy {proxy.authority} does not answer in HTTP/1.1")
    code = int(status[1][:3])
    if code == 407:
        how = "asks for a user name and password" if proxy.authorization is None else "rejects our credentials"
        raise Refused(f"the proxy {proxy.authority} {how} (407)")
    if not 200 <= code < 300:
        raise Refused(f"the proxy {proxy.authority} refused the connection ({code})")


class _Tunnel(asyncio.Protocol):
    """Reads the proxy's answer, up to its empty line and not a byte further."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.head: asyncio.Future[bytes] = loop.create_future()
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if self.head.done():
            return
        if end >= 0:
            if end + 4 < len(self._buffer) and self._buffer[9:10] == b"2":
                self.head.set_exception(Refused("the proxy sent bytes of its own into the tunnel"))
            else:
                self.head.set_result(self._buffer[:end])
            cast(asyncio.Transport, self._transport).pause_reading()  # what follows belongs to TLS
        elif len(self._buffer) > _HEAD_LIMIT:
            self.head.set_exception(Refused("the proxy's answer has a head of more than 16 KiB"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.head.done():
            self.head.set_exception(Refused("the proxy closed the connection without an answer"))
