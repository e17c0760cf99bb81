"""A switchboard in the test's hands: what goes in at the host's end or a lane's, and what each of them gets."""

import json
from typing import Any

from acp_stdio.catalogue.model import Catalogue
from acp_stdio.relay.commands import Abort, Learn, RunHelper, ToHost, Wake
from acp_stdio.relay.switchboard.moves import Move, ToLane
from acp_stdio.relay.switchboard.switchboard import Switchboard
from acp_stdio.wire import frames
from tests.kit.playbook import MODERN_META, hello, welcome


class Board:
    """Two upstreams unless more are named. `to_lane` and `to_host` give what has come since they were last asked."""

    def __init__(
        self,
        *upstreams: str,
        catalogues: dict[str, Catalogue] | None = None,
        helpers: bool = False,
        jitter: float = 0.0,
    ) -> None:
        self.names = list(upstreams or ("crm", "finance"))
        self.now = 0.0
        self.catalogues = [(catalogues or {}).get(name, {}) for name in self.names]
        self.board = Switchboard(self.names, self.catalogues, helpers=helpers, jitter=lambda: jitter)
        self.others: list[RunHelper | Abort | Learn] = []
        self._host: list[Any] = []
        self._lanes: dict[str, list[Any]] = {name: [] for name in self.names}

    def host(self, method: str = "", params: Any = None, **members: Any) -> None:
        """The host sends a frame; a request where it has an `id`."""
        frame = {"method": method} if method else {}
        self._carry_out(self.board.host_sent(_frame({**frame, "params": params, **members}), self.now))

    def modern(self, method: str, params: dict[str, Any] | None = None, **members: Any) -> None:
        """A request of the modern era."""
        self.host(method, {**(params or {}), "_meta": MODERN_META}, **members)

    def lane(self, name: str, method: str = "", params: Any = None, **members: Any) -> None:
        """A lane sends a frame."""
        frame = {"method": method} if method else {}
        sent = _frame({**frame, "params": params, **members})
        self._carry_out(self.board.lane_sent(self.names.index(name), sent, self.now))

    def signs_in(self, name: str) -> None:
        """Somebody signs in for this upstream."""
        self._carry_out(self.board.lane_came(self.names.index(name), self.now))

    def later(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds
        self._carry_out(self.board.tick(self.now))

    def to_host(self) -> list[Any]:
        """What the host got."""
        found, self._host = self._host, []
        return found

    def to_lane(self, name: str) -> list[Any]:
        """What this lane got."""
        found, self._lanes[name] = self._lanes[name], []
        return found

    def answers(self, name: str, result: Any) -> None:
        """The lane answers the one request that it got last."""
        (asked,) = self.to_lane(name)
        self.lane(name, id=asked["id"], result=result)

    def refuses(self, name: str, code: int = -32601) -> None:
        """The lane answers the one request that it got last with an error."""
        (asked,) = self.to_lane(name)
        self.lane(name, id=asked["id"], error={"code": code, "message": f"{name} says no"})

    def shake_hands(self, **capabilities: dict[str, Any]) -> None:
        """The legacy handshake, over for everybody. What each offers it also remembers, as a relay does."""
        self.host("initialize", hello(), id=0)
        for name, catalogue in zip(self.names, self.catalogues, strict=True):
            greeting = {**welcome(), "capabilities": capabilities.get(name, {"tools": {}})}
            catalogue["initialize 2025-11-25"] = json.dumps(greeting).encode()
            self.answers(name, greeting)
        self.host("notifications/initialized")
        for name in self.names:
            self.to_lane(name)
        self.to_host()

    def _carry_out(self, moves: list[Move]) -> None:
        for move in moves:
            match move:
                case ToHost(raw):
                    self._host.append(json.loads(raw))
                case ToLane(lane, raw):
                    self._lanes[self.names[lane]].append(json.loads(raw))
                case Wake():
                    pass
                case _:
                    self.others.append(move)


def _frame(members: dict[str, Any]) -> frames.Frame:
    given = {name: value for name, value in members.items() if name != "params" or value is not None}
    return frames.parse(json.dumps({"jsonrpc": "2.0", **given}).encode())
