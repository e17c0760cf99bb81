"""The way to a server: directly or through a proxy, and whose certificates are believed.

As `oauth.http` and `upstream.network` choose it; only the first never asks a proxy for this machine.
"""

import ssl
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import httpx2

from acp_stdio.settings.model import NetworkSettings
from acp_stdio.settings.origin import is_loopback
from acp_stdio.upstream.proxy import Proxy, parse_proxy
from acp_stdio.upstream.tls import client_context

PROXY_VARIABLES: Final = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "http_proxy", "HTTP_PROXY")
TRUST_VARIABLES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")


@dataclass(frozen=True, slots=True)
class Route:
    """How one server is reached."""

    proxy: Proxy | None
    because: str
    """Where the proxy comes from, or why there is none; for people."""


def route_of(url: str, network: NetworkSettings, *, provider: bool) -> Route:
    """The way to `url`; `provider`: it is the identity provider's. Raises `ValueError` for a proxy that is none.

    Reads this process's environment, as both clients do.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "http" or (provider and is_loopback(host)):
        return Route(None, "directly: it is this machine")
    if network.proxy:
        return Route(parse_proxy(network.proxy), "[network] proxy")
    usual = urllib.request.getproxies()
    address = usual.get("https") or usual.get("all") or ""
    if not address:
        return Route(None, "directly: no proxy is configured")
    if urllib.request.proxy_bypass(host):
        return Route(None, "directly: NO_PROXY names it")
    return Route(parse_proxy(address), "the environment or the system's settings")


def trust_of(network: NetworkSettings, *, provider: bool) -> ssl.SSLContext:
    """The context that the client in question checks certificates with. Raises `Failure`."""
    if network.ca_bundle or not provider:
        return client_context(network.ca_bundle)
    return httpx2.create_ssl_context()


def trusted(network: NetworkSettings, environ: Mapping[str, str]) -> str:
    """Whose certificates are believed, for people."""
    named = [f"{name}={environ[name]}" for name in TRUST_VARIABLES if environ.get(name)]
    return network.ca_bundle or " ".join(named) or "the system's certificates"
