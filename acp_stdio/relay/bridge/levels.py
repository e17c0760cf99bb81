"""Log levels: a legacy session has one, a modern request its own (MCP 2026-07-28, server/utilities/logging)."""

from collections.abc import Callable, Iterable

from acp_stdio.relay.bridge.base import Asked, Bridge
from acp_stdio.relay.commands import Command
from acp_stdio.wire import methods
from acp_stdio.wire.frames import Frame
from acp_stdio.wire.members import encoded, joined, members, text


class Levels:
    """The session's level, raised to the most verbose that was asked for. What nobody asked for stays here."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._level = ""

    def forget(self) -> None:
        """Another session begins, with a level of its own."""
        self._level = ""

    def raised(self, level: str, now: float, go: Callable[[float], list[Command]]) -> list[Command]:
        """Does something once the session's level is at least this verbose."""
        if not level or (self._level and _rank(self._level) <= _rank(level)):
            return go(now)
        self._level = level
        params = joined({"level": encoded(level)})
        return self._bridge.request(methods.SET_LEVEL, params, now, lambda _, later: go(later))

    @staticmethod
    def wanted(frame: Frame, asked: Iterable[Asked]) -> bool:
        """Whether a request on its way asked for a message like this."""
        rank = _rank(text(members(frame.params).get("level")))
        return any(one.level and _rank(one.level) <= rank for one in asked)


def _rank(level: str) -> int:
    return methods.LEVELS.index(level) if level in methods.LEVELS else len(methods.LEVELS)
