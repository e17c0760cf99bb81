"""Carries out what the relay decides, on one event loop, until the host or a signal ends it."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import anyio
import anyio.abc

from acp_stdio.audit.trail import Trail
from acp_stdio.downstream.stdio import Host
from acp_stdio.errors import Failure
from acp_stdio.relay.commands import (
    Abort,
    Command,
    EndSession,
    Learn,
    OpenStream,
    Post,
    RunHelper,
    Settle,
    ToHost,
    Wake,
    Withdraw,
)
from acp_stdio.relay.relay import Relay
from acp_stdio.runtime.calls import Calls
from acp_stdio.runtime.helper_tools import HelperTools
from acp_stdio.runtime.keeper import Keeper
from acp_stdio.runtime.live import LiveFile
from acp_stdio.runtime.memory import Memory
from acp_stdio.runtime.who import Who
from acp_stdio.tokens.endings import ended_or_changed
from acp_stdio.upstream.attach import AuthorizedConnector
from acp_stdio.wire import frames
from acp_stdio.wire.ending import Ending

TICK: Final = 1.0
"""Seconds between two looks at the relay's deadlines, while it has any."""
WATCH: Final = 0.5
"""Seconds between two looks at the session and at our parent: a logout elsewhere closes streams within a second."""
GOODBYE: Final = 0.25
"""Seconds that the end of the session may take, then that of the connections, then that of a token helper.

The whole shutdown has 1.5, of which `WATCH` may have passed before the host's death was noticed.
"""

log = logging.getLogger(__name__)

OpenHost = Callable[[Callable[[bytes], None], Callable[[str], None]], Host]


@dataclass(frozen=True, slots=True)
class Parts:
    """What a shell works with; made by `runtime.serve`."""

    upstream: str
    target: str
    """Path and query of the upstream's URL."""
    connector: AuthorizedConnector
    keeper: Keeper
    trail: Trail
    memory: Memory
    who: Who
    helper_tools: HelperTools
    live: LiveFile


