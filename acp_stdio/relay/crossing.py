"""Where host and upstream turn out to speak different eras, and a bridge takes over.

The upstream's era is mirrored as long as the host can speak it; nothing stands in the way of their traffic then.
"""

from typing import TYPE_CHECKING, cast

from acp_stdio.catalogue.model import DISCOVER, NO_ERA
from acp_stdio.errors import Failure
from acp_stdio.relay import answers
from acp_stdio.relay.commands import Command, HandOver, ToHost
from acp_stdio.relay.desk import Desk
from acp_stdio.relay.pending import Phase, Row
from acp_stdio.relay.session import LegacySession
from acp_stdio.wire import errors, frames, methods
from acp_stdio.wire.ending import Ending
from acp_stdio.wire.frames import Frame

if TYPE_CHECKING:
    from acp_stdio.relay.relay import Relay


class Crossing(Desk):
    """The part of the relay that hands over to a bridge, whose inner relay it then is."""

    def _speaks_legacy(self, raw_id: bytes) -> ToHost:
        """What makes a dual-era host fall back to `initialize` (MCP 2026-07-28, stdio backward compatibility)."""
        self._said_legacy = True
        text = f"this server speaks MCP up to {methods.LEGACY_VERSIONS[0]}"
        return ToHost(frames.error_answer(raw_id, frames.METHOD_NOT_FOUND, text))

    @property
    def _only_modern(self) -> bool:
        """Whether the upstream has shown that it speaks the modern era and no other."""
        return not self.crossed and self._speaks(modern=False) is False and self._speaks(modern=True) is True

    def _needs_bridge(self, method: str) -> bool:
        """Whether a modern request shows a host that speaks no other era, before an upstream of the legacy one.

        A host of both eras begins with `server/discover`, and with `initialize` where that is refused.
        """
        if self.crossed or self._session.hello is not None or self._speaks(modern=True) is not False:
            return False
        return self._said_legacy or method != methods.DISCOVER

    @property
    def _whole(self) -> "Relay":
        return cast("Relay", self)  # of which this class is a part

    def _bridge_legacy_host(self, hello: bytes, now: float, *, greeted: bool) -> list[Command]:
        """`hello`: the host's `initialize`; `greeted`: it has its answer."""
        from acp_stdio.relay.bridge.legacy_host import LegacyHostBridge

        ready, (commands, waiting) = self._session.host_ready, self._let_go()
        self.crossed, self.modern, self._session = True, True, LegacySession(jitter=self._jitter)
        self._forget_no_modern()
        bridge = LegacyHostBridge(self._whole, self._mint)
        commands.append(HandOver(bridge))
        if greeted:
            bridge.was_greeted(frames.parse(hello), ready=ready)
            commands += bridge.reach_out(now)
        for raw in waiting if greeted else [hello, *waiting]:
            commands += bridge.host_sent(frames.parse(raw), now)
        return commands

    def _bridge_modern_host(self, now: float, *frames_: Frame) -> list[Command]:
        """What waits, and these frames, go to the upstream in a session of our own."""
        from acp_stdio.relay.bridge.modern_host import ModernHostBridge

        commands: list[Command] = []
        for row in self._doubted():
            commands += self._settled(row, "error", "era_mismatch", 0)
        settled, waiting = self._let_go()
        self.crossed, self.modern, self._session = True, False, LegacySession(jitter=self._jitter)
        bridge = ModernHostBridge(self._whole, self._mint)
        commands += [*settled, HandOver(bridge)]
        for frame in [*(frames.parse(raw) for raw in waiting), *frames_]:
            commands += bridge.host_sent(frame, now)
        return commands

    def speak_alone(self) -> None:
        """The host speaks the upstream's era after all. What the bridge asked for itself is nobody's from now on."""
        self.crossed = False
        for row in [*self._by_id.values()]:
            self._forget_id(row)

    def _forget_no_modern(self) -> None:
        """A server without the legacy era cannot be without the modern one too: it is asked once more."""
        if self._catalogue.get(DISCOVER) == NO_ERA:
            del self._catalogue[DISCOVER]

    def _let_go(self) -> tuple[list[Command], list[bytes]]:
        """The host's requests that wait here, which are nobody's from now on. Those that were sent once are over."""
        commands: list[Command] = []
        waiting = [row for row in self._rows.values() if row.phase is Phase.HELD and self._waits(row)]
        for row in waiting:
            if row.was_refused:
                commands += self._settled(row, "error", "era_mismatch", 0)
            self._drop(row)
        return commands, [row.raw for row in waiting]

    # -- doubt: a modern request that was refused as a legacy server refuses -------------------------------

    def _doubted(self) -> list[Row]:
        return [row for row in self._rows.values() if row.doubt]

    def _doubts(self, row: Row, ending: Ending) -> bool:
        """Keeps a refusal back that may come from a server which has never heard of the modern era; false for others.

        That is 4xx without one of the modern errors; 404 with "method not found" is of a modern server too (MCP
        2026-07-28, streamable-http).
        """
        if self.crossed or not row.modern or row.phase is not Phase.POSTED or not self._waits(row) or row.id is None:
            return False
        if self._session.hello is not None:  # it speaks the other era too, and shall go on in its session
            return False
        if self._speaks(modern=True) or row.method == methods.DISCOVER:
            return False
        code = errors.code_in(ending.body)
        if ending.status not in errors.BEFORE_ANYTHING or not errors.means_legacy(ending.status, ending.body):
            return False  # what it refused for another reason is not made again
        if ending.status == 404 and code == frames.METHOD_NOT_FOUND:
            return False
        if code:
            row.doubt = answers.named(frames.parse(ending.body), row.id).raw
        else:
            failure, opening = answers.failure_of(ending, self._upstream, modern=True, helpers=self._helpers)
            row.doubt = self._refusal(row.id, row.method, failure, opening)
        row.move(Phase.HELD)
        return True

    def _handshake_failed(self, row: Row, failure: Failure, opening: str, now: float, *, waits: bool) -> list[Command]:
        failed = super()._handshake_failed(row, failure, opening, now, waits=waits)
        return [*failed, *(self._resolved(now) if row.method == methods.DISCOVER else [])]

    def _resolved(self, now: float) -> list[Command]:
        """It is known by now what the server speaks, or that it cannot be known: whoever waits for that goes on."""
        doubted = self._doubted()
        if not doubted:
            return []
        if self._speaks(modern=True) is False and self._session.hello is None:
            return self._bridge_modern_host(now)
        commands: list[Command] = []
        for row in doubted:
            raw, waits = row.doubt, self._waits(row)
            self._drop(row)
            commands += [*self._settled(row, "error", "", len(raw)), *([ToHost(raw)] if waits else [])]
        return commands
