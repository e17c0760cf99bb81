"""One process's outside: the host's end, our own tools, the watch over both, and the end of it all."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import anyio
import anyio.abc

from acp_stdio.audit.trail import Trail
from acp_stdio.downstream.stdio import Host
from acp_stdio.relay.commands import RunHelper
from acp_stdio.relay.mind import Mind
from acp_stdio.runtime.helper_tools import HelperTools
from acp_stdio.runtime.lane import GOODBYE, Lane, LaneParts
from acp_stdio.runtime.live import LiveFile
from acp_stdio.wire import frames

WATCH: Final = 0.5
"""Seconds between two looks at the session and at our parent: a logout elsewhere closes streams within a second."""

OpenHost = Callable[[Callable[[bytes | None], None], Callable[[str], None]], Host]


@dataclass(frozen=True, slots=True)
class Parts:
    """What a shell works with; made by `runtime.serve`."""

    trail: Trail
    helper_tools: HelperTools
    live: LiveFile


class Shell:
    """One host and the lane to its upstream, until either end or a signal stops it."""

    def __init__(self, mind: Mind, lane: LaneParts, parts: Parts, open_host: OpenHost, parent: int) -> None:
        """`parent`: the process id of who started us."""
        self._parts = parts
        self._loop = asyncio.get_running_loop()
        self._closed = asyncio.Event()
        self._why = ""
        self._parent = parent
        self._host = open_host(self._line, self.stop)
        self.to_host = self._host.send
        self._lane = Lane(mind, lane, self)
        self._helpers: dict[int, anyio.CancelScope] = {}
        self._tasks: anyio.abc.TaskGroup | None = None

    async def serve(self) -> str:
        """Serves the host until it leaves or `stop` is called; returns why."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            watching = self._loop.call_later(WATCH, self._watch)
            self._host.start()
            self._lane.begin()
            self._loop.call_soon(self._parts.trail.settle)
            await self._closed.wait()
            watching.cancel()
            self._lane.host_left()
            tasks.cancel_scope.cancel()
        await self._shut_down()
        return self._why

    def stop(self, why: str) -> None:
        """Ends `serve`."""
        self._why = self._why or why
        self._closed.set()

    def _line(self, line: bytes | None) -> None:
        if line is None:
            self._lane.host_sent_garbage(frames.too_long())
            return
        for message in frames.messages(line, batches=self._lane.mind.batches):
            if isinstance(message, frames.BadFrame):
                self._lane.host_sent_garbage(message)
            else:
                self._lane.host_sent(message)

    # -- our own tools (`runtime.lane.HostEnd`) ----------------------------------------------------------

    def run_helper(self, command: RunHelper) -> None:
        """Starts one of our own tools."""
        if self._tasks is not None:
            self._tasks.start_soon(self._helper, command)

    def stop_helper(self, call: int) -> None:
        """Cancels it, where it runs."""
        scope = self._helpers.pop(call, None)
        if scope is not None:
            scope.cancel()

    async def _helper(self, command: RunHelper) -> None:
        mind = self._lane.mind
        with anyio.CancelScope() as scope:
            self._helpers[command.call] = scope
            try:
                text, error = await self._parts.helper_tools.run(command.tool, strange=mind.strange, modern=mind.modern)
            finally:
                self._helpers.pop(command.call, None)
            self._lane.helper_finished(command.call, text, error=error)

    # -- the watch, and the end ---------------------------------------------------------------------------

    def _watch(self) -> None:
        """Looks around twice a second. A host that was killed may leave our stdin open in another child."""
        if os.getppid() != self._parent:
            self.stop("the host died")
        if self._closed.is_set():
            return
        self._lane.look_at_session()
        self._parts.live.name_client("/".join(self._lane.mind.agent).strip("/"))
        self._loop.call_later(WATCH, self._watch)

    async def _shut_down(self) -> None:
        helper = await self._lane.close()
        self._host.close()
        self._parts.trail.close()
        if helper is not None:
            with contextlib.suppress(RuntimeError):
                await anyio.to_thread.run_sync(helper.wait, GOODBYE, abandon_on_cancel=True)