class Shell:
    """One host, one upstream, until either end or a signal stops it."""

    def __init__(self, relay: Relay, parts: Parts, open_host: OpenHost, parent: int) -> None:
        """`parent`: the process id of who started us."""
        self._relay = relay
        self._parts = parts
        self._loop = asyncio.get_running_loop()
        self._closed = asyncio.Event()
        self._why = ""
        self._parent = parent
        self._host = open_host(self._line, self.stop)
        self._calls = Calls(
            parts.connector, parts.target, parts.keeper, parts.trail, parts.who.context, lambda: relay.agent, self
        )
        self._ticking: asyncio.TimerHandle | None = None
        self._helpers: dict[int, anyio.CancelScope] = {}
        self._tasks: anyio.abc.TaskGroup | None = None
        self._do: dict[type[Any], Callable[[Any], None]] = {
            ToHost: lambda command: self._host.send(command.raw),
            Post: self._calls.post,
            Settle: self._calls.settle,
            Abort: self._abort,
            Withdraw: lambda command: self._calls.withdraw(command.call),
            OpenStream: self._calls.open_stream,
            EndSession: self._calls.end_session,
            RunHelper: self._run_helper,
            Learn: lambda _: parts.memory.learned(),
            Wake: self._wake_up,
        }

    async def serve(self) -> str:
        """Serves the host until it leaves or `stop` is called; returns why."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            watching = self._loop.call_later(WATCH, self._watch)
            self._host.start()
            self._carry_out(self._relay.reach_out(self._loop.time()))
            await self._closed.wait()
            watching.cancel()
            self._carry_out(self._relay.host_left())
            tasks.cancel_scope.cancel()
        await self._shut_down()
        return self._why

    def stop(self, why: str) -> None:
        """Ends `serve`."""
        self._why = self._why or why
        self._closed.set()

    # -- the host ---------------------------------------------------------------------------------

    def _line(self, line: bytes) -> None:
        try:
            frame = frames.parse(line)
        except frames.BadFrame as problem:
            self._carry_out(self._relay.host_sent_garbage(problem))
            return
        self._look_at_session()  # another person may have signed in: the relay must know before this frame
        self._carry_out(self._relay.host_sent(frame, self._loop.time()))

    # -- the upstream (`runtime.calls.Listener`) -----------------------------------------------------

    def opened(self, call: int, session_id: str | None) -> None:
        """See `Relay.upstream_opened`."""
        self._relay.upstream_opened(call, session_id)

    def received(self, call: int, raw: bytes) -> None:
        """See `Relay.upstream_sent`; what is no message is dropped and logged."""
        try:
            frame = frames.parse(raw)
        except frames.BadFrame as problem:
            log.warning("%s sent something that is not JSON-RPC: %s", self._parts.upstream, problem)
            return
        self._carry_out(self._relay.upstream_sent(call, frame, self._loop.time()))

    def ended(self, call: int, ending: Ending) -> None:
        """See `Relay.upstream_ended`."""
        if ending.status is None or ending.status >= 400:
            log.info("%s: HTTP %s %s", self._parts.upstream, ending.status, ending.why)
        self._carry_out(self._relay.upstream_ended(call, ending, self._loop.time()))

    def refused(self, call: int, failure: Failure) -> None:
        """See `Relay.refused`."""
        log.info("not sent: %s: %s", failure.reason, failure.message)
        if failure.reason == "login_required":
            self._parts.memory.forget_if(self._parts.who.logged_out())
        self._carry_out(self._relay.refused(call, failure, self._loop.time()))

    # -- commands --------------------------------------------------------------------------------------

    def _carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            self._do[type(command)](command)
        if self._ticking is None:
            self._ticking = self._loop.call_later(TICK, self._tick_on)

    def _wake_up(self, command: Wake) -> None:
        self._loop.call_later(command.seconds, self._tick)

    def _tick(self) -> None:
        self._carry_out(self._relay.tick(self._loop.time(), self._calls.has_left))

    def _tick_on(self) -> None:
        """Goes on while the relay has deadlines: an idle process does not wake for them."""
        self._ticking = self._loop.call_later(TICK, self._tick_on) if self._relay.waiting else None
        self._tick()

    def _abort(self, command: Abort) -> None:
        scope = self._helpers.pop(command.call, None)
        if scope is not None:
            scope.cancel()
        self._calls.abort(command.call)

    def _run_helper(self, command: RunHelper) -> None:
        if self._tasks is not None:
            self._tasks.start_soon(self._helper, command)

    async def _helper(self, command: RunHelper) -> None:
        with anyio.CancelScope() as scope:
            self._helpers[command.call] = scope
            try:
                text, error = await self._parts.helper_tools.run(
                    command.tool, strange=self._relay.strange, modern=self._relay.modern
                )
            finally:
                self._helpers.pop(command.call, None)
            self._look_at_session()
            self._carry_out(self._relay.helper_finished(command.call, text, error=error))

    # -- the session -------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Looks around twice a second. A host that was killed may leave our stdin open in another child."""
        if os.getppid() != self._parent:
            self.stop("the host died")
        if self._closed.is_set():
            return
        self._look_at_session()
        self._parts.live.name_client("/".join(self._relay.agent).strip("/"))
        self._loop.call_later(WATCH, self._watch)

    def _look_at_session(self) -> None:
        """Notices a login or logout of another process."""
        who = self._parts.who
        try:
            session, generation = who.session(), who.now_signed_in()
        except Failure as failure:
            log.warning("%s", failure.message)
            return
        if generation == who.generation:
            return
        before, who.generation = who.generation, generation
        now = self._loop.time()
        if before is not None:
            log.info("the sign-in ended or changed")
            self._parts.memory.forget_if(who.logged_out())
            self._carry_out(self._relay.signed_out(ended_or_changed(session), now, self._calls.has_left))
        if generation is not None:
            log.info("signed in")
            self._carry_out(self._relay.signed_in(now))

    async def _shut_down(self) -> None:
        self._parts.memory.flush()
        helper = self._parts.keeper.close()
        with anyio.move_on_after(GOODBYE):
            await self._calls.parted()
        with anyio.move_on_after(GOODBYE):
            await self._parts.connector.aclose()
        self._host.close()
        self._parts.trail.close()
        if helper is not None:
            with contextlib.suppress(RuntimeError):
                await anyio.to_thread.run_sync(helper.wait, GOODBYE, abandon_on_cancel=True)
