"""The seam between a call and the HTTP that carries it.

Callbacks instead of coroutines: a call then costs no task, future or queue. Everything here runs on
the event loop's thread. `upstream.pool.LeanConnector` is the implementation for the hot path.
"""

import socket
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit


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


class Origin(NamedTuple):
    """Scheme, host and port (RFC 6454), the host as it goes to DNS: ASCII, no brackets."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """For `Host` and for people: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"


def parse_origin(url: str) -> Origin:
    """The origin of an https URL, or of an http one on a loopback address. Raises `ValueError`."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ValueError("an upstream's URL is https://host or, on this machine, http://localhost")
    host = parts.hostname
    if not host.isascii():
        host = host.encode("idna").decode("ascii")
    if parts.scheme == "http" and host != "localhost" and not is_loopback(host):
        raise ValueError(f"plain http is for loopback addresses only, and {host} is not one; use https")
    return Origin(parts.scheme, host, parts.port or (443 if parts.scheme == "https" else 80))


def is_loopback(address: str) -> bool:
    """Whether this literal IP address is 127.0.0.0/8 or ::1."""
    try:
        return socket.inet_pton(socket.AF_INET, address)[0] == 127
    except OSError:
        pass
    try:
        return socket.inet_pton(socket.AF_INET6, address) == b"\0" * 15 + b"\1"
    except OSError:
        return False
