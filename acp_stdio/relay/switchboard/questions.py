"""What servers ask the host (sampling, elicitation, roots). Several count their ids from one, so ours stand between."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from acp_stdio.relay import handshake
from acp_stdio.relay.switchboard.editing import at, in_frame, put, replaced, string
from acp_stdio.relay.switchboard.moves import ToLane
from acp_stdio.wire import frames, members
from acp_stdio.wire.frames import Frame

MAX_OPEN: Final = 512
"""Questions of one upstream. Above this it is in a loop; it is told at once."""
MAX_TASKS: Final = 4096
"""Tasks of the host that are remembered; the oldest are forgotten first."""
INTERNAL_ERROR: Final = -32603


class _Question(NamedTuple):
    lane: int
    id: bytes
    """As the server wrote it."""
    token: bytes
    """Its progress token; empty where it has none."""


class Questions:
    """The questions that are open, by the id under which the host was asked."""

    def __init__(self, upstreams: Sequence[str]) -> None:
        self._upstreams = upstreams
        self._open: dict[bytes, _Question] = {}
        self._number = 0
        self._tasks: dict[str, int] = {}
        """Whom a task of the host works for."""

    def ask(self, lane: int, frame: Frame) -> bytes | ToLane:
        """The request as the host gets it, or the answer of an overloaded host."""
        assert frame.id is not None
        if sum(question.lane == lane for question in self._open.values()) >= MAX_OPEN:
            busy = f"{MAX_OPEN} questions to the host are open already"
            return ToLane(lane, frames.error_answer(frame.id, INTERNAL_ERROR, busy))
        self._number += 1
        mark = string(f"{self._upstreams[lane]}/{self._number}")
        meta = members.members(members.members(frame.params).get("_meta"))
        self._open[bytes(mark)] = _Question(lane, frame.id, bytes(meta.get("progressToken", b"")))
        return in_frame(frame, id=put(mark), params=at("_meta", "progressToken", edit=put(mark)))

    def answer(self, frame: Frame) -> ToLane | None:
        """The host's answer, for whoever asked; None where nobody did."""
        question = self._open.pop(frames.id_key(frame.id or b"null"), None)
        if question is None:
            return None
        if b'"taskId"' in frame.raw:
            task = members.members(members.members(frame.result).get("task"))
            self._tasks[members.text(task.get("taskId"))] = question.lane
            if len(self._tasks) > MAX_TASKS:
                del self._tasks[next(iter(self._tasks))]
        return ToLane(question.lane, replaced(frame, id=question.id))

    def progressed(self, frame: Frame) -> ToLane | None:
        """The host's progress with a question, for whoever asked it."""
        token = bytes(members.members(frame.params).get("progressToken", b"null"))
        question = self._open.get(frames.id_key(token))
        if question is None or not question.token:
            return None
        return ToLane(question.lane, in_frame(frame, params=at("progressToken", edit=put(question.token))))

    def withdrawn(self, lane: int, frame: Frame) -> bytes | None:
        """A server's `notifications/cancelled` as the host gets it; None where it asked no such thing."""
        named = handshake.cancelled_id(frame.params)
        wanted = None if named is None else frames.id_key(named)
        asked = (m for m, q in self._open.items() if q.lane == lane and frames.id_key(q.id) == wanted)
        mark = next(asked, None)
        if mark is None:
            return None
        del self._open[mark]
        return in_frame(frame, params=at("requestId", edit=put(mark)))

    def whose_task(self, task: str) -> int | None:
        """The upstream that a task of the host's works for."""
        return self._tasks.get(task)
