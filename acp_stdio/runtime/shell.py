"""One process's outside: the host's end, our own tools, the watch over both, and the end of it all."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import anyio
import anyio.abc

from acp_stdio.audit.trail import Trail
from acp_stdio.downstream.stdio import Host
from acp_stdio.relay.commands import Learn, RunHelper
from acp_stdio.relay.handshake import Agent
from acp_stdio.runtime.helper_process import HelperProcess
from acp_stdio.runtime.helper_tools import HelperTools
from acp_stdio.runtime.lane import GOODBYE, HostEnd
from acp_stdio.runtime.live import LiveFile
from acp_stdio.runtime.several_sign_ins import SeveralHelperTools
from acp_stdio.runtime.turn import Turn
from acp_stdio.wire import frames

WATCH: Final = 0.5
"""Seconds between two looks at the session and at our parent: a logout elsewhere closes streams within a second."""

OpenHost = Callable[[Callable[[list[bytes | None]], None], Callable[[str], None]], Host]


@dataclass(frozen=True, slots=True)
class Parts:
    """What a shell works with; made by `runtime.serve`."""

    trail: Trail
    helper_tools: HelperTools | SeveralHelperTools
    live: LiveFile
    turn: Turn


class Front(Protocol):
    """Who serves the host: the lane to the one upstream, or several of them (`runtime.lanes`)."""

    @property
    def agent(self) -> Agent:
        """Who the host says it is."""
        ...

    @property
    def modern(self) -> bool:
        """Which era the host speaks."""
        ...

    @property
    def strange(self) -> bool:
        """Whether the host has never seen what an upstream offers."""
        ...

    @property
    def batches(self) -> bool:
        """Whether the host speaks the one revision of MCP that has JSON-RPC batches."""
        ...

    def begin(self) -> None:
        """The event loop runs."""
        ...

    def host_sent(self, frame: frames.Frame) -> None:
        """One frame from the host."""
        ...

    def host_sent_garbage(self, problem: frames.BadFrame) -> None:
        """A line from the host that is no message."""
        ...

    def helper_finished(self, call: int, text: str, *, error: bool) -> None:
        """One of our own tools is done."""
        ...

    def look_at_session(self) -> None:
        """A login or logout of another process is to be noticed now."""
        ...

    def hold(self, held: bool) -> None:
        """Whether the host does not read: nothing is read for it then."""
        ...

    def host_left(self) -> None:
        """The host closed its end."""
        ...

    async def close(self) -> list[HelperProcess]:
        """Says goodbye and closes the connections; returns the token helpers that go on."""
        ...


class Shell:
    """One host and who serves it, until either end or a signal stops it."""

    def __init__(self, front: Callable[[HostEnd], Front], parts: Parts, open_host: OpenHost, parent: int) -> None:
        """`front`: makes who serves the host, towards which it is given an end. `parent`: who started us, a pid."""
        self._parts = parts
        self._loop = asyncio.get_running_loop()
        self._closed = asyncio.Event()
        self._why = ""
        self._parent = parent
        self._host = open_host(self._lines, self.stop)
        self._frames: list[bytes] = []
        """For the host, at the end of the turn."""
        self._front = front(self)
        self._host.on_pressure = self._front.hold
        self._helpers: dict[int, anyio.CancelScope] = {}
        self._tasks: anyio.abc.TaskGroup | None = None

    async def serve(self) -> str:
        """Serves the host until it leaves or `stop` is called; returns why."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            watching = self._loop.call_later(WATCH, self._watch)
            self._host.start()
            self._front.begin()
            self._loop.call_soon(self._parts.trail.settle)
            await self._closed.wait()
            watching.cancel()
            self._front.host_left()
            tasks.cancel_scope.cancel()
        await self._shut_down()
        return self._why

    def stop(self, why: str) -> None:
        """Ends `serve`."""
        self._why = self._why or why
        self._closed.set()

    def _lines(self, lines: list[bytes | None]) -> None:
        with self._parts.turn:
            for line in lines:
                self._line(line)

    def _line(self, line: bytes | None) -> None:
        if line is None:
            self._front.host_sent_garbage(frames.too_long())
            return
        for message in frames.messages(line, batches=self._front.batches):
            if isinstance(message, frames.BadFrame):
                self._front.host_sent_garbage(message)
            else:
                self._front.host_sent(message)

    # -- the host's end (`runtime.lane.HostEnd`) ---------------------------------------------------------

    def to_host(self, raw: bytes, /) -> None:
        """Writes one frame, with all others of this turn, when the trail has what they end."""
        self._frames.append(raw)
        if len(self._frames) == 1:
            self._parts.turn.at_end(self._write, after_all=True)

    def _write(self) -> None:
        frames, self._frames = self._frames, []
        self._host.send(b"\n".join(frames))

    def run_helper(self, command: RunHelper) -> None:
        """Starts one of our own tools."""
        if self._tasks is not None:
            self._tasks.start_soon(self._helper, command)

    def stop_helper(self, call: int) -> None:
        """Cancels it, where it runs."""
        scope = self._helpers.pop(call, None)
        if scope is not None:
            scope.cancel()

    def learned(self, command: Learn) -> None:
        """The lane remembers it; nothing else depends on it."""

    def signed_in(self) -> None:
        """The lane's mind has told the host."""

    async def _helper(self, command: RunHelper) -> None:
        with anyio.CancelScope() as scope:
            self._helpers[command.call] = scope
            try:
                text, error = await self._parts.helper_tools.run(
                    command.tool, strange=self._front.strange, modern=self._front.modern
                )
            finally:
                self._helpers.pop(command.call, None)
            self._front.helper_finished(command.call, text, error=error)

    # -- the watch, and the end ---------------------------------------------------------------------------

    def _watch(self) -> None:
        """Looks around twice a second. A host that was killed may leave our stdin open in another child."""
        if os.getppid() != self._parent:
            self.stop("the host died")
        if self._closed.is_set():
            return
        self._front.look_at_session()
        self._parts.live.name_client("/".join(self._front.agent).strip("/"))
        self._loop.call_later(WATCH, self._watch)

    async def _shut_down(self) -> None:
        self._parts.turn.finish()
        helpers = await self._front.close()
        self._host.close()
        self._parts.trail.close()
        with contextlib.suppress(RuntimeError), anyio.move_on_after(GOODBYE):
            for helper in helpers:
                await anyio.to_thread.run_sync(helper.wait, GOODBYE, abandon_on_cancel=True)
