"""Carries out what the relay decides, on one event loop, until the host or a signal ends it."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Any, Final

import anyio

from acp_stdio.audit.record import Context
from acp_stdio.audit.trail import Trail
from acp_stdio.catalogue.file import CatalogueFile
from acp_stdio.catalogue.model import Catalogue
from acp_stdio.downstream.stdio import Host
from acp_stdio.errors import Failure
from acp_stdio.identity.model import Session
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
)
from acp_stdio.relay.relay import Relay
from acp_stdio.runtime.calls import Calls
from acp_stdio.runtime.helper_tools import HelperTools
from acp_stdio.runtime.keeper import Keeper
from acp_stdio.tokens.endings import signed_out
from acp_stdio.upstream.attach import AuthorizedConnector
from acp_stdio.wire import frames
from acp_stdio.wire.ending import Ending

TICK: Final = 1.0
"""Seconds between two looks at the relay's deadlines, while it has any."""
WATCH: Final = 0.25
"""Seconds between two looks at the session file: a logout closes streams within a second (INTERFACE)."""
GOODBYE: Final = 0.3
"""Seconds that the end of the session may take; the whole shutdown has 1.5."""
SAVE_AFTER: Final = 0.2
"""Seconds between learning something and writing it down, so that a burst of lists is one write."""

log = logging.getLogger(__name__)


