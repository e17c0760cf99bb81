"""One request from the moment it is asked for until its receiver has heard the end of it."""

import math
from typing import Protocol

from acp_stdio.upstream.http import Receiver


class Carrier(Protocol):
    """Where a call is at the moment: in the pool's queue or on a connection."""

    def abandon(self, call: "Call") -> None: ...


class Call:
    """One request and its receiver: what the caller holds as `Exchange`."""

    __slots__ = ("_receiver", "body", "carrier", "deadline", "head", "seconds", "sent")

    def __init__(self, head: bytes, body: bytes, receiver: Receiver) -> None:
        self.head = head
        self.body = body
        self._receiver: Receiver | None = receiver
        self.carrier: Carrier | None = None
        self.sent = False
        self.deadline = math.inf
        """Loop time at which the pool gives the call up."""
        self.seconds: float | None = None
        """From the request to the head; None: only the wait for a connection is bounded."""

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

    def give_up(self, why: str) -> None:
        """Leaves the queue or closes the connection, then fails."""
        receiver = self._settle()
        if receiver is not None:
            if self.carrier is not None:
                self.carrier.abandon(self)
            receiver.on_failed(self.sent, why)

    def _settle(self) -> Receiver | None:
        receiver, self._receiver = self._receiver, None
        return receiver
