"""A host of the legacy era (MCP up to 2025-11-25) before an upstream of the modern one (2026-07-28)."""

from collections.abc import Callable
from typing import Final

from msgspec import Raw

from acp_stdio.errors import Failure
from acp_stdio.relay import answers as words
from acp_stdio.relay import handshake
from acp_stdio.relay.bridge import capabilities, problems, results
from acp_stdio.relay.bridge.base import INVALID_PARAMS, Asked, Bridge, Mint
from acp_stdio.relay.bridge.envelope import Envelope
from acp_stdio.relay.bridge.listening import Listening
from acp_stdio.relay.bridge.questions import Answers, Go, Questions
from acp_stdio.relay.bridge.tasks import Tasks
from acp_stdio.relay.commands import Command, ToHost
from acp_stdio.relay.relay import Relay
from acp_stdio.wire import frames, methods
from acp_stdio.wire.frames import Frame
from acp_stdio.wire.members import joined, members, text

_TOOLS_CHANGED: Final = "notifications/tools/list_changed"


class LegacyHostBridge(Bridge):
    """The inner relay sees a modern host: no handshake, no session, every request complete in itself."""

    modern = False

    def __init__(self, inner: Relay, mint: Mint) -> None:
        super().__init__(inner, mint)
        self._version = methods.LEGACY_VERSIONS[0]
        self._host: Raw | None = None
        self._client_info: Raw | None = None
        self._level = ""
        self._server: Raw | None = None
        """The upstream's capabilities, once they are known."""
        self._ready = False
        self._questions = Questions(self, inner.upstream, inner.call_timeout, self._abandon)
        self._listening = Listening(self, self._dress)
        self._tasks = Tasks(self, self._dress, self._ask, self._answered, self._abandon)

    @property
    def batches(self) -> bool:
        """Whether the host speaks the one revision of MCP that has JSON-RPC batches."""
        return self._version == methods.BATCH_VERSION

    def _dress(self, asked: Asked | None = None) -> Envelope:
        """What a request says of itself. Tasks are declared for calls alone, where the upstream has them."""
        tasks = asked is not None and asked.method == methods.TOOLS_CALL and capabilities.has_tasks(self._server)
        declared = capabilities.modern_client(self._host, self._version, tasks=tasks)
        return Envelope(declared, self._client_info, self._level)

    # -- the host -----------------------------------------------------------------------------------

    def was_greeted(self, hello: Frame, *, ready: bool) -> None:
        """The host's `initialize` was answered before this bridge was made."""
        given = members(hello.params)
        self._version = capabilities.emulated(text(given.get("protocolVersion")))
        self._host, self._client_info = given.get("capabilities"), given.get("clientInfo")
        self._ready = ready
        self.inner.agent = handshake.offered(hello.params)[1]

    def handshake_was_answered(self, frame: Frame) -> None:
        """The host's `initialize` was answered from memory."""
        self.was_greeted(frame, ready=False)

    def requested(self, asked: Asked, frame: Frame, now: float) -> list[Command]:
        """A request of the host's."""
        self.asked[asked.key] = asked
        match asked.method:
            case methods.INITIALIZE:
                self.was_greeted(frame, ready=False)
                return self._discover(asked, now)
            case methods.PING:
                return self.finish(asked, b"{}")
            case methods.SET_LEVEL:
                return self._set_level(asked)
            case methods.SUBSCRIBE:
                return self._listening.subscribe(asked, now)
            case methods.UNSUBSCRIBE:
                return self._listening.unsubscribe(asked, now)
            case methods.DISCOVER | methods.LISTEN:
                return self.refuse(asked, frames.METHOD_NOT_FOUND, f"MCP {self._version} has no {asked.method}")
            case method if method.startswith("tasks/"):
                return self.refuse(asked, frames.METHOD_NOT_FOUND, "tasks were not offered")
            case _:
                return self._forward(asked, now)

    def notified(self, frame: Frame, now: float) -> list[Command]:
        """A notification of the host's. A modern server takes none; what one does not cancel or begin ends here."""
        if frame.method == methods.INITIALIZED:
            self._ready = True
            return self._listening.begin(self._server, now) if self._server is not None else self.reach_out(now)
        if frame.method == methods.CANCELLED:
            asked = self.cancelled(frame)
            return self._give_up(asked, now) if asked is not None and asked.method != methods.INITIALIZE else []
        return []

    def responded(self, frame: Frame, now: float) -> list[Command]:
        """The host's answer to a question."""
        return self._questions.answered(frame, now)

    def _set_level(self, asked: Asked) -> list[Command]:
        level = text(asked.params.get("level"))
        if level not in methods.LEVELS:
            return self.refuse(asked, INVALID_PARAMS, "there is no such level")
        self._level = level
        return self.finish(asked, b"{}")

    def _give_up(self, asked: Asked, now: float) -> list[Command]:
        del self.asked[asked.key]
        return [*self._abandon(asked, now), *(self.take_back(asked.wire, now) if asked.wire else [])]

    def _abandon(self, asked: Asked, now: float) -> list[Command]:
        return [*self._questions.forget(asked), *self._tasks.forget(asked, now)]

    # -- handshake ----------------------------------------------------------------------------------

    def _discover(self, asked: Asked, now: float) -> list[Command]:
        params = self._dress().around({})
        return self.request(methods.DISCOVER, params, now, lambda frame, later: self._discovered(asked, frame, later))

    def _discovered(self, asked: Asked, frame: Frame, now: float) -> list[Command]:
        if frame.result is None:
            if problems.speaks_our_version(frame.error) and not asked.repeated:
                asked.repeated = True
                return self._discover(asked, now)
            return self.finish_with(asked, problems.for_legacy(asked.method, {}, frame.error or Raw(b"{}")))
        self._server = members(frame.result).get("capabilities")
        version = text(asked.params.get("protocolVersion"))
        return self.finish(asked, capabilities.initialize_result(frame.result, version, self.inner.upstream))

    def reach_out(self, now: float) -> list[Command]:
        """Behind a greeting from memory: asks what the upstream offers, and then listens."""
        if self._server is not None or not self._ready:
            return self.out(self.inner.reach_out(now), now)
        return self.request(methods.DISCOVER, self._dress().around({}), now, self._found)

    def _found(self, frame: Frame, now: float) -> list[Command]:
        if frame.result is None:
            return []
        self._server = members(frame.result).get("capabilities", Raw(b"{}"))
        return self._listening.begin(self._server, now)

    def signed_in(self, now: float) -> list[Command]:
        """Somebody signed in: the upstream's lists may be others, and can be listened for."""
        told: list[Command] = [ToHost(frames.notification(_TOOLS_CHANGED))] if self._ready else []
        if self._ready and self._server is None:
            return [*told, *super().signed_in(now), *self.reach_out(now)]
        return [*told, *super().signed_in(now), *self._listening.open(now)]

    def signed_out(self, failure: Failure, now: float, left: Callable[[int], bool] = lambda _: True) -> list[Command]:
        """The sign-in ended. What is between two rounds ends too: the next round would go in the next person's name."""
        commands = super().signed_out(failure, now, left)
        for asked in [one for one in self.asked.values() if one.method in methods.ASKING and not one.wire]:
            self._tasks.drop(asked)
            commands += [*self._questions.forget(asked), *self.fail(asked, failure, words.PERHAPS_DONE)]
        return commands

    # -- requests and their rounds --------------------------------------------------------------------

    def _forward(self, asked: Asked, now: float) -> list[Command]:
        asked.capabilities = capabilities.modern_client(self._host, self._version, tasks=False)
        if asked.method in methods.ASKING and "traceparent" not in members(asked.params.get("_meta")):
            asked.trace = f"00-{self.mint()}-{self.mint()[:16]}-01"  # the same for all rounds: a trail joins them by it
        return self._send(asked, {}, now)

    def _send(self, asked: Asked, more: dict[str, Raw], now: float) -> list[Command]:
        params = self._dress(asked).around({**asked.params, **more}, asked.trace)
        asked.wire = self.new_wire()
        return self.post(
            asked.wire, asked.method, params, now, lambda frame, later: self._answered(asked, frame, later)
        )

    def _answered(self, asked: Asked, frame: Frame, now: float) -> list[Command]:
        if frame.result is None:
            if problems.speaks_our_version(frame.error) and not asked.repeated:  # nothing was done: once more
                asked.repeated = True
                return self._send(asked, {}, now)
            error = problems.for_legacy(asked.method, asked.params, frame.error or Raw(b"{}"))
            return [*self._questions.forget(asked), *self.finish_with(asked, error)]
        match results.kind(frame.result):
            case "complete":
                finished = self.finish(asked, results.for_legacy(asked.method, frame.result))
                return [*finished, *self._questions.finished(asked)]
            case "input_required" if asked.method in methods.ASKING:
                return self._asked_back(asked, frame.result, now)
            case "task" if asked.method == methods.TOOLS_CALL:
                return self._tasks.begin(asked, frame.result, now)
            case other:  # the client must take it for invalid (MCP 2026-07-28, basic)
                told = self.refuse(asked, -32603, f"the server's result is of a kind that is not known here: {other}")
                return [*self._questions.forget(asked), *told]

    def _asked_back(self, asked: Asked, result: Raw, now: float) -> list[Command]:
        asked.wire = b""
        found = members(result)
        state = {"requestState": found["requestState"]} if "requestState" in found else {}

        def go(answers: Answers, later: float) -> list[Command]:
            given = {"inputResponses": Raw(joined(answers))} if answers else {}
            return self._send(asked, {**given, **state}, later)

        return self._ask(asked, found.get("inputRequests"), now, go)

    def _ask(self, asked: Asked, requests: Raw | None, now: float, go: Go) -> list[Command]:
        return self._questions.ask(asked, requests, self._version, now, go)

    # -- the upstream -----------------------------------------------------------------------------------

    def told(self, frame: Frame, now: float) -> list[Command]:
        """A notification of the upstream's: of a subscription, or of a request on its way."""
        meta = members(members(frame.params).get("_meta"))
        if frame.method == methods.ACKNOWLEDGED or methods.META_SUBSCRIPTION in meta:
            return self._listening.told(frame, now)
        if frame.method == methods.CANCELLED:  # of a subscription; a modern server has asked nothing of the host
            return []
        return [ToHost(frame.raw)]
