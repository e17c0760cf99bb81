"""One `subscriptions/listen` upstream for all that a legacy host expects to be told of.

MCP 2026-07-28, basic/patterns/subscriptions. A change of what is listened for opens a new stream, and the old
one is closed once the new one is acknowledged, so that nothing is lost between them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from msgspec import Raw

from acp_stdio.errors import Failure
from acp_stdio.relay.bridge import envelope
from acp_stdio.relay.bridge.base import INVALID_PARAMS, Asked, Bridge, notification
from acp_stdio.relay.bridge.envelope import Envelope
from acp_stdio.relay.commands import Command
from acp_stdio.relay.session import STREAM_RETRY
from acp_stdio.wire import errors, frames, methods
from acp_stdio.wire.frames import Frame
from acp_stdio.wire.members import encoded, items, joined, members, text

_TRUE: Final = Raw(b"true")


@dataclass(slots=True, eq=False)
class _Stream:
    waiting: list[Asked]
    """The `resources/subscribe` that wait for its acknowledgement."""
    wire: bytes = b""


class Listening:
    """What is listened for, and the stream on which it comes."""

    def __init__(self, bridge: Bridge, dress: Callable[[], Envelope]) -> None:
        """`dress`: what a request of ours says of itself."""
        self._bridge = bridge
        self._dress = dress
        self._lists: list[str] = []
        self._uris: dict[str, None] = {}
        self._stream: _Stream | None = None
        self._next: _Stream | None = None
        self._breaks = 0
        self._begun = False

    def begin(self, server: Raw | None, now: float) -> list[Command]:
        """The host is ready; `server`: the upstream's capabilities."""
        known = members(server)
        self._lists = [
            word
            for word, (name, _) in methods.LIST_CHANGES.items()
            if bytes(members(known.get(name)).get("listChanged", b"")) == b"true"
        ]
        self._begun = True
        return self.open(now)

    def open(self, now: float, *waiting: Asked) -> list[Command]:
        """Opens a stream for what is wanted now; it takes the place of the present one once it is acknowledged."""
        if not self._begun:
            return []
        replaced, self._next = self._next, None
        commands = self._bridge.take_back(replaced.wire, now) if replaced is not None else []
        if not self._lists and not self._uris:
            return [*commands, *self._switch(None, now)]
        stream = self._next = _Stream([*(replaced.waiting if replaced is not None else []), *waiting])
        wanted: dict[str, Raw] = dict.fromkeys(self._lists, _TRUE)
        if self._uris:
            wanted["resourceSubscriptions"] = encoded(list(self._uris))
        params = self._dress().around({"notifications": Raw(joined(wanted))})
        stream.wire = self._bridge.new_wire()
        opening = self._bridge.post(
            stream.wire, methods.LISTEN, params, now, lambda frame, later: self._ended(stream, frame, later)
        )
        if not stream.waiting:
            return [*commands, *opening]
        late = self._bridge.later(self._bridge.inner.call_timeout, now, lambda _: self._too_late(stream))
        return [*commands, *opening, *late]

    def subscribe(self, asked: Asked, now: float) -> list[Command]:
        """`resources/subscribe`: answered once the server has said that it will tell."""
        uri = text(asked.params.get("uri"))
        if uri in self._uris and self._stream is not None and self._next is None:
            return self._bridge.finish(asked, b"{}")
        self._uris[uri] = None
        self._begun = True
        return self.open(now, asked)

    def unsubscribe(self, asked: Asked, now: float) -> list[Command]:
        """`resources/unsubscribe`."""
        told = self._bridge.finish(asked, b"{}")
        uri = text(asked.params.get("uri"))
        if uri not in self._uris:
            return told
        del self._uris[uri]
        return [*told, *self.open(now)]

    def told(self, frame: Frame, now: float) -> list[Command]:
        """A notification that belongs to a subscription. Only the present stream is listened to."""
        wire = bytes(members(members(frame.params).get("_meta")).get(methods.META_SUBSCRIPTION, b""))
        if frame.method == methods.ACKNOWLEDGED and self._next is not None and wire == self._next.wire:
            return self._acknowledged(self._next, frame, now)
        if self._stream is None or wire != self._stream.wire or frame.method is None:
            return []
        return [notification(frame.method, envelope.untagged(frame.params, methods.META_SUBSCRIPTION))]

    def _acknowledged(self, stream: _Stream, frame: Frame, now: float) -> list[Command]:
        honoured = items(members(members(frame.params).get("notifications")).get("resourceSubscriptions"))
        uris = {text(uri) for uri in honoured}
        told = self._switch(stream, now)
        for asked in stream.waiting:
            uri = text(asked.params.get("uri"))
            if uri in uris:
                told += self._bridge.finish(asked, b"{}")
            else:
                self._uris.pop(uri, None)
                told += self._bridge.refuse(asked, INVALID_PARAMS, "the server does not tell of its changes")
        stream.waiting = []
        return told

    def _too_late(self, stream: _Stream) -> list[Command]:
        """The server has opened the stream and not said what it will tell of."""
        waiting, stream.waiting = stream.waiting, []
        upstream, told = self._bridge.inner.upstream, list[Command]()
        for asked in waiting:
            self._uris.pop(text(asked.params.get("uri")), None)
            why = Failure("timeout", f"{upstream} did not say that it will tell of changes.", "Ask again.")
            told += self._bridge.fail(asked, why)
        return told

    def _switch(self, stream: _Stream | None, now: float) -> list[Command]:
        old, self._stream, self._next = self._stream, stream, None
        self._breaks = 0
        return self._bridge.take_back(old.wire, now) if old is not None else []

    def _ended(self, stream: _Stream, frame: Frame, now: float) -> list[Command]:
        """The server ended the stream, refused it, or it broke: it is opened again, later and later."""
        present = stream is self._stream
        if not present and stream is not self._next:
            return []
        told: list[Command] = []
        if present:
            self._stream = None
        else:
            self._next = None
        waiting, stream.waiting = stream.waiting, []
        for asked in waiting:
            self._uris.pop(text(asked.params.get("uri")), None)
            told += self._bridge.finish_with(asked, bytes(frame.error or b"{}"))
        refused = frame.error is not None and errors.code_of(frame.error) in (frames.METHOD_NOT_FOUND, INVALID_PARAMS)
        if refused or text(members(members(frame.error).get("data")).get("reason")) == "login_required":
            return told  # after a sign-in it is opened anyway
        wait = self._bridge.inner.spread(STREAM_RETRY[min(self._breaks, len(STREAM_RETRY) - 1)])
        self._breaks += 1
        return [*told, *self._bridge.later(wait, now, lambda later: self._reopen(later))]

    def _reopen(self, now: float) -> list[Command]:
        return self.open(now) if self._stream is None and self._next is None else []
