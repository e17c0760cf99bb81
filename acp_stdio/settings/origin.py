"""Where a URL leads: its origin (RFC 6454), and whether that is this machine."""

import re
from typing import NamedTuple
from urllib.parse import urlsplit

_IPV4_LOOPBACK = re.compile(r"127(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3}", re.ASCII)


class Origin(NamedTuple):
    """Scheme, host and port. The host is in lower case and has no brackets; the port is always said."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """For `Host` and for people: the port only where it is not the scheme's own."""
        return self._host if self.port == (443 if self.scheme == "https" else 80) else f"{self._host}:{self.port}"

    @property
    def _host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host

    def __str__(self) -> str:
        """`scheme://host:port`: what a token is bound to."""
        return f"{self.scheme}://{self._host}:{self.port}"


def origin_of(url: str) -> Origin:
    """The origin of a complete URL. Raises `ValueError` for a port that is none."""
    parts = urlsplit(url)
    return Origin(parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))


def reachable_origin(url: str) -> Origin:
    """The origin of an https URL, or of an http one on this machine, the host as it goes to DNS: ASCII.

    Raises `ValueError` for any other.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ValueError("an upstream's URL is https://host or, on this machine, http://localhost")
    origin = origin_of(url)
    if not origin.host.isascii():
        origin = origin._replace(host=origin.host.encode("idna").decode("ascii"))
    if origin.scheme == "http" and not is_loopback(origin.host):
        raise ValueError(f"plain http is for loopback addresses only, and {origin.host} is not one; use https")
    return origin


def target_of(url: str) -> str:
    """Path and query, as they stand in a request line."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def is_loopback(host: str) -> bool:
    """127.0.0.0/8, ::1 and `localhost`, which RFC 6761 section 6.3 keeps on this machine."""
    return host in {"localhost", "::1"} or _IPV4_LOOPBACK.fullmatch(host) is not None
