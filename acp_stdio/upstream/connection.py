"""One HTTP/1.1 connection that is kept, on llhttp's parser (RFC 9112).

One `write` sends a request, the parser's callbacks go straight to the receiver. Nothing is ever
repeated here: once a byte was written, a broken connection is reported and the caller decides.
"""

import asyncio
import contextlib
import math
import re
import select
import socket
import ssl
import time
from typing import Final, Protocol, cast

import httptools

from acp_stdio.upstream.call import Call

HEAD_LIMIT: Final = 64 * 1024
"""Bytes of a head. Other things between pieces of body (trailers, chunk extensions) may take one read more."""
SLICE: Final = 256 * 1024
"""Bytes handed to the transport at once, so that a large body is not copied into its buffer whole."""

_ROOM: Final = memoryview(bytearray(256 * 1024))
"""Where all connections read: what came is used up before anything else is read. A new buffer of this size for each
read is mapped, cleared and unmapped by the system, which was a tenth of a call's time."""

PROBES: Final = (("TCP_KEEPIDLE", 30), ("TCP_KEEPALIVE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
"""The system asks a silent peer whether it is still there, and finds out within a minute of waking that a stream, on
which we only listen, did not survive the laptop's sleep or a firewall. macOS calls the first one as the second."""

_KEEP_ALIVE_TIMEOUT = re.compile(r"\btimeout=(\d{1,6})")


class Keeper(Protocol):
    """Who owns connections."""

    def release(self, connection: "Connection") -> None:
        """The connection is free for the next call."""
        ...

    def lost(self, connection: "Connection") -> None:
        """The connection is closed."""
        ...


class Connection(asyncio.BufferedProtocol):
    """Carries one call at a time. `usable` and `start` are for the pool."""

    def __init__(self, keeper: Keeper, keep_idle: float) -> None:
        """`keep_idle`: seconds after which an unused connection is not trusted any more."""
        self._keeper = keeper
        self._keep_idle = keep_idle
        self._keep_alive_said = ""
        self._transport: asyncio.Transport | None = None
        self._poll: select.poll | None = None
        self._call: Call | None = None
        self._idle_since = self._idle_since_on_the_wall = 0.0
        self._fresh = True
        self._paused = False
        self._eof = False
        self._goodbye = False
        self._begin()

    def _begin(self) -> None:
        """Expects a new answer."""
        self._parser = httptools.HttpResponseParser(self)
        self._unsent = memoryview(b"")
        self._headers: dict[str, str] = {}
        self._head_done = False
        self._interim = False
        self._keep = False
        self._until_close = False
        self._complete = False
        self._fault = ""
        self._barren = 0
        self._head_size = 0

    # For the pool

    @property
    def call(self) -> Call | None:
        """The call under way."""
        return self._call

    def usable(self, now: float) -> bool:
        """Whether a call may be written: nothing says that the server has closed or is about to."""
        if self._transport is None or self._eof or self._transport.is_closing():
            return False
        if self._fresh:
            return True  # a TLS server's session tickets make the socket readable
        # The loop's clock stands still while the machine sleeps, and the server's does not.
        idle = max(now - self._idle_since, time.time() - self._idle_since_on_the_wall)
        return idle <= self._keep_idle and not self._readable()

    def start(self, call: Call) -> None:
        """Writes the call. From here on it may have reached the server."""
        transport = cast(asyncio.Transport, self._transport)  # `usable` was asked
        self._call = call
        call.carrier = self
        call.sent = True
        if len(call.body) <= SLICE:
            transport.write(call.head + call.body)
        else:
            transport.write(call.head)
            self._unsent = memoryview(call.body)
            self._pump()

    def abandon(self, call: Call) -> None:
        if self._call is call:
            self._call = None
            self.close()

    def hold(self, held: bool) -> None:
        """While held nothing is read; the server then waits, as TCP has it."""
        if self._transport is not None:
            (self._transport.pause_reading if held else self._transport.resume_reading)()

    def shut(self, why: str) -> None:
        """Fails the call under way, if any, and closes."""
        call, self._call = self._call, None
        self.close()
        if call is not None:
            call.fail(why)

    def close(self) -> None:
        """At once, without waiting for a TLS goodbye: nothing we would send is wanted any more."""
        if self._transport is not None:
            self._transport.abort()

    # asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        _keep_alive(transport.get_extra_info("socket"))
        if hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def get_buffer(self, sizehint: int) -> memoryview:
        return _ROOM

    def buffer_updated(self, nbytes: int) -> None:
        if self._call is None:
            self.close()  # nobody asked; the next answer on this connection could not be trusted
            return
        self._barren += nbytes
        try:
            self._parser.feed_data(_ROOM[:nbytes])
        except httptools.HttpParserCallbackError:
            self.shut("the answer could not be taken in")  # a defect of ours: it goes to the loop's handler
            raise
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if self._complete:
                self._keep = False
            else:
                self._fault = self._fault or "the server's answer is not proper HTTP/1.1"
        if self._complete:
            self._finish()
        elif self._fault:
            self.shut(self._fault)
        elif self._barren > HEAD_LIMIT:
            self.shut("the server's answer has a head of more than 64 KiB")

    def eof_received(self) -> None:
        self._eof = True
        transport = cast(asyncio.Transport, self._transport)
        self._goodbye = _said_goodbye(transport.get_extra_info("ssl_object"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        call, self._call = self._call, None
        self._keeper.lost(self)
        if call is None:
            return
        if self._until_close and self._goodbye and exc is None:
            call.end()
        elif self._head_done:
            call.fail("the connection broke in the middle of the answer")
        elif self._fresh:
            call.fail("the server closed the connection without an answer")
        else:
            call.fail("the server closed the kept connection without an answer")

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._pump()

    # httptools

    def on_message_begin(self) -> None:
        if self._complete:
            self._keep = False  # bytes after the answer: whose would the next one be?

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head_done:
            return  # a trailer, or what follows the answer
        self._head_size += len(name) + len(value)
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t")
        known = self._headers.get(key)
        self._headers[key] = text if known is None else f"{known}, {text}"

    def on_headers_complete(self) -> None:
        if self._call is None or self._complete or self._fault:
            return
        status = self._parser.get_status_code()
        if self._head_size > HEAD_LIMIT:
            self._fault = "the server's answer has a head of more than 64 KiB"
        elif status < 200:
            self._interim = True
            self._headers = {}
            if status == 101:
                self._fault = "the server switched protocols although not asked"
        else:
            self._take_head(status, self._headers)

    def on_body(self, body: bytes) -> None:
        self._barren = 0
        call = self._call
        if call is not None and call.receiver is not None and not self._fault and not self._complete:
            call.receiver.on_data(body)

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
        elif self._head_done and not self._fault:
            self._complete = True

    # Steps

    def _take_head(self, status: int, headers: dict[str, str]) -> None:
        call = self._call
        if headers.get("content-encoding", "identity").lower() not in ("identity", ""):
            self._fault = "the server's answer is compressed although not asked"
        elif call is not None and call.receiver is not None:
            self._head_done = True
            self._barren = 0
            self._keep = self._parser.should_keep_alive()
            coding = headers.get("transfer-encoding")
            if coding is not None:
                self._until_close = coding.rpartition(",")[2].strip().lower() != "chunked"
            else:
                self._until_close = "content-length" not in headers and status not in (204, 304)
            said = headers.get("keep-alive", "")
            if said != self._keep_alive_said:
                self._heed(said)
            call.deadline = math.inf
            call.receiver.on_head(status, headers)

    def _heed(self, said: str) -> None:
        """Leaves a second before the time at which the server says it will close (RFC 2068, 19.7.1.1)."""
        self._keep_alive_said = said
        match = _KEEP_ALIVE_TIMEOUT.search(said.lower())
        if match:
            self._keep_idle = min(self._keep_idle, int(match[1]) - 1.0)

    def _finish(self) -> None:
        call, self._call = self._call, None
        if call is None:  # aborted by its receiver
            return
        if self._keep and not self._unsent and not self._eof:
            self._fresh = False
            self._begin()
            self._idle_since, self._idle_since_on_the_wall = asyncio.get_running_loop().time(), time.time()
            self._keeper.release(self)  # first: the receiver's next request may take this connection
        else:
            self.close()
        call.end()

    def _pump(self) -> None:
        while self._unsent and not self._paused and self._call is not None and self._transport is not None:
            self._transport.write(self._unsent[:SLICE])
            self._unsent = self._unsent[SLICE:]

    def _readable(self) -> bool:
        """A closed connection reads as end of file; the loop may not have come to it yet."""
        if self._poll is not None:
            return bool(self._poll.poll(0))
        transport = cast(asyncio.Transport, self._transport)
        return bool(select.select([transport.get_extra_info("socket").fileno()], [], [], 0)[0])


def _keep_alive(connected: socket.socket) -> None:
    with contextlib.suppress(OSError):  # not a TCP socket, or a system that knows it under other names
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in PROBES:
            if hasattr(socket, name):
                connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _said_goodbye(tls: ssl.SSLObject | None) -> bool:
    """Whether the end is the server's and not a stranger's, who can end TCP but not TLS (RFC 8446, 6.1)."""
    if tls is None:
        return True
    try:
        return tls.read(1) == b""
    except ssl.SSLZeroReturnError:
        return True
    except ssl.SSLError:  # would wait for more
        return False
