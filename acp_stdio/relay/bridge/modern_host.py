"""A host of the modern era (MCP 2026-07-28) before an upstream of the legacy one, which speaks in a session."""

from collections.abc import Callable
from typing import Final

from msgspec import Raw

from acp_stdio.errors import Failure
from acp_stdio.relay import answers, handshake
from acp_stdio.relay import envelope as rules
from acp_stdio.relay.bridge import capabilities, problems
from acp_stdio.relay.bridge.base import Asked, Bridge, Mint
from acp_stdio.relay.bridge.levels import Levels
from acp_stdio.relay.bridge.subscribers import Subscribers
from acp_stdio.relay.bridge.trips import Trips
from acp_stdio.relay.commands import Command, HandOver, ToHost
from acp_stdio.relay.relay import Relay
from acp_stdio.wire import frames, methods
from acp_stdio.wire.frames import Frame
from acp_stdio.wire.members import members, text

_GONE: Final = frozenset({methods.INITIALIZE, methods.PING, methods.SET_LEVEL, methods.SUBSCRIBE, methods.UNSUBSCRIBE})
"""Requests that 2026-07-28 took out."""
_CHANGES: Final = frozenset(method for _, method in methods.LIST_CHANGES.values())


class ModernHostBridge(Bridge):
    """The inner relay sees a legacy host that opens one session, for all conversations of the real one."""

    modern = True

    def __init__(self, inner: Relay, mint: Mint) -> None:
        super().__init__(inner, mint)
        self._declared: dict[str, Raw] | None = None
        """What the session was opened with; None before there is one."""
        self._server: dict[str, Raw] | None = None
        """The upstream's `initialize` result, once it came."""
        self._greeted: list[tuple[Asked, Callable[[float], list[Command]]]] = []
        """What waits for it."""
        self._sessions: int = inner.sessions
        self._trips = Trips(self)
        self._levels = Levels(self)
        self._subscribers = Subscribers(self)

    # -- the host -----------------------------------------------------------------------------------

    def requested(self, asked: Asked, frame: Frame, now: float) -> list[Command]:
        """A request of the host's."""
        view = handshake.view(frame.params)
        if asked.method == methods.INITIALIZE and view.version is None:
            return self._hand_back(frame, now)
        refusal = rules.incomplete(asked.id, view.version, frame.params)
        if refusal is not None:
            return [ToHost(refusal)]
        meta = members(asked.params.get("_meta"))
        asked.capabilities = capabilities.legacy_client(meta.get(methods.META_CAPABILITIES))
        asked.level = text(meta.get(methods.META_LOG_LEVEL))
        self.inner.agent = view.agent or self.inner.agent
        self.asked[asked.key] = asked
        if asked.method in _GONE or asked.method.startswith("tasks/"):
            return self.refuse(asked, frames.METHOD_NOT_FOUND, f"there is no {asked.method}")
        opening = self._open_session(asked, meta.get(methods.META_CLIENT_INFO), now)
        return [*opening, *self._go(asked, now)]

    def _hand_back(self, frame: Frame, now: float) -> list[Command]:
        """The host falls back to the legacy era, which the upstream speaks: nothing is to be translated."""
        commands: list[Command] = []
        for wire in self.on_their_way:
            commands += self.take_back(wire, now)
        anew = Failure("era_mismatch", "The application began anew in another revision of MCP.", "Ask again.")
        for asked in [*self.asked.values()]:
            commands += self.fail(asked, anew, answers.PERHAPS_DONE)
        self.inner.speak_alone()
        return [*commands, HandOver(self.inner), *self.inner.host_sent(frame, now)]

    def _go(self, asked: Asked, now: float) -> list[Command]:
        match asked.method:
            case methods.DISCOVER:
                return self._once_greeted(asked, lambda _: self._discovered(asked), now)
            case methods.LISTEN:
                return self._once_greeted(asked, lambda later: self._listen(asked, later), now)
            case method if method in methods.ASKING and "requestState" in asked.params:
                return self._trips.resume(asked, now)
            case _ if asked.level:
                return self._once_greeted(asked, lambda later: self._begin_aloud(asked, later), now)
            case _:
                return self._trips.begin(asked, now)

    def _begin_aloud(self, asked: Asked, now: float) -> list[Command]:
        if "logging" not in members((self._server or {}).get("capabilities")):
            return self._begin(asked, now)
        return self._levels.raised(asked.level, now, lambda later: self._begin(asked, later))

    def _begin(self, asked: Asked, now: float) -> list[Command]:
        return self._trips.begin(asked, now) if self.asked.get(asked.key) is asked else []

    def notified(self, frame: Frame, now: float) -> list[Command]:
        """A notification of the host's. In this era there is one."""
        asked = self.cancelled(frame) if frame.method == methods.CANCELLED else None
        if asked is None:
            return []
        del self.asked[asked.key]
        return [*self._trips.give_up(asked, now), *self._subscribers.leave(asked, now)]

    def responded(self, frame: Frame, now: float) -> list[Command]:
        """A modern host is asked nothing that it could respond to."""
        return []

    def signed_out(self, failure: Failure, now: float, left: Callable[[int], bool] = lambda _: True) -> list[Command]:
        """The sign-in ended, and with it what the host could have gone on with."""
        self._trips.forget_ended()
        return super().signed_out(failure, now, left)

    # -- the session ----------------------------------------------------------------------------------

    def _open_session(self, asked: Asked, client_info: Raw | None, now: float) -> list[Command]:
        """Opens the session, or another where a request declares more and nothing would be lost.

        A session's capabilities are those of its `initialize`. What later requests declare beyond them is not seen
        by the server while something is on its way; what they do not declare is refused in their name.
        """
        known = self._declared
        union = capabilities.merged(known or {}, asked.capabilities)
        if known is not None and (union is known or self._trips.under_way or self._subscribers.any or self._greeted):
            return []
        self._declared, self._server = union, None
        self._levels.forget()
        params = capabilities.initialize_params(union, client_info)
        greeting = self.request(methods.INITIALIZE, params, now, self._welcomed)
        return greeting + self.tell(methods.INITIALIZED, b"{}", now)

    def _welcomed(self, frame: Frame, now: float) -> list[Command]:
        waiting, self._greeted = self._greeted, []
        commands: list[Command] = []
        if frame.result is None:
            self._declared = None  # the next request tries again
            for asked, _ in waiting:
                commands += self.finish_with(asked, problems.for_modern(frame.error or Raw(b"{}")))
            return commands
        self._server = members(frame.result)
        self._trips.server_info = self._server.get("serverInfo")
        for asked, go in waiting:
            if self.asked.get(asked.key) is asked:
                commands += go(now)
        return commands

    def _once_greeted(self, asked: Asked, go: Callable[[float], list[Command]], now: float) -> list[Command]:
        if self._server is not None:
            return go(now)
        self._greeted.append((asked, go))
        return []

    def _discovered(self, asked: Asked) -> list[Command]:
        return self.finish(asked, capabilities.discover_result(self._server or {}))

    def _listen(self, asked: Asked, now: float) -> list[Command]:
        return self._subscribers.listen(asked, (self._server or {}).get("capabilities"), now)

    def out(self, commands: list[Command], now: float) -> list[Command]:
        """Another session has taken the place of one that the server forgot: what it was told is told again."""
        done = super().out(commands, now)
        if self.inner.sessions == self._sessions:
            return done
        first, self._sessions = not self._sessions, self.inner.sessions
        if first:
            return done
        self._levels.forget()
        return [*done, *self._subscribers.renew(now)]

    # -- the upstream -----------------------------------------------------------------------------------

    def upstream_sent(self, call: int, frame: Frame, now: float) -> list[Command]:
        """A server's request is answered here or becomes the answer to the call that it came with."""
        if not frame.is_request:
            return super().upstream_sent(call, frame, now)
        self.inner.server_asked(call, frame)
        if frame.method == methods.PING:
            return self.respond(frames.answer(frame.id or b"null", b"{}"), now)
        return self._trips.ask(self.inner.request_of(call), frame, now)

    def told(self, frame: Frame, now: float) -> list[Command]:
        """A notification of the server's."""
        match frame.method:
            case method if method == methods.UPDATED or method in _CHANGES:
                return self._subscribers.told(frame)
            case methods.MESSAGE:
                return [ToHost(frame.raw)] if Levels.wanted(frame, self.asked.values()) else []
            case methods.PROGRESS:
                shown = self._trips.progress(frame)
                return [ToHost(shown.raw)] if shown is not None else []
            case methods.CANCELLED:
                self._trips.withdrawn(handshake.cancelled_id(frame.params))
                return []
            case methods.ELICITED | "notifications/tasks/status":
                return []  # 2026-07-28 has neither
            case _:
                return [ToHost(frame.raw)]
