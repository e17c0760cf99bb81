"""A modern host's `subscriptions/listen`, fed from what a legacy server says in its session.

MCP 2026-07-28, basic/patterns/subscriptions. Each resource is subscribed to upstream once, however many listen.
"""

from dataclasses import dataclass
from typing import Final

from msgspec import Raw

from acp_stdio.relay.bridge import envelope
from acp_stdio.relay.bridge.base import Asked, Bridge, notification
from acp_stdio.relay.commands import Command
from acp_stdio.wire import methods
from acp_stdio.wire.frames import Frame
from acp_stdio.wire.members import encoded, items, joined, members, text

_TRUE: Final = b"true"


@dataclass(slots=True, eq=False)
class _Listener:
    asked: Asked
    lists: list[str]
    uris: set[str]
    """Those that the server tells of."""
    waiting: set[str]
    """Those whose subscription it has not answered."""
    acknowledged: bool = False


class Subscribers:
    """Who listens, and for what."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._listeners: list[_Listener] = []

    @property
    def any(self) -> bool:
        """Whether somebody listens."""
        return bool(self._listeners)

    def listen(self, asked: Asked, server: Raw | None, now: float) -> list[Command]:
        """A host begins to listen; it is acknowledged what the server can tell of, once that is known."""
        known, wanted = members(server), members(asked.params.get("notifications"))
        lists = [
            word
            for word, (name, _) in methods.LIST_CHANGES.items()
            if _is_true(wanted.get(word)) and name in known  # some tell without saying that they do (the MCP SDK's)
        ]
        subscribes = _is_true(members(known.get("resources")).get("subscribe"))
        uris = {text(uri) for uri in items(wanted.get("resourceSubscriptions"))} if subscribes else set[str]()
        listener = _Listener(asked, lists, uris & self._told_of, uris - self._told_of)
        self._listeners.append(listener)
        commands: list[Command] = []
        for uri in sorted(listener.waiting):
            params = joined({"uri": encoded(uri)})
            commands += self._bridge.request(
                methods.SUBSCRIBE, params, now, lambda frame, later, uri=uri: self._subscribed(uri, frame, later)
            )
        return [*commands, *self._acknowledge(listener)]

    @property
    def _told_of(self) -> set[str]:
        return {uri for listener in self._listeners for uri in listener.uris}

    def _subscribed(self, uri: str, frame: Frame, now: float) -> list[Command]:
        told: list[Command] = []
        for listener in self._listeners:
            if uri in listener.waiting:
                listener.waiting.discard(uri)
                if frame.result is not None:
                    listener.uris.add(uri)
                told += self._acknowledge(listener)
        if frame.result is not None and uri not in self._told_of:  # who wanted it has left meanwhile
            told += self._unsubscribe(uri, now)
        return told

    def _unsubscribe(self, uri: str, now: float) -> list[Command]:
        params = joined({"uri": encoded(uri)})
        return self._bridge.request(methods.UNSUBSCRIBE, params, now, lambda _frame, _now: [])

    def _acknowledge(self, listener: _Listener) -> list[Command]:
        if listener.waiting or listener.acknowledged:
            return []
        listener.acknowledged = True
        honoured: dict[str, Raw] = dict.fromkeys(listener.lists, Raw(_TRUE))
        if listener.uris:
            honoured["resourceSubscriptions"] = encoded(sorted(listener.uris))
        return [_to(listener, methods.ACKNOWLEDGED, {"notifications": Raw(joined(honoured))})]

    def told(self, frame: Frame) -> list[Command]:
        """The server says that something changed."""
        uri = text(members(frame.params).get("uri")) if frame.method == methods.UPDATED else ""
        return [
            _to(listener, frame.method or "", members(frame.params))
            for listener in self._listeners
            if listener.acknowledged and (uri in listener.uris if uri else _listens(listener, frame.method))
        ]

    def leave(self, asked: Asked, now: float) -> list[Command]:
        """A host stops listening; the server stops telling of what nobody else listens for."""
        gone = [listener for listener in self._listeners if listener.asked is asked]
        self._listeners = [listener for listener in self._listeners if listener.asked is not asked]
        commands: list[Command] = []
        for uri in sorted({uri for listener in gone for uri in listener.uris} - self._told_of):
            commands += self._unsubscribe(uri, now)
        return commands

    def renew(self, now: float) -> list[Command]:
        """The server forgot the session, and with it what it was to tell of."""
        commands: list[Command] = []
        for uri in sorted(self._told_of):
            params = joined({"uri": encoded(uri)})
            commands += self._bridge.request(methods.SUBSCRIBE, params, now, lambda _frame, _now: [])
        return commands


def _is_true(raw: Raw | None) -> bool:
    return raw is not None and bytes(raw) == _TRUE


def _listens(listener: _Listener, method: str | None) -> bool:
    return any(methods.LIST_CHANGES[word][1] == method for word in listener.lists)


def _to(listener: _Listener, method: str, params: dict[str, Raw]) -> Command:
    """Under the id of the request that opened the subscription."""
    tagged = envelope.tagged(Raw(joined(params)), methods.META_SUBSCRIPTION, Raw(listener.asked.id))
    return notification(method, members(tagged))
