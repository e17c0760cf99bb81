"""How an exchange with the upstream ended. Facts; the relay decides what they mean."""

from typing import NamedTuple


class Ending(NamedTuple):
    """The end of one HTTP exchange, after all frames that it carried.

    `status` is None where no head came; then `sent` says whether the request may have
    reached the server and `why` what broke. `body` is filled for statuses from 300 only.
    """

    status: int | None
    sent: bool = True
    why: str = ""
    body: bytes = b""
    challenge: str = ""
    """The `WWW-Authenticate` header."""
    last_event_id: str = ""
    """Of an SSE stream: where the server can go on (MCP 2025-11-25, resumability and redelivery)."""
    retry: float | None = None
    """Seconds after which the server wants to be asked again."""
