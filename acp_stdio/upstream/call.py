"""One request from the moment it is asked for until its receiver has heard the end of it."""

import asyncio
from typing import Protocol

from acp_stdio.upstream.http import Receiver


class Carrier(Protocol):
    """Where a call is at the moment: in the pool's queue or on a connection."""

    def abandon(self, call: "Call") -> None: ...


class Call:
    """One request and its receiver: what the caller holds as `Exchange`."""

    __slots__ = ("_receiver", "body", "carrier", "head", "patient", "sent", "timer")

    def __init__(self, head: bytes, body: bytes, receiver: Receiver) -> None:
        self.head = head
        self.body = body
        self._receiver: Receiver | None = receiver
        self.carrier: Carrier | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.patient = False
        """Its timer bounds the wait for a connection only."""
        self.sent = False

    @property
    def receiver(self) -> Receiver | None:
        """None once the call is over."""
        return self._receiver

    def abort(self) -> None:
        carrier = self.carrier
        if self._settle() is not None and carrier is not None:
            carrier.abandon(self)

    def fail(self, why: str) -> None:
        receiver = self._settle()
        if receiver is not None:
            receiver.on_failed(self.sent, why)

    def end(self) -> None:
        receiver = self._settle()
        if receiver is not None:
            receiver.on_end()

    def expire(self, seconds: float, what: str) -> None:
        """The timer's end: gives the call up and says so."""
        receiver, carrier = self._settle(), self.carrier
        if carrier is not None:
            carrier.abandon(self)
        if receiver is not None:
            receiver.on_failed(self.sent, f"{what} within {seconds:g} s")

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def _settle(self) -> Receiver | None:
        self.stop_timer()
        receiver, self._receiver = self._receiver, None
        return receiver
