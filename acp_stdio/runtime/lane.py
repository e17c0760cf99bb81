"""One upstream at work: carries out what its mind decides, on the event loop of the shell."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio

from acp_stdio.audit.arguments import Arguments
from acp_stdio.audit.trail import Trail
from acp_stdio.errors import Failure
from acp_stdio.relay.answers import demand_of
from acp_stdio.relay.commands import (
    Abort,
    Command,
    EndSession,
    HandOver,
    Learn,
    OpenStream,
    Post,
    RunHelper,
    Settle,
    ToHost,
    Wake,
    Withdraw,
)
from acp_stdio.relay.handshake import Agent
from acp_stdio.relay.mind import Mind
from acp_stdio.runtime.calls import Calls
from acp_stdio.runtime.demands import Demands
from acp_stdio.runtime.gate import Gate
from acp_stdio.runtime.helper_process import HelperProcess
from acp_stdio.runtime.keeper import Keeper
from acp_stdio.runtime.memory import Memory
from acp_stdio.runtime.turn import Turn
from acp_stdio.runtime.who import Who
from acp_stdio.tokens.endings import ended_or_changed
from acp_stdio.upstream.attach import Attacher
from acp_stdio.wire import frames
from acp_stdio.wire.ending import Ending
from acp_stdio.wire.frames import Frame

if TYPE_CHECKING:
    from acp_stdio.upstream.statements import Statements

TICK: Final = 1.0
"""Seconds between two looks at the mind's deadlines, while it has any."""
RULES: Final = 0.4
"""Seconds between two looks at whether the rules have changed what may be listed; each call looks for itself."""
GOODBYE: Final = 0.25
"""Seconds that the end of the session may take, then that of the connections, then that of a token helper.

The whole shutdown has 1.5, of which `shell.WATCH` may have passed before the host's death was noticed.
"""

log = logging.getLogger(__name__)


class HostEnd(Protocol):
    """What a lane may do towards the host."""

    def to_host(self, raw: bytes, /) -> None:
        """Writes one frame."""
        ...

    def run_helper(self, command: RunHelper) -> None:
        """Runs one of our own tools, and tells its end."""
        ...

    def stop_helper(self, call: int) -> None:
        """Nobody waits for it any more; nothing happens where none runs."""
        ...

    def learned(self, command: Learn) -> None:
        """The lane's memory has something new."""
        ...

    def signed_in(self) -> None:
        """Somebody signed in for the lane's upstream; its mind knows."""
        ...


_NOT_RECORDED: Final = Arguments("none")


@dataclass(frozen=True, slots=True)
class LaneParts:
    """What a lane works with; made by `runtime.serve`."""

    upstream: str
    target: str
    """Path and query of the upstream's URL."""
    connector: Attacher
    keeper: Keeper
    trail: Trail
    """The process's own; all lanes write the same."""
    memory: Memory
    who: Who
    gate: Gate
    demands: Demands
    """The process's own, too."""
    turn: Turn
    """The process's own, too."""
    arguments: Arguments = _NOT_RECORDED
    """How the trail speaks of a call's arguments."""
    statements: "Statements | None" = None
    """Where the upstream has `assertion = true`."""


