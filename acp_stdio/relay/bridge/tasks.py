"""Tasks of a modern server, waited for in the name of a host that knows none.

The extension allows a client to poll and to give out the final result (SEP-2663; ext-tasks, specification/draft).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from msgspec import Raw

from acp_stdio.errors import Failure
from acp_stdio.relay import answers as words
from acp_stdio.relay.bridge.base import Asked, Bridge, Then
from acp_stdio.relay.bridge.envelope import Envelope
from acp_stdio.relay.bridge.questions import Abandon, Answers
from acp_stdio.relay.commands import Command
from acp_stdio.relay.timing import LONGEST as LONGEST_CALL
from acp_stdio.wire.frames import Frame
from acp_stdio.wire.members import encoded, joined, members, text

POLL: Final = 2.0
"""Seconds between two looks, where the server does not say."""
SHORTEST: Final = 0.25
LONGEST: Final = 30.0

Ask = Callable[[Asked, Raw | None, float, Callable[[Answers, float], list[Command]]], list[Command]]


@dataclass(slots=True)
class _Task:
    id: Raw
    answered: set[str] = field(default_factory=set[str])
    """Questions that are not asked again: each key stands for one question as long as the task lives."""


class Tasks:
    """One row for each request that became a task."""

    def __init__(
        self,
        bridge: Bridge,
        dress: Callable[[Asked], Envelope],
        ask: Ask,
        done: Callable[[Asked, Frame, float], list[Command]],
        abandon: Abandon,
    ) -> None:
        """`done` gets the final answer as a frame; `ask` puts the task's questions to the host."""
        self._bridge = bridge
        self._dress = dress
        self._ask = ask
        self._done = done
        self._abandon = abandon
        self._tasks: dict[Asked, _Task] = {}

    def begin(self, asked: Asked, created: Raw, now: float) -> list[Command]:
        """The server made a task of a request."""
        found = members(created)
        if not text(found.get("taskId")):
            return self._bridge.refuse(asked, -32603, "the server made a task without an id")
        asked.wire = b""
        self._tasks[asked] = _Task(found["taskId"])
        return self._next_look(asked, found, now)

    def forget(self, asked: Asked, now: float) -> list[Command]:
        """The host gave the request up, so the task is cancelled; `notifications/cancelled` does not do that."""
        task = self._tasks.pop(asked, None)
        if task is None:
            return []
        return self._request(asked, "tasks/cancel", {"taskId": task.id}, now, lambda _frame, _now: [])

    def drop(self, asked: Asked) -> None:
        """The task was another person's; it is not ours to look at or cancel any more."""
        self._tasks.pop(asked, None)

    def _next_look(self, asked: Asked, found: dict[str, Raw], now: float) -> list[Command]:
        if now - asked.since >= LONGEST_CALL:
            what = f"{self._bridge.inner.upstream} was not done within {LONGEST_CALL / 60:.0f} minutes."
            why = Failure("timeout", what, "Ask again, or for less at once.")
            return [*self._abandon(asked, now), *self._bridge.fail(asked, why, words.PERHAPS_DONE)]
        try:
            seconds = min(max(int(bytes(found["pollIntervalMs"])) / 1000, SHORTEST), LONGEST)
        except (KeyError, ValueError):
            seconds = POLL
        return self._bridge.later(seconds, now, lambda later: self._look(asked, later))

    def _look(self, asked: Asked, now: float) -> list[Command]:
        task = self._tasks.get(asked)
        if task is None:
            return []
        return self._request(
            asked, "tasks/get", {"taskId": task.id}, now, lambda frame, later: self._seen(asked, frame, later)
        )

    def _seen(self, asked: Asked, frame: Frame, now: float) -> list[Command]:
        task = self._tasks.get(asked)
        if task is None:
            return []
        found = members(frame.result)
        match text(found.get("status")):
            case "working":
                return self._next_look(asked, found, now)
            case "input_required":
                open_ones = {k: raw for k, raw in members(found.get("inputRequests")).items() if k not in task.answered}
                if not open_ones:
                    return self._next_look(asked, found, now)
                task.answered |= open_ones.keys()
                return self._ask(
                    asked, Raw(joined(open_ones)), now, lambda answers, later: self._update(asked, task, answers, later)
                )
            case "completed" if "result" in found:
                return self._end(asked, Frame(b"", None, asked.id, None, found["result"], None), now)
            case "failed" if "error" in found:
                return self._end(asked, Frame(b"", None, asked.id, None, None, found["error"]), now)
            case "cancelled":
                error = encoded({"code": -32603, "message": "the server cancelled the task"})
                return self._end(asked, Frame(b"", None, asked.id, None, None, error), now)
            case _:
                error = frame.error or encoded({"code": -32603, "message": "the server lost the task"})
                return self._end(asked, Frame(b"", None, asked.id, None, None, error), now)

    def _update(self, asked: Asked, task: _Task, answers: Answers, now: float) -> list[Command]:
        params = {"taskId": task.id, "inputResponses": Raw(joined(answers))}
        return self._request(
            asked, "tasks/update", params, now, lambda frame, later: self._updated(asked, frame, later)
        )

    def _updated(self, asked: Asked, frame: Frame, now: float) -> list[Command]:
        return self._next_look(asked, {}, now) if frame.error is None else self._seen(asked, frame, now)

    def _end(self, asked: Asked, frame: Frame, now: float) -> list[Command]:
        del self._tasks[asked]
        return self._done(asked, frame, now)

    def _request(self, asked: Asked, method: str, params: dict[str, Raw], now: float, then: Then) -> list[Command]:
        return self._bridge.request(method, self._dress(asked).around(params, asked.trace), now, then)
