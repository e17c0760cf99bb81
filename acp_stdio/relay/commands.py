"""What the relay wants done. Imperatives; the runtime carries them out in order."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from acp_stdio.relay.mind import Mind

from msgspec import Raw

Headers = tuple[tuple[str, str], ...]
_NO_PARAMS = Raw(b"{}")


class CallRecord(NamedTuple):
    """What the trail says about one request."""

    method: str
    tool: str
    agent: str
    agent_version: str
    bytes_in: int
    trace: str
    """The host's own `traceparent` (MCP `_meta`, SEP-414); empty where it sent none."""
    params: Raw = _NO_PARAMS
    """As they came; what of them is recorded is the trail's to decide."""


class ToHost(NamedTuple):
    """Write one frame to the host."""

    raw: bytes


class Post(NamedTuple):
    """Send one frame upstream with the person's token; with a `record`, only after its intent is durable."""

    call: int
    raw: bytes
    headers: Headers
    record: CallRecord | None


class OpenStream(NamedTuple):
    """Open the session's GET stream (Streamable HTTP up to 2025-11-25)."""

    call: int
    headers: Headers


class EndSession(NamedTuple):
    """DELETE the session, without waiting for the answer for long."""

    headers: Headers


class Abort(NamedTuple):
    """Close the call's exchange, or forget it if it has not left yet. No event follows."""

    call: int


class Withdraw(NamedTuple):
    """Forget the call if it has not left yet: it waits for a token, and nobody waits for it."""

    call: int


class Settle(NamedTuple):
    """Write the one outcome of a recorded request: after an intent its end, else a denial."""

    call: int
    record: CallRecord
    outcome: str
    reason: str
    bytes_out: int


class RunHelper(NamedTuple):
    """Run one of our own tools; its end is told to `Relay.helper_finished`."""

    call: int
    tool: str


class Learn(NamedTuple):
    """Remember for the next start what the upstream answered. `key`: see `catalogue.model`."""

    key: str
    result: bytes


class HandOver(NamedTuple):
    """Ask this mind from now on: host and upstream turned out to speak different eras, or the same after all."""

    mind: "Mind"


class Wake(NamedTuple):
    """Call `Relay.tick` after so many seconds."""

    seconds: float


Command = ToHost | Post | OpenStream | EndSession | Abort | Withdraw | Settle | RunHelper | Learn | HandOver | Wake
