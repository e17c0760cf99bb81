"""Kept connections to one origin: the lean connector of the hot path.

The connection used last is used next, so that few stay warm. A call that finds none free waits
for the first that becomes free or is opened; an attempt to connect belongs to no call.
"""

import asyncio
import math
import re
import ssl
from collections import deque
from dataclasses import dataclass
from typing import Final

from acp_stdio.settings.origin import reachable_origin
from acp_stdio.upstream.call import Call
from acp_stdio.upstream.connection import Connection
from acp_stdio.upstream.dial import describe, dial
from acp_stdio.upstream.http import Receiver
from acp_stdio.upstream.proxy import Proxy

_METHODS: Final = frozenset({"GET", "POST", "DELETE"})
_TARGET = re.compile(r"/[!-~]*")
_KNOWN_TARGETS: Final = 32
_GOODBYE: Final = 1.0
"""Seconds that `aclose` waits for the loop to let go of its sockets."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one connector. Times in seconds."""

    connections: int = 256
    waiting: int = 1024
    connect_timeout: float = 10.0
    keep_idle: float = 20.0
    """Well below the 60 s that servers and balancers commonly allow."""


class LeanConnector:
    """HTTP/1.1 over TLS, or in the clear to this machine; direct, or through a CONNECT proxy."""

    def __init__(
        self,
        origin: str,
        *,
        tls: ssl.SSLContext | None = None,
        proxy: Proxy | None = None,
        limits: Limits | None = None,
    ) -> None:
        """`origin`: `https://host[:port]`, or `http://` with a loopback address. Raises `ValueError`
        for anything else, for https without `tls`, and for http with a proxy."""
        self._origin = reachable_origin(origin)
        if (self._origin.scheme == "https") != (tls is not None):
            raise ValueError("a TLS context is for https, and https needs one")
        if proxy is not None and tls is None:
            raise ValueError("this machine is not reached through a proxy")
        self._tls = tls
        self._proxy = proxy
        self._limits = limits or Limits()
        self._starts: dict[tuple[str, str], bytes] = {}
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._connecting: dict[asyncio.Task[None], Connection] = {}
        self._waiting: deque[Call] = deque()
        self._reaper: asyncio.TimerHandle | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._sweep_at = math.inf
        self._held = self._closed = False
        self._gone: asyncio.Future[None] | None = None

    def request(
        self,
        method: str,
        target: str,
        header_block: bytes,
        body: bytes,
        receiver: Receiver,
        *,
        head_timeout: float | None,
    ) -> Call:
        """See `upstream.http.Connector`."""
        if b"\r\n\r\n" in header_block or (header_block and not header_block.endswith(b"\r\n")):
            raise ValueError("the header block must be whole lines")
        start = self._starts.get((method, target)) or self._start_line(method, target)
        if body or method == "POST":
            head = b"%b%bContent-Length: %d\r\n\r\n" % (start, header_block, len(body))
        else:
            head = b"%b%b\r\n" % (start, header_block)
        call = Call(head, body, receiver)
        loop = asyncio.get_running_loop()
        if self._closed:
            loop.call_soon(call.fail, "acp-stdio is shutting down")
            return call
        now = loop.time()
        connection = self._free(now)
        call.seconds = head_timeout
        if head_timeout is not None:
            self._watch(call, now + head_timeout, loop)
        if connection is not None:
            connection.start(call)
        elif len(self._waiting) >= self._limits.waiting:
            loop.call_soon(call.fail, f"overloaded: {self._limits.waiting} requests are waiting already")
        else:
            if head_timeout is None:
                self._watch(call, now + self._limits.connect_timeout, loop)
            call.carrier = self
            self._waiting.append(call)
            self._dial_as_needed()
        return call

    def hold(self, held: bool) -> None:
        """See `upstream.http.Connector`."""
        self._held = held
        for connection in self._open:
            connection.hold(held)

    async def aclose(self) -> None:
        """See `upstream.http.Connector`. Takes a second at most."""
        self._closed = True
        for timer in (self._reaper, self._sweeper):
            if timer is not None:
                timer.cancel()
        while self._waiting:
            self._waiting.popleft().fail("acp-stdio is shutting down")
        tasks = list(self._connecting)
        for task in tasks:
            task.cancel()
        for connection in list(self._open):
            connection.shut("acp-stdio is shutting down")
        if tasks:
            await asyncio.wait(tasks, timeout=_GOODBYE)
        if self._open:
            self._gone = self._gone or asyncio.get_running_loop().create_future()
            await asyncio.wait([self._gone], timeout=_GOODBYE)

    # For connections and calls

    def release(self, connection: Connection) -> None:
        """Gives the connection to who waits longest, else keeps it."""
        if self._closed:
            connection.close()
        elif self._waiting:
            self._hand_over(connection)
        else:
            self._idle.append(connection)
            if self._reaper is None:
                loop = asyncio.get_running_loop()
                self._reaper = loop.call_later(self._limits.keep_idle, self._reap)

    def lost(self, connection: Connection) -> None:
        """Forgets a closed connection; its place goes to who waits."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if not self._open and self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
        self._dial_as_needed()

    def abandon(self, call: Call) -> None:
        """A waiting call was given up."""
        self._waiting.remove(call)

    # Steps

    def _start_line(self, method: str, target: str) -> bytes:
        if method not in _METHODS or not _TARGET.fullmatch(target):
            raise ValueError(f"not a request this program makes: {method} to a target of {len(target)} characters")
        if len(self._starts) >= _KNOWN_TARGETS:
            self._starts.clear()
        line = f"{method} {target} HTTP/1.1\r\nHost: {self._origin.authority}\r\n".encode("ascii")
        self._starts[method, target] = line
        return line

    def _free(self, now: float) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable(now):
                return connection
            connection.close()
        return None

    def _watch(self, call: Call, deadline: float, loop: asyncio.AbstractEventLoop) -> None:
        """One timer for all calls, at the earliest deadline: one each would cost a tenth of a call."""
        call.deadline = deadline
        if deadline < self._sweep_at:
            if self._sweeper is not None:
                self._sweeper.cancel()
            self._sweep_at = deadline
            self._sweeper = loop.call_at(deadline, self._sweep)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time() + 0.001  # the loop's timers may come a clock tick early
        self._sweep_at, self._sweeper = math.inf, None
        running = [connection.call for connection in self._open if connection.call is not None]
        for call in [*self._waiting, *running]:
            if call.deadline > now:
                self._watch(call, call.deadline, loop)
            elif call.seconds is not None:
                call.give_up(f"no answer within {call.seconds:g} s")
            else:
                call.give_up(f"no connection became free within {self._limits.connect_timeout:g} s")

    def _hand_over(self, connection: Connection) -> None:
        call = self._waiting.popleft()
        if call.seconds is None:
            call.deadline = math.inf
        connection.start(call)

    def _dial_as_needed(self) -> None:
        """Keeps as many attempts under way as calls wait, as far as there is room."""
        room = self._limits.connections - len(self._open) - len(self._connecting)
        for _ in range(min(len(self._waiting) - len(self._connecting), room)):
            connection = Connection(self, self._limits.keep_idle)
            task = asyncio.get_running_loop().create_task(self._dial(connection))
            self._connecting[task] = connection
            task.add_done_callback(self._dialled)

    async def _dial(self, connection: Connection) -> None:
        async with asyncio.timeout(self._limits.connect_timeout):
            await dial(connection, self._origin, self._tls, self._proxy)

    def _dialled(self, task: asyncio.Task[None]) -> None:
        connection = self._connecting.pop(task)
        if task.cancelled():
            connection.close()
            return
        error = task.exception()
        if error is None and connection.usable(0.0):
            self._open.add(connection)
            connection.hold(self._held)
            self.release(connection)
        else:
            connection.close()
            if self._waiting:
                error = error or ConnectionResetError()
                why = describe(error, self._origin, self._proxy, self._limits.connect_timeout)
                self._waiting.popleft().fail(why)
            self._dial_as_needed()

    def _reap(self) -> None:
        """Closes what has not been used for long: the server would, and we would have to guess."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        stale = [connection for connection in self._idle if not connection.usable(now)]
        for connection in stale:
            self._idle.remove(connection)
            connection.close()
        self._reaper = loop.call_later(self._limits.keep_idle, self._reap) if self._idle else None