class Shell:
    """One host, one upstream, until `closed`."""

    def __init__(
        self,
        relay: Relay,
        host: Callable[[Callable[[bytes], None], Callable[[str], None]], Host],
        connector: AuthorizedConnector,
        target: str,
        keeper: Keeper,
        trail: Trail,
        upstream: str,
        catalogue: Catalogue,
        catalogue_file: CatalogueFile,
        helper_tools: HelperTools,
        name_client: Callable[[str], None],
    ) -> None:
        self._name_client = name_client
        self._relay = relay
        self._loop = asyncio.get_running_loop()
        self._closed = asyncio.Event()
        self._why = ""
        self._host = host(self._line, self._host_closed)
        self._connector = connector
        self._keeper = keeper
        self._trail = trail
        self._upstream = upstream
        self._catalogue = catalogue
        self._catalogue_file = catalogue_file
        self._helper_tools = helper_tools
        self._calls = Calls(connector, target, keeper, trail, self._context, lambda: relay.agent, self)
        self._device = socket.gethostname()
        self._context_of: Session | None = None
        self._shared = Context(None, self._device, upstream)
        self._generation = self._signed_in_generation(keeper.session())
        self._ticking: asyncio.TimerHandle | None = None
        self._saving: asyncio.TimerHandle | None = None
        self._helpers: dict[int, anyio.CancelScope] = {}
        self._tasks: anyio.abc.TaskGroup | None = None
        self._do: dict[type[Any], Callable[[Any], None]] = {
            ToHost: lambda c: self._host.send(c.raw),
            Post: self._calls.post,
            Settle: self._calls.settle,
            Abort: self._abort,
            OpenStream: self._calls.open_stream,
            EndSession: self._calls.end_session,
            RunHelper: self._run_helper,
            Learn: lambda _: self._save_soon(),
            Wake: self._wake_up,
        }

    async def serve(self) -> str:
        """Serves the host until it leaves or `stop` is called; returns why."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            tasks.start_soon(self._watch_session)
            self._host.start()
            self._carry_out(self._relay.reach_out(self._loop.time()))
            await self._closed.wait()
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
        self._carry_out(self._relay.host_sent(frame, self._loop.time()))

    def _host_closed(self, why: str) -> None:
        self.stop(why)

    # -- the upstream (`runtime.calls.Listener`) -----------------------------------------------------

    def opened(self, call: int, session_id: str | None) -> None:
        """See `Relay.upstream_opened`."""
        self._relay.upstream_opened(call, session_id)

    def received(self, call: int, raw: bytes) -> None:
        """See `Relay.upstream_sent`; what is no message is dropped and logged."""
        try:
            frame = frames.parse(raw)
        except frames.BadFrame as problem:
            log.warning("%s sent something that is not JSON-RPC: %s", self._upstream, problem)
            return
        self._carry_out(self._relay.upstream_sent(call, frame, self._loop.time()))

    def ended(self, call: int, ending: Ending) -> None:
        """See `Relay.upstream_ended`."""
        if ending.status is None or ending.status >= 400:
            log.info("%s: HTTP %s %s", self._upstream, ending.status, ending.why)
        self._carry_out(self._relay.upstream_ended(call, ending, self._loop.time()))

    def refused(self, call: int, failure: Failure) -> None:
        """See `Relay.refused`."""
        log.info("not sent: %s: %s", failure.reason, failure.message)
        self._carry_out(self._relay.refused(call, failure, self._loop.time()))

    # -- commands --------------------------------------------------------------------------------------

    def _carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            self._do[type(command)](command)
        if self._ticking is None and self._relay.waiting:
            self._ticking = self._loop.call_later(TICK, self._tick_on)

    def _wake_up(self, command: Wake) -> None:
        self._loop.call_later(command.seconds, self._tick)

    def _tick(self) -> None:
        self._carry_out(self._relay.tick(self._loop.time()))

    def _tick_on(self) -> None:
        self._ticking = None
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
                text, error = await self._helper_tools.run(command.tool, strange=self._relay.strange)
            finally:
                self._helpers.pop(command.call, None)
            self._look_at_session()
            self._carry_out(self._relay.helper_finished(command.call, text, error=error))

    # -- the session -------------------------------------------------------------------------------------

    async def _watch_session(self) -> None:
        while True:
            await anyio.sleep(WATCH)
            self._look_at_session()
            self._name_client("/".join(self._relay.agent).strip("/"))

    def _look_at_session(self) -> None:
        """Notices a login or logout of another process."""
        try:
            session = self._keeper.session()
        except Failure as failure:
            log.warning("%s", failure.message)
            return
        generation = self._signed_in_generation(session)
        if generation == self._generation:
            return
        before, self._generation = self._generation, generation
        now = self._loop.time()
        if before is not None:
            log.info("the sign-in ended or changed")
            if session is None or session.ended_because == "logout":
                self._catalogue.clear()  # the last account's lists are served until logout, no longer
            self._carry_out(self._relay.signed_out(signed_out(session), now))
        if generation is not None:
            log.info("signed in")
            self._carry_out(self._relay.signed_in(now))

    @staticmethod
    def _signed_in_generation(session: Session | None) -> int | None:
        return session.generation if session is not None and session.signed_in else None

    def _context(self) -> Context:
        session = self._keeper.session()
        if session is not self._context_of:
            account = session.account if session is not None and session.signed_in else None
            user = None
            if account is not None:
                user = {
                    "sub": account.sub,
                    "iss": account.issuer,
                    "label": account.label,
                    "email": account.email,
                    "tenant": account.tenant,
                }
            self._context_of, self._shared = session, Context(user, self._device, self._upstream)
        return self._shared

    # -- memory --------------------------------------------------------------------------------------------

    def _save_soon(self) -> None:
        if self._saving is None:
            self._saving = self._loop.call_later(SAVE_AFTER, self._save)

    def _save(self) -> None:
        """Remembers what the upstream answered; after a logout nothing may be remembered."""
        self._saving = None
        if self._signed_in_generation(self._keeper.session()) is not None:
            self._catalogue_file.save(self._catalogue)

    async def _shut_down(self) -> None:
        if self._saving is not None:
            self._saving.cancel()
            self._save()
        helper = self._keeper.close()
        with anyio.move_on_after(GOODBYE):
            await self._connector.aclose()
        self._host.close()
        self._trail.close()
        if helper is not None:
            with contextlib.suppress(RuntimeError):
                await anyio.to_thread.run_sync(helper.wait, 1.0, abandon_on_cancel=True)
