"""A server that we start ourselves and talk to over its stdin and stdout (MCP, transports: stdio), as exchanges.

The modern era needs no session: the child starts with the first message, and closing an exchange tells it
`notifications/cancelled`. In the legacy era a child that exited took its session along; see `upstream.channel`.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from acp_stdio.upstream.channel import SESSION, Channel, Reply, header_of
from acp_stdio.upstream.child_process import GRACE, HURRY, ChildProcess
from acp_stdio.upstream.http import Receiver
from acp_stdio.wire import frames, methods
from acp_stdio.wire.backoff import delay

log = logging.getLogger(__name__)

STEADY: Final = 60.0
"""Seconds after which a child that exits has not been crashing."""
DISCOVER_WAIT: Final = 10.0
"""Seconds of silence after which `server/discover` counts as refused: a server of the legacy era may drop what it
does not know (MCP 2026-07-28, stdio: backward compatibility)."""

_REFUSED: Final = 405
_GONE: Final = "the child server exited"


class _Life:
    """One process, and who waits for it."""

    def __init__(self, owner: "ChildConnector", name: str, *, quiet: bool) -> None:
        self.channel = Channel()
        self.process = ChildProcess(name, self.channel.receive, lambda why: owner.gone(self, why), quiet=quiet)
        self.ready = False
        self.waiting: list[tuple[Reply, bytes]] = []
        """Messages for a child that is being started."""
        self.began = 0.0
        self.start: asyncio.TimerHandle | asyncio.Task[None] | None = None


class ChildConnector:
    """One child server at a time (`upstream.http.Connector`)."""

    def __init__(
        self,
        name: str,
        command: str,
        arguments: tuple[str, ...],
        environ: dict[str, str],
        *,
        jitter: Callable[[], float],
        quiet: bool = False,
    ) -> None:
        """`environ`: all of the child's environment. `jitter`: from 0 to 1, for the wait after a crash."""
        self._name, self._command, self._arguments, self._environ = name, command, arguments, environ
        self._jitter, self._quiet = jitter, quiet
        self._life: _Life | None = None
        self._leaving: set[_Life] = set()
        self._crashes = 0
        self._held = self._closed = False

    def request(
        self,
        method: str,
        target: str,
        header_block: bytes,
        body: bytes,
        receiver: Receiver,
        *,
        head_timeout: float | None,
    ) -> Reply:
        """See `upstream.http.Connector`."""
        if method == "DELETE":
            return self._said_goodbye(Reply(receiver))
        session = header_of(header_block, SESSION)
        life = self._life
        if session and (life is None or life.channel.session != session):
            return Reply(receiver).soon(404)
        loop = asyncio.get_running_loop()
        if method == "GET":
            reply = Reply(receiver)
            if life is None:
                return reply.soon(404)
            loop.call_soon(life.channel.listen, reply)
            return reply
        frame = frames.parse(body)
        reply = _Sent(receiver, frame, self, modern=bool(header_of(header_block, "mcp-method")))
        if self._closed:
            loop.call_soon(reply.fail, "acp-stdio is shutting down")
            return reply
        if frame.method == methods.INITIALIZE and life is not None and life.channel.greeted:
            self._leave(GRACE)
        life = self._life or self._begin()
        if life.ready:
            self._write(life, reply, body)
        else:
            life.waiting.append((reply, body))
        return reply

    def hold(self, held: bool) -> None:
        """See `upstream.http.Connector`."""
        self._held = held
        if self._life is not None:
            self._life.process.hold(held)

    async def aclose(self) -> None:
        """Ends the child and what it started, within half a second."""
        self._closed = True
        self._leave(HURRY)
        lives = list(self._leaving)
        for life in lives:
            life.process.end(HURRY)
        try:
            if lives:
                await asyncio.wait([life.process.gone for life in lives], timeout=4 * HURRY)
        finally:
            for life in lives:
                if not life.process.gone.done():
                    life.process.kill()

    def gone(self, life: _Life, why: str) -> None:
        """The process has exited, and its last line is read."""
        self._leaving.discard(life)
        if life is self._life:
            self._life = None
            lasted = asyncio.get_running_loop().time() - life.began
            self._crashes = 0 if lasted >= STEADY else self._crashes + 1
            log.warning("%s: %s", self._name, why)
        life.channel.close(f"{_GONE}: {why}")

    def cancelled(self, reply: Reply) -> None:
        """Nobody waits for a request of the modern era any more: the child is told (MCP 2026-07-28, cancellation)."""
        life, frame = self._life, reply.frame
        if life is None or frame is None or frame.id is None:
            return
        life.waiting = [(each, body) for each, body in life.waiting if each is not reply]
        if reply.sent:
            notice = b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%b}}'
            life.process.write(notice % frame.id)

    # -- the process ------------------------------------------------------------------------------

    def _begin(self) -> _Life:
        """Starts a child: at once, or after a wait where the last ones crashed."""
        loop = asyncio.get_running_loop()
        life = self._life = _Life(self, self._name, quiet=self._quiet)
        wait = delay(self._crashes - 1, self._jitter()) if self._crashes else 0.0
        life.start = loop.call_later(wait, self._start, life)
        return life

    def _start(self, life: _Life) -> None:
        life.began = asyncio.get_running_loop().time()
        start = life.process.start(self._command, self._arguments, self._environ)
        life.start = asyncio.get_running_loop().create_task(start)
        life.start.add_done_callback(lambda task: self._started(life, task))

    def _started(self, life: _Life, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, OSError | ValueError):
            if life is self._life:
                self._life = None
            self._leaving.discard(life)
            self._crashes += 1
            reason = getattr(error, "strerror", None) or "its command line is not one"
            for reply, _ in life.waiting:
                reply.fail(f"its command {self._command} could not be started: {reason}")
            return
        if error is not None:
            raise error
        life.ready = True
        life.process.hold(self._held)
        if life is not self._life:
            life.process.end(HURRY if self._closed else GRACE)
        for reply, body in life.waiting:
            self._write(life, reply, body)
        life.waiting = []

    def _write(self, life: _Life, reply: Reply, body: bytes) -> None:
        if reply.over:
            return
        loop = asyncio.get_running_loop()
        if not life.channel.expect(reply):
            loop.call_soon(reply.fail, "another request with this id is still on its way")
            return
        if not life.process.write(body):
            loop.call_soon(reply.fail, "the child server does not read")
            return
        reply.left = True
        if reply.frame is not None and reply.frame.method == methods.DISCOVER:
            loop.call_later(DISCOVER_WAIT, reply.end, _REFUSED)
        if reply.frame is not None and not reply.frame.is_request:
            loop.call_soon(reply.end, 202)

    def _said_goodbye(self, reply: Reply) -> Reply:
        """Ends the child; the answer comes once it is gone, so that our own end can wait for it a little."""
        life = self._life
        self._leave(GRACE)
        if life is None or life not in self._leaving:
            return reply.soon(200)
        life.process.gone.add_done_callback(lambda _: reply.end(200))
        return reply

    def _leave(self, patience: float) -> None:
        """Ends the child at hand; whoever waits for it hears so at once."""
        life, self._life = self._life, None
        if life is None:
            return
        for reply, _ in life.waiting:
            reply.fail("the session was ended")
        life.waiting = []
        life.channel.close("the session was ended")
        if isinstance(life.start, asyncio.TimerHandle):
            life.start.cancel()  # it waited after a crash, and has no process yet
            return
        self._leaving.add(life)
        if life.ready:
            life.process.end(patience)


class _Sent(Reply):
    """A message to a child. What the modern era cancels by closing is told; the legacy era tells it by itself."""

    def __init__(self, receiver: Receiver, frame: frames.Frame, owner: ChildConnector, *, modern: bool) -> None:
        super().__init__(receiver, frame)
        self._owner, self._modern = owner, modern

    def abort(self) -> None:
        """See `upstream.http.Exchange`."""
        if not self.over and self._modern:
            self._owner.cancelled(self)
        super().abort()
