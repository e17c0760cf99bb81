"""A script of what happens to a relay and what it must want done, one line each."""

import json
from typing import Any, TypeVar

from acp_stdio.catalogue.model import Catalogue
from acp_stdio.errors import Failure
from acp_stdio.relay.commands import Command, HandOver, Learn, OpenStream, Post, ToHost, Wake
from acp_stdio.relay.mind import Mind
from acp_stdio.relay.relay import Relay
from acp_stdio.wire import frames
from acp_stdio.wire.ending import Ending

T = TypeVar("T")
SIGNED_OUT = Failure("login_required", "You signed out.", "Run `acp-stdio login`, then ask again.")
SERVER_INFO = {"name": "finance", "version": "1"}
MODERN_META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "claude-code", "version": "3"},
}


class Playbook:
    """Drives one relay on a clock of its own."""

    def __init__(
        self,
        catalogue: Catalogue | None = None,
        *,
        signed_in: bool = True,
        helpers: bool = True,
        timeout: float = 230.0,
        jitter: float = 0.0,
    ) -> None:
        self._minted = 0
        self.warnings: list[str] = []
        self.catalogue: Catalogue = {} if catalogue is None else catalogue
        self.relay = Relay(
            "finance",
            self.catalogue,
            signed_in=signed_in,
            mint=self._mint,
            helpers=helpers,
            call_timeout=timeout,
            jitter=lambda: jitter,
            warn=self.warnings.append,
        )
        self.mind: Mind = self.relay
        self.now = 0.0
        self.done: list[Command] = []

    def host(self, **frame: Any) -> list[Command]:
        """The host sends a frame."""
        return self.host_raw(json.dumps({"jsonrpc": "2.0", **frame}).encode())

    def host_raw(self, raw: bytes) -> list[Command]:
        return self._did(self.mind.host_sent(frames.parse(raw), self.now))

    def upstream(self, call: int, **frame: Any) -> list[Command]:
        """The upstream sends a frame on a call's exchange."""
        return self.upstream_raw(call, json.dumps({"jsonrpc": "2.0", **frame}).encode())

    def upstream_raw(self, call: int, raw: bytes) -> list[Command]:
        return self._did(self.mind.upstream_sent(call, frames.parse(raw), self.now))

    def ended(self, call: int, status: int | None = 200, **rest: Any) -> list[Command]:
        """A call's exchange ends."""
        return self._did(self.mind.upstream_ended(call, Ending(status, **rest), self.now))

    def refused(self, call: int, failure: Failure = SIGNED_OUT) -> list[Command]:
        """A call could not leave."""
        return self._did(self.mind.refused(call, failure, self.now))

    def after(self, seconds: float) -> list[Command]:
        """Time passes."""
        self.now += seconds
        return self._did(self.mind.tick(self.now))

    def open_session(self, session_id: str | None = "S1") -> None:
        """A whole legacy handshake."""
        posted = self.call_of(self.host(id=0, method="initialize", params=hello()))
        self.relay.upstream_opened(posted, session_id)
        self.upstream(posted, id=0, result=welcome())
        self.ended(posted)
        ready = self.call_of(self.host(method="notifications/initialized"))
        self.ended(ready, 202)

    def modern_call(self, request_id: Any = 1, method: str = "tools/call", **params: Any) -> list[Command]:
        """A request of the modern era."""
        return self.host(id=request_id, method=method, params={**params, "_meta": MODERN_META})

    @staticmethod
    def call_of(commands: list[Command]) -> int:
        """The one call that is posted."""
        (post,) = only(commands, Post)
        return post.call

    def _mint(self) -> str:
        self._minted += 1
        return f"{self._minted:032x}"

    def _did(self, commands: list[Command]) -> list[Command]:
        for hand_over in only(commands, HandOver):
            self.mind = hand_over.mind
        self.done += commands
        return commands


def hello(version: str = "2025-11-25") -> dict[str, Any]:
    """A host's `initialize` parameters."""
    return {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "claude-ai", "version": "0.1.0"}}


def welcome(version: str = "2025-11-25") -> dict[str, Any]:
    """A server's `initialize` result."""
    return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": SERVER_INFO}


def only(commands: list[Command], kind: type[T]) -> list[T]:
    """The commands of one kind."""
    return [c for c in commands if isinstance(c, kind)]


def told(commands: list[Command]) -> list[Any]:
    """The frames that the host is sent."""
    return [json.loads(c.raw) for c in commands if isinstance(c, ToHost)]


def kinds(commands: list[Command]) -> list[str]:
    """What is wanted, by name, without the bookkeeping."""
    return [type(c).__name__ for c in commands if not isinstance(c, Learn | HandOver | Wake)]


def posts(commands: list[Command]) -> list[Any]:
    """The frames that are posted."""
    return [json.loads(c.raw) for c in commands if isinstance(c, Post)]


def streams(commands: list[Command]) -> list[OpenStream]:
    """The GET streams that are opened."""
    return [c for c in commands if isinstance(c, OpenStream)]
