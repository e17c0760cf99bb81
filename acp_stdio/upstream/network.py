"""From the network settings to a connector: trust, and the way out."""

from collections.abc import Mapping

from acp_stdio.settings.model import NetworkSettings
from acp_stdio.upstream.http import Connector
from acp_stdio.upstream.pool import LeanConnector
from acp_stdio.upstream.proxy import parse_proxy


def connect(origin: str, network: NetworkSettings, environ: Mapping[str, str]) -> Connector:
    """A connector to one origin. The proxy is the configured one, else the environment's or the system's."""
    if not origin.startswith("https:"):
        return LeanConnector(origin)
    from acp_stdio.upstream.tls import client_context

    proxy = network.proxy or _usual_proxy(origin, environ)
    return LeanConnector(origin, tls=client_context(network.ca_bundle), proxy=parse_proxy(proxy) if proxy else None)


def _usual_proxy(origin: str, environ: Mapping[str, str]) -> str:
    import urllib.request  # 40 ms, for https only: it knows NO_PROXY's rules and the systems' settings

    host = origin.removeprefix("https://")
    if urllib.request.proxy_bypass(host.rpartition(":")[0].strip("[]")):
        return ""
    return urllib.request.getproxies().get("https", "")
