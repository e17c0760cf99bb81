"""Several upstreams behind one host: carries out what the switchboard decides, with a lane for each."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from acp_stdio.catalogue.file import CatalogueFile
from acp_stdio.catalogue.model import Catalogue, is_handshake
from acp_stdio.relay.commands import Abort, Learn, RunHelper, ToHost, Wake
from acp_stdio.relay.handshake import Agent
from acp_stdio.relay.mind import Mind
from acp_stdio.relay.switchboard.moves import Move, ToLane
from acp_stdio.relay.switchboard.switchboard import Switchboard
from acp_stdio.runtime.helper_process import HelperProcess
from acp_stdio.runtime.lane import HostEnd, Lane, LaneParts
from acp_stdio.wire import frames
from acp_stdio.wire.frames import Frame

log = logging.getLogger(__name__)


LaneMaking = tuple[Mind, LaneParts, Catalogue]
"""What one lane is made of, and what its mind remembers and goes on learning."""


def switched(
    upstreams: Sequence[str],
    lanes: Sequence[LaneMaking],
    together: CatalogueFile,
    greeted: Frame | None,
    host: HostEnd,
    *,
    helpers: bool,
    notice: Callable[[], str],
    jitter: Callable[[], float],
) -> "Lanes":
    """The lanes with a switchboard. `greeted`: the host's first frame, where it was answered from memory;
    `notice`: what people should know about the tools; `jitter`: random, from 0 to 1."""
    catalogues = [catalogue for _, _, catalogue in lanes]
    switchboard = Switchboard(upstreams, catalogues, helpers=helpers, notice=notice, jitter=jitter)
    if greeted is not None:
        switchboard.handshake_was_answered(greeted)
    return Lanes(switchboard, lanes, together, host)


class Lanes:
    """The lanes of one process, and the switchboard between them and the host (`runtime.shell.Front`)."""

    def __init__(
        self, switchboard: Switchboard, lanes: Sequence[LaneMaking], together: CatalogueFile, host: HostEnd
    ) -> None:
        """`together`: where the handshakes of all together are remembered, for the next start's first word."""
        self._switchboard = switchboard
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._lanes = [Lane(mind, parts, _LaneEnd(self, number)) for number, (mind, parts, _) in enumerate(lanes)]
        self._people = [parts.who for _, parts, _ in lanes]
        self._handshakes = [{k: v for k, v in known.items() if is_handshake(k)} for _, _, known in lanes]
        self._together = together
        self._moves: deque[Move] = deque()
        self._moving = False
        self._do: dict[type[Any], Callable[[Any], None]] = {
            ToLane: self._to_lane,
            ToHost: lambda move: host.to_host(move.raw),
            RunHelper: host.run_helper,
            Abort: lambda move: host.stop_helper(move.call),
            Learn: self._remember,
            Wake: self._wake_up,
        }

    # -- the host ---------------------------------------------------------------------------------

    @property
    def agent(self) -> Agent:
        """See `Switchboard.agent`."""
        return self._switchboard.agent

    @property
    def modern(self) -> bool:
        """See `Switchboard.modern`."""
        return self._switchboard.modern

    @property
    def strange(self) -> bool:
        """Whether the host has never seen what one of the upstreams offers."""
        return any(lane.strange for lane in self._lanes)

    @property
    def batches(self) -> bool:
        """Whether everybody speaks the one revision of MCP that has JSON-RPC batches."""
        return all(lane.batches for lane in self._lanes)

    def begin(self) -> None:
        """Each lane opens what is to be opened."""
        for lane in self._lanes:
            lane.begin()

    def host_sent(self, frame: Frame) -> None:
        """See `Switchboard.host_sent`."""
        self._carry_out(self._switchboard.host_sent(frame, self._loop.time()))

    def host_sent_garbage(self, problem: frames.BadFrame) -> None:
        """See `Switchboard.host_sent_garbage`."""
        self._carry_out(self._switchboard.host_sent_garbage(problem))

    def helper_finished(self, call: int, text: str, *, error: bool) -> None:
        """See `Switchboard.helper_finished`."""
        self.look_at_session()
        self._carry_out(self._switchboard.helper_finished(call, text, error=error))

    def look_at_session(self) -> None:
        """Each lane notices a login or logout for its upstream."""
        for lane in self._lanes:
            lane.look_at_session()

    def hold(self, held: bool) -> None:
        """See `Lane.hold`."""
        for lane in self._lanes:
            lane.hold(held)

    def host_left(self) -> None:
        """Each lane cancels what is in flight."""
        for lane in self._lanes:
            lane.host_left()

    async def close(self) -> list[HelperProcess]:
        """Closes all lanes at the same time, so that it takes no longer than one."""
        helpers: list[HelperProcess] = []

        async def close(lane: Lane) -> None:
            helpers.extend(await lane.close())

        async with anyio.create_task_group() as tasks:
            for lane in self._lanes:
                tasks.start_soon(close, lane)
        return helpers

    # -- the lanes (through `_LaneEnd`) ---------------------------------------------------------------

    def lane_sent(self, lane: int, raw: bytes) -> None:
        """See `Switchboard.lane_sent`."""
        if (frame := _read(raw)) is not None:
            self._carry_out(self._switchboard.lane_sent(lane, frame, self._loop.time()))

    def lane_came(self, lane: int) -> None:
        """See `Switchboard.lane_came`."""
        self._carry_out(self._switchboard.lane_came(lane, self._loop.time()))

    def lane_learned(self, lane: int, command: Learn) -> None:
        """A handshake other than the remembered one outdates what is remembered of all together."""
        known = self._handshakes[lane]
        if is_handshake(command.key) and known.get(command.key) != command.result:
            known[command.key] = command.result
            self._together.forget()

    # -- moves ------------------------------------------------------------------------------------------

    def _carry_out(self, moves: list[Move]) -> None:
        """In order, also where one move leads to others: a lane may answer while it is being asked."""
        self._moves.extend(moves)
        if self._moving:
            return
        self._moving = True
        try:
            while self._moves:
                move = self._moves.popleft()
                self._do[type(move)](move)
        finally:
            self._moving = False

    def _to_lane(self, move: ToLane) -> None:
        if (frame := _read(move.raw)) is not None:
            self._lanes[move.lane].host_sent(frame)

    def _remember(self, learn: Learn) -> None:
        if any(who.is_signed_in() for who in self._people):
            self._together.save({learn.key: learn.result})

    def _wake_up(self, move: Wake) -> None:
        self._loop.call_later(move.seconds, self._tick)

    def _tick(self) -> None:
        self._carry_out(self._switchboard.tick(self._loop.time()))


def _read(raw: bytes) -> Frame | None:
    """A message of ours. Of two oddities each can be read (no UTF-8, half of an emoji), both together cannot."""
    try:
        return frames.parse(raw)
    except frames.BadFrame as problem:
        log.warning("dropped a message: %s", problem)
        return None


@dataclass(frozen=True, slots=True)
class _LaneEnd:
    """The host as one lane sees it (`runtime.lane.HostEnd`): the switchboard."""

    lanes: Lanes
    number: int

    def to_host(self, raw: bytes, /) -> None:
        self.lanes.lane_sent(self.number, raw)

    def run_helper(self, command: RunHelper) -> None:
        raise AssertionError(f"{command.tool} is the switchboard's")

    def stop_helper(self, call: int) -> None:
        """The switchboard runs them."""

    def learned(self, command: Learn) -> None:
        self.lanes.lane_learned(self.number, command)

    def signed_in(self) -> None:
        self.lanes.lane_came(self.number)
