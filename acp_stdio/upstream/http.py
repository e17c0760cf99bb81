"""The seam between a call and the HTTP that carries it.

Callbacks instead of coroutines: a call then costs no task, future or queue. Everything here runs on
the event loop's thread. `upstream.pool.LeanConnector` is the implementation for the hot path.
"""

from typing import Protocol


class Receiver(Protocol):
    """Gets one answer. Exactly one of `on_end` and `on_failed` comes last, exactly once, unless
    the exchange was aborted; none comes before `Connector.request` has returned."""

    def on_head(self, status: int, headers: dict[str, str]) -> None:
        """The final status; names in lower case, values as latin-1, repeated ones joined with `, `."""
        ...

    def on_data(self, data: bytes) -> None:
        """The next piece of the body, transfer coding removed. The receiver bounds the total."""
        ...

    def on_end(self) -> None: ...

    def on_failed(self, sent: bool, why: str) -> None:
        """`sent`: may a byte of the request have reached the server? `why`: words for people, no secrets."""
        ...


class Exchange(Protocol):
    """One request under way."""

    @property
    def sent(self) -> bool:
        """May a byte of it have reached the server?"""
        ...

    def abort(self) -> None:
        """Closes the connection it runs on, which MCP 2026-07-28 takes as cancellation. No callback
        follows. Does nothing once the exchange is over."""
        ...


class Connector(Protocol):
    """Sends requests to one origin; it has no way to send anywhere else."""

    def request(
        self,
        method: str,
        target: str,
        header_block: bytes,
        body: bytes,
        receiver: Receiver,
        *,
        head_timeout: float | None,
    ) -> Exchange:
        """Starts a request and returns at once.

        `target` is path and query; `header_block` is `wire.headers.header_block`'s, without `Host`,
        `Content-Length` and `Transfer-Encoding`, which are the connector's. `head_timeout`: seconds
        from now until the answer's head; None waits for as long as the connection stands. Raises
        `ValueError` if the request would not be one well-formed HTTP request.
        """
        ...

    def hold(self, held: bool) -> None:
        """While held nothing more is read from the server: whoever gets it does not keep up."""
        ...

    async def aclose(self) -> None:
        """Fails what is under way and closes every connection."""
        ...