class Lane:
    """Everything of one upstream in this process: its mind, calls, token, person and memory."""

    def __init__(self, mind: Mind, parts: LaneParts, host: HostEnd) -> None:
        self.mind = mind
        self._parts = parts
        self._loop = asyncio.get_running_loop()
        self._calls = Calls(
            parts.connector,
            parts.target,
            parts.keeper,
            parts.trail,
            parts.who.context,
            lambda: self.mind.agent,
            parts.gate,
            parts.turn,
            self,
            parts.arguments,
            parts.statements,
        )
        self._host = host
        self._ticking: asyncio.TimerHandle | None = None
        self._rules_seen = 0.0
        self._do: dict[type[Any], Callable[[Any], None]] = {
            ToHost: lambda command: host.to_host(command.raw),
            Post: self._calls.post,
            Settle: self._calls.settle,
            Abort: self._abort,
            Withdraw: lambda command: self._calls.withdraw(command.call),
            OpenStream: self._calls.open_stream,
            EndSession: self._calls.end_session,
            RunHelper: host.run_helper,
            Learn: self._learned,
            HandOver: self._hand_over,
            Wake: self._wake_up,
        }

    # -- the host (`runtime.shell.Front`) ----------------------------------------------------------

    @property
    def agent(self) -> Agent:
        """See `Mind.agent`."""
        return self.mind.agent

    @property
    def modern(self) -> bool:
        """See `Mind.modern`."""
        return self.mind.modern

    @property
    def strange(self) -> bool:
        """See `Mind.strange`."""
        return self.mind.strange

    @property
    def batches(self) -> bool:
        """See `Mind.batches`."""
        return self.mind.batches

    def begin(self) -> None:
        """See `Relay.reach_out`."""
        self._carry_out(self.mind.reach_out(self._loop.time()))

    def host_sent(self, frame: Frame) -> None:
        """See `Relay.host_sent`."""
        self.look_at_session()  # another person may have signed in: the mind must know before this frame
        self._carry_out(self.mind.host_sent(frame, self._loop.time()))

    def host_sent_garbage(self, problem: frames.BadFrame) -> None:
        """See `Relay.host_sent_garbage`."""
        self._carry_out(self.mind.host_sent_garbage(problem))

    def helper_finished(self, call: int, text: str, *, error: bool) -> None:
        """See `Relay.helper_finished`."""
        self.look_at_session()
        self._carry_out(self.mind.helper_finished(call, text, error=error))

    def hold(self, held: bool) -> None:
        """While the host does not read, nothing is read for it."""
        self._parts.connector.hold(held)

    def host_left(self) -> None:
        """See `Relay.host_left`."""
        self._carry_out(self.mind.host_left())

    # -- the upstream (`runtime.calls.Listener`) -----------------------------------------------------

    def opened(self, call: int, session_id: str | None) -> None:
        """See `Relay.upstream_opened`."""
        self.mind.upstream_opened(call, session_id)

    def received(self, call: int, raw: bytes) -> None:
        """See `Relay.upstream_sent`; what is no message is dropped and logged."""
        for message in frames.messages(raw, batches=self.mind.batches):
            if isinstance(message, frames.BadFrame):
                log.warning("%s sent something that is not JSON-RPC: %s", self._parts.upstream, message)
                continue
            self._carry_out(self.mind.upstream_sent(call, message, self._loop.time()))

    def ended(self, call: int, ending: Ending) -> None:
        """See `Relay.upstream_ended`."""
        if ending.status is None or ending.status >= 400:
            log.info("%s: HTTP %s %s", self._parts.upstream, ending.status, ending.why)
            if (wanted := demand_of(ending)) is not None:
                self._parts.demands.note(self._parts.upstream, wanted, self._parts.who.session())
        else:
            self._parts.demands.worked(self._parts.upstream)
        self._carry_out(self.mind.upstream_ended(call, ending, self._loop.time()))

    def refused(self, call: int, failure: Failure, *, turned_away: bool) -> None:
        """See `Relay.refused`."""
        log.info("not sent%s: %s: %s", " again" if turned_away else "", failure.reason, failure.message)
        if failure.reason == "login_required":
            self._parts.memory.forget_if(self._parts.who.logged_out())
        self._carry_out(self.mind.refused(call, failure, self._loop.time(), turned_away=turned_away))

    # -- commands --------------------------------------------------------------------------------------

    def _carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            self._do[type(command)](command)
        if self._ticking is None:
            self._ticking = self._loop.call_later(TICK, self._tick_on)

    def _learned(self, command: Learn) -> None:
        self._parts.memory.learned()
        self._host.learned(command)

    def _hand_over(self, command: HandOver) -> None:
        self.mind = command.mind

    def _wake_up(self, command: Wake) -> None:
        self._loop.call_later(command.seconds, self._tick)

    def _tick(self) -> None:
        self._carry_out(self.mind.tick(self._loop.time(), self._calls.has_left))

    def _tick_on(self) -> None:
        """Goes on while the mind has deadlines: an idle process does not wake for them."""
        self._ticking = self._loop.call_later(TICK, self._tick_on) if self.mind.waiting else None
        self._tick()

    def _abort(self, command: Abort) -> None:
        self._host.stop_helper(command.call)
        self._calls.abort(command.call)

    # -- the session -------------------------------------------------------------------------------------

    def look_at_session(self) -> None:
        """Notices a login or logout of another process, and now and then a change of the rules."""
        if self._loop.time() - self._rules_seen >= RULES:
            self._look_at_rules()
        who = self._parts.who
        try:
            session = who.session()
        except Failure as failure:
            log.warning("%s", failure.message)
            return
        generation = who.signed_in_by(session)
        if generation == who.generation:
            return
        before, who.generation = who.generation, generation
        self._parts.gate.use(None)
        now = self._loop.time()
        if before is not None:
            log.info("%s: the sign-in ended or changed", self._parts.upstream)
            if generation is None:
                self._parts.keeper.let_go(session)
            self._parts.memory.forget_if(who.logged_out())
            self._carry_out(self.mind.signed_out(ended_or_changed(session), now, self._calls.has_left))
        if generation is not None:
            log.info("%s: signed in", self._parts.upstream)
            self._carry_out(self.mind.signed_in(now))
            self._host.signed_in()

    def _look_at_rules(self) -> None:
        """Has the host read its tools again where others may be shown; in the modern era it asks when it likes."""
        self._rules_seen = self._loop.time()
        if self._parts.gate.changed() and self.mind.agent.name and not self.mind.modern:
            self._carry_out([ToHost(frames.notification("notifications/tools/list_changed"))])

    async def close(self) -> list[HelperProcess]:
        """Says goodbye and closes the connections, within `GOODBYE` each; returns a token helper that goes on."""
        self._parts.memory.flush()
        helper = self._parts.keeper.close()
        with anyio.move_on_after(GOODBYE):
            await self._calls.parted()
        with anyio.move_on_after(GOODBYE):
            await self._parts.connector.aclose()
        return [] if helper is None else [helper]
