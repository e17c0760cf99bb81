"""An MCP server as it describes itself to somebody without a token, and the authorization server it names."""

from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx2

from acp_stdio.errors import Failure
from acp_stdio.oauth.cache import PublicCache
from acp_stdio.oauth.challenge import ask
from acp_stdio.oauth.defaults import discover_own
from acp_stdio.oauth.metadata import AuthorizationServer, discover
from acp_stdio.oauth.presets import Preset
from acp_stdio.oauth.resource import ProtectedResource, look_for_resource
from acp_stdio.oauth.words import plain
from acp_stdio.settings import checks
from acp_stdio.settings.model import UpstreamSettings

_BOTH_WAYS = (
    "Ask whoever runs the server to publish protected resource metadata (RFC 9728), "
    "or write `issuer` and `client_id` of your identity provider under [identity]."
)


@dataclass(frozen=True, slots=True)
class Described:
    """What one upstream says about itself."""

    upstream: UpstreamSettings
    metadata: ProtectedResource | None
    """None: it publishes none."""
    challenged_scopes: tuple[str, ...] = ()
    """Of its 401, which counts for more than the metadata (MCP authorization, scope selection)."""
    its_own: bool = False
    """It refused us (401) and said nowhere who its authorization server is: as far as anybody can tell, itself."""

    @property
    def resource(self) -> str:
        """What to ask tokens for, byte for byte; without metadata its address."""
        return self.metadata.resource if self.metadata else self.upstream.resource

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes that it asks for; none: it does not say."""
        published = self.metadata.scopes_supported if self.metadata else ()
        return self.challenged_scopes or tuple(scope for scope in published if not checks.scope(scope))

    @property
    def issuers(self) -> tuple[str, ...]:
        """The authorization servers that it names; without metadata its own origin, as in MCP 2025-03-26."""
        if self.metadata is not None:
            return self.metadata.authorization_servers
        parts = urlsplit(self.upstream.url)
        return (f"{parts.scheme}://{parts.netloc}",)


def describe(upstream: UpstreamSettings, http: httpx2.Client) -> Described:
    """Asks without a token, then reads the metadata that the refusal points to, or the well-known one.

    Raises `Failure`: upstream_unreachable, wrong_audience.
    """
    if upstream.transport == "stdio":
        return Described(upstream, None)  # the configuration says all that there is to say
    challenge = ask(upstream.url, http)
    metadata, absent = look_for_resource(upstream.url, http, challenge=challenge.resource_metadata or None)
    its_own = challenge.refused and absent and not challenge.resource_metadata
    return Described(upstream, metadata, challenge.scopes, its_own)


def discover_from(
    described: Described, preset: Preset, http: httpx2.Client, cache: PublicCache | None = None
) -> AuthorizationServer:
    """The first authorization server that `described` names and that can be used.

    Raises `Failure`, of the last one's reason, with the ways out.
    """
    why = Failure("configuration_invalid", "its metadata names no authorization server.")
    look = discover_own if described.its_own else discover
    for issuer in described.issuers:
        try:
            _check(issuer, described.upstream.url)
            return look(issuer, preset, http, cache)
        except Failure as failure:
            why = failure
    raise Failure(
        why.reason,
        f"{described.upstream.url} does not say where to sign in: {why.message}",
        _BOTH_WAYS,
    )


def _check(issuer: str, url: str) -> None:
    """A server elsewhere must not have us talk to something on this machine."""
    problem = checks.issuer(issuer)
    if not problem and urlsplit(issuer).scheme == "http" and urlsplit(url).scheme != "http":
        problem = "must use https"
    if problem:
        raise Failure("configuration_invalid", f"it names {plain(issuer)}, which {problem}.")
