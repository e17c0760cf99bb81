"""What a lane needs of whoever decides: the events that `Relay` takes, and whatever wraps one."""

from collections.abc import Callable
from typing import Protocol

from acp_stdio.errors import Failure
from acp_stdio.relay.commands import Command
from acp_stdio.relay.handshake import Agent
from acp_stdio.wire import frames
from acp_stdio.wire.ending import Ending
from acp_stdio.wire.frames import Frame


class Mind(Protocol):
    """Events in, commands out, between one host and one upstream. See `relay.relay.Relay` for each event."""

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
        """Whether the host has never seen what the upstream offers."""
        ...

    @property
    def batches(self) -> bool:
        """Whether both ends speak the one revision of MCP that has JSON-RPC batches."""
        ...

    @property
    def waiting(self) -> bool:
        """Whether `tick` has anything to look at."""
        ...

    def handshake_was_answered(self, frame: Frame) -> None:
        """The host's first frame was answered before this was made."""
        ...

    def reach_out(self, now: float) -> list[Command]:
        """The event loop runs: what is to be opened behind an answered handshake is opened."""
        ...

    def host_sent(self, frame: Frame, now: float) -> list[Command]:
        """One frame from the host."""
        ...

    def host_sent_garbage(self, problem: frames.BadFrame) -> list[Command]:
        """A line from the host that is no message."""
        ...

    def upstream_opened(self, call: int, session_id: str | None) -> None:
        """A successful head came on this call's exchange."""
        ...

    def upstream_sent(self, call: int, frame: Frame, now: float) -> list[Command]:
        """One frame that came on this call's exchange."""
        ...

    def upstream_ended(self, call: int, ending: Ending, now: float) -> list[Command]:
        """This call's exchange is over."""
        ...

    def refused(self, call: int, failure: Failure, now: float, *, turned_away: bool = False) -> list[Command]:
        """The call did not leave, or not once more after the server had `turned_away` its token."""
        ...

    def tick(self, now: float, left: Callable[[int], bool] = ...) -> list[Command]:
        """Time has passed. `left`: whether a posted call may have reached the server."""
        ...

    def signed_in(self, now: float) -> list[Command]:
        """Somebody signed in."""
        ...

    def signed_out(self, failure: Failure, now: float, left: Callable[[int], bool] = ...) -> list[Command]:
        """The sign-in ended."""
        ...

    def host_left(self) -> list[Command]:
        """The host closed its end."""
        ...

    def helper_finished(self, call: int, text: str, *, error: bool = False) -> list[Command]:
        """One of our own tools is done."""
        ...
