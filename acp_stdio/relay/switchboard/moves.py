"""What the switchboard wants done: a relay's commands towards the host, and frames for the lanes."""

from typing import NamedTuple

from acp_stdio.relay.commands import Abort, Learn, RunHelper, ToHost, Wake


class ToLane(NamedTuple):
    """Give this lane one frame, as if it were the host's."""

    lane: int
    raw: bytes


Move = ToLane | ToHost | RunHelper | Abort | Learn | Wake
