"""For servers on the MCP SDK (2.x) that use its own authorization: `MCPServer(token_verifier=SdkVerifier(…), auth=…)`.

The SDK then answers 401 and 403, serves the metadata and binds sessions to people. `caller_of(ctx)` says in a tool
who is asking. Not imported by `acp_stdio.backend` itself: it needs `mcp`.
"""

import logging
from typing import Any

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.mcpserver import Context
from pydantic import SkipValidation

from acp_stdio.backend.body import tool_of
from acp_stdio.backend.caller import Caller
from acp_stdio.backend.refusals import InsufficientScope, InvalidToken
from acp_stdio.backend.verifier import TokenVerifier
from acp_stdio.identity.signed import audiences

_log = logging.getLogger("acp_stdio.backend")


class ProvenToken(AccessToken):
    """The SDK's value with the person whom the token proves."""

    caller: SkipValidation[Caller]


class SdkVerifier:
    """The SDK's `TokenVerifier` protocol over ours. Scopes are the SDK's to check (`required_scopes`)."""

    def __init__(self, verifier: TokenVerifier) -> None:
        self._verifier = verifier

    async def verify_token(self, token: str) -> ProvenToken | None:
        """None: refused, and the log says why. Raises `KeysUnavailable`, which becomes the server's own 500."""
        try:
            caller = await self._verifier.verify_async(token)
        except (InvalidToken, InsufficientScope) as refusal:
            _log.info("refused: %s", refusal.why)
            return None
        return ProvenToken(
            token=token,
            client_id=caller.client,
            scopes=sorted(caller.scopes),
            expires_at=int(caller.claims["exp"]),
            resource=next((each for each in audiences(caller.claims) if each in self._verifier.audience), None),
            subject=caller.claims["sub"],
            claims=dict(caller.claims),
            caller=caller,
        )


def caller_of(ctx: Context[Any, Any]) -> Caller:
    """Who called the tool that has this `Context`. Raises `LookupError` where nobody was verified."""
    context = ctx.request_context
    request: Any = context.request
    user: object = getattr(request, "scope", {}).get("user")
    token = user.access_token if isinstance(user, AuthenticatedUser) else None
    if request is None or not isinstance(token, ProvenToken):
        raise LookupError("this call came in without a token that SdkVerifier has verified")
    client = ctx.session.client_params
    info = (client.client_info.name, client.client_info.version) if client else None
    headers = {name.lower(): value for name, value in request.headers.items()}
    return token.caller.asking(headers, tool_of(context.method, context.params), info)
