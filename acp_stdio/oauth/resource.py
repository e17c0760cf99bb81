"""What an MCP server says about itself (RFC 9728): compared with our settings, never obeyed."""

from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

import httpx2

from acp_stdio.errors import Failure
from acp_stdio.identity.well_known import resource_metadata
from acp_stdio.oauth.http import look_for_json
from acp_stdio.oauth.presets import GENERIC, Preset
from acp_stdio.oauth.words import plain
from acp_stdio.settings import checks
from acp_stdio.settings.origin import origin_of


@dataclass(frozen=True, slots=True)
class ProtectedResource:
    """Protected resource metadata whose `resource` covers the URL it was asked for."""

    resource: str
    """The identifier to ask tokens for, byte for byte (RFC 8707)."""
    authorization_servers: tuple[str, ...] = ()
    scopes_supported: tuple[str, ...] = ()

    def require_issuer(self, issuer: str, preset: Preset = GENERIC) -> None:
        """Refuses to send a token of `issuer` to a server that trusts others only.

        A server for many tenants may name its provider as all of them do (`preset`).
        Raises `Failure(configuration_invalid)`. A server that names none leaves it to the settings.
        """
        known = {issuer, *preset.shared_issuers(issuer)}
        if self.authorization_servers and known.isdisjoint(self.authorization_servers):
            names = ", ".join(plain(name) for name in self.authorization_servers)
            raise Failure(
                "configuration_invalid",
                f"{self.resource} takes tokens of {names}, but the configuration names {issuer}.",
                "Correct `issuer`, to the last character, or the upstream's url.",
            )


def protected_resource(url: str, http: httpx2.Client, *, challenge: str | None = None) -> ProtectedResource | None:
    """The metadata of the MCP server at `url`; None where it publishes none.

    `challenge` is `resource_metadata` of a 401's `WWW-Authenticate`: it is asked first, and only
    on the server's own origin, so that a server cannot send us anywhere else.
    Raises `Failure`: `upstream_unreachable`, or `wrong_audience` where the metadata is another's.
    """
    return look_for_resource(url, http, challenge=challenge)[0]


def look_for_resource(
    url: str, http: httpx2.Client, *, challenge: str | None = None
) -> tuple[ProtectedResource | None, bool]:
    """As `protected_resource`; the second says whether each place answered that nothing is there (404)."""
    absent = True
    for address in metadata_urls(url, challenge):
        status, document = look_for_json(http, address, reason="upstream_unreachable")
        if document is not None:
            return parse_resource(document, url), False
        absent = absent and status == 404
    return None, absent


def metadata_urls(url: str, challenge: str | None = None) -> tuple[str, ...]:
    """Where the metadata may lie, in the order of the MCP authorization specification."""
    parts = urlsplit(url)
    addresses = [resource_metadata(url), resource_metadata(f"{parts.scheme}://{parts.netloc}")]
    if challenge and not checks.url(challenge) and origin_of(challenge) == origin_of(url):
        addresses.insert(0, challenge)
    return tuple(dict.fromkeys(addresses))


def parse_resource(document: dict[str, Any], url: str) -> ProtectedResource:
    """Checks that `document` is about `url`, or about a path above it on the same origin (RFC 9728
    section 3.3). Raises `Failure(wrong_audience)`."""
    resource = document.get("resource")
    if not isinstance(resource, str) or not checks.covers(resource, url):
        raise Failure(
            "wrong_audience",
            f"{url} publishes metadata of another resource, {plain(str(resource))}: no token is sent there.",
            "Check the upstream's url; if it is right, tell whoever runs that server.",
        )
    return ProtectedResource(resource, _texts(document, "authorization_servers"), _texts(document, "scopes_supported"))


def _texts(document: dict[str, Any], name: str) -> tuple[str, ...]:
    value = document.get(name)
    items = cast("list[object]", value) if isinstance(value, list) else []
    return tuple(item for item in items if isinstance(item, str))
