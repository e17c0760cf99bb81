"""From the settings to a connector: trust, the way out, and the transport."""

import os

from acp_stdio.errors import Failure
from acp_stdio.settings.model import NetworkSettings, UpstreamSettings
from acp_stdio.settings.origin import is_loopback, origin_of, target_of
from acp_stdio.upstream.attach import Attacher, AuthorizedConnector, ChildAttacher
from acp_stdio.upstream.http import Connector
from acp_stdio.upstream.http_sse import SseConnector
from acp_stdio.upstream.ladder import LadderConnector
from acp_stdio.upstream.pool import LeanConnector
from acp_stdio.upstream.possession import ProvingConnector
from acp_stdio.upstream.proxy import parse_proxy


def attached(upstream: UpstreamSettings, network: NetworkSettings) -> tuple[Attacher, str]:
    """Who sends to one upstream as a person, and the target that it is sent to. Raises as `connect` does."""
    if upstream.transport != "stdio":
        origin = str(origin_of(upstream.url))
        proving = ProvingConnector(connect(origin, network), origin)
        return AuthorizedConnector(_spoken(proving, upstream), origin, upstream.name, proving), target_of(upstream.url)
    import random

    from acp_stdio.upstream.child import ChildConnector
    from acp_stdio.upstream.child_process import environment

    child = ChildConnector(
        upstream.name,
        upstream.command[0],
        upstream.command[1:],
        environment(os.environ, upstream.env),
        jitter=random.random,
        quiet=bool(upstream.token_meta),  # it may write down what it was given
    )
    return ChildAttacher(child, upstream.url, upstream.name, upstream.token_meta), "/"


def reach(upstream: UpstreamSettings, network: NetworkSettings) -> Connector:
    """A connector to one upstream over HTTP, for who has no token. Raises as `connect` does."""
    return _spoken(connect(str(origin_of(upstream.url)), network), upstream)


def _spoken(http: Connector, upstream: UpstreamSettings) -> Connector:
    """The upstream's transport over `http`."""
    if upstream.transport == "http":
        return http
    return SseConnector(http, upstream.url) if upstream.transport == "sse" else LadderConnector(http, upstream.url)


def connect(origin: str, network: NetworkSettings) -> Connector:
    """A connector to one origin. The proxy is the configured one, else the environment's or the system's.

    This machine is reached without one. Raises `Failure("configuration_invalid")` for a proxy or a CA
    bundle that cannot be used.
    """
    if not origin.startswith("https:"):
        return LeanConnector(origin)
    from acp_stdio.upstream.tls import client_context

    here = is_loopback(origin_of(origin).host)  # for a proxy, `localhost` is another machine
    proxy = "" if here else network.proxy or _usual_proxy(origin)
    try:
        way_out = parse_proxy(proxy) if proxy else None
    except ValueError as e:
        raise Failure("configuration_invalid", f"The proxy cannot be used: {e}.", "Set [network] proxy.") from None
    return LeanConnector(origin, tls=client_context(network.ca_bundle), proxy=way_out)


def _usual_proxy(origin: str) -> str:
    import urllib.request  # 40 ms, for https only: it knows NO_PROXY's rules and the systems' settings

    host = origin.removeprefix("https://")
    if urllib.request.proxy_bypass(host.rpartition(":")[0].strip("[]")):
        return ""
    known = urllib.request.getproxies()
    return known.get("https") or known.get("all") or ""
