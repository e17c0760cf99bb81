"""An MCP server that is its own authorization server and publishes nothing about that (MCP 2025-03-26).

Authorization, fallbacks for servers without metadata discovery: the endpoints then have fixed paths at the server's
origin. A code or token goes nowhere else by that than to the origin that gets the access token in the end.
"""

from typing import Final

import httpx2

from acp_stdio.oauth.cache import PublicCache
from acp_stdio.oauth.metadata import AuthorizationServer, Unpublished, discover
from acp_stdio.oauth.presets import Preset

_DEVIATION: Final = "it publishes no metadata, so its endpoints are where MCP 2025-03-26 has them by default"


def discover_own(
    origin: str, preset: Preset, http: httpx2.Client, cache: PublicCache | None = None
) -> AuthorizationServer:
    """As `discover`, of the MCP server at `origin`; the default endpoints where it says that it has no metadata.

    Only 404 says so: a server in trouble, or one that cannot be reached, may have some.
    """
    try:
        return discover(origin, preset, http, cache)
    except Unpublished:
        return AuthorizationServer(
            issuer=origin,
            authorization_endpoint=f"{origin}/authorize",
            token_endpoint=f"{origin}/token",
            registration_endpoint=f"{origin}/register",
            deviations=(_DEVIATION,),
            defaults=True,
        )
