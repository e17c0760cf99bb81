"""An MCP server on the SDK that verifies tokens and then drops the name: `python -m tests.kit.nameless_server`.

Prints {"url": …}, and writes one line for each tool call into `--log`: the request's id, and nobody. With
`--any-audience` it takes the issuer's tokens for everybody.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import anyio
import jwt
import uvicorn
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import Context, MCPServer

from acp_stdio.demo.lifetime import announce, loopback_socket


class Verifier:
    """What one finds in tutorials: PyJWT with the issuer's keys."""

    def __init__(self, issuer: str, audience: str, any_audience: bool) -> None:
        self._issuer, self._audience, self._any = issuer, audience, any_audience
        self._keys = jwt.PyJWKClient(f"{issuer}/jwks")

    async def verify_token(self, token: str) -> AccessToken | None:
        try:
            key = await anyio.to_thread.run_sync(self._keys.get_signing_key_from_jwt, token)
            options: Any = {"verify_aud": not self._any}
            claims: dict[str, Any] = jwt.decode(
                token, key, ["RS256"], audience=self._audience, issuer=self._issuer, options=options
            )
        except jwt.PyJWTError:
            return None
        return AccessToken(token=token, client_id="somebody", scopes=[], subject=claims["sub"], claims=claims)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--issuer", required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--any-audience", action="store_true")
    args = parser.parse_args()
    listener = loopback_socket(0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
    auth = AuthSettings.model_validate(
        {"issuer_url": args.issuer, "resource_server_url": url, "validate_token_resource": False}
    )
    verifier = Verifier(args.issuer, url, args.any_audience)
    server: MCPServer[Any] = MCPServer("nameless", token_verifier=verifier, auth=auth, log_level="CRITICAL")

    @server.tool()
    def report(ctx: Context[Any, Any]) -> str:  # pyright: ignore[reportUnusedFunction]  # the decorator keeps it
        """Harmless."""
        request: Any = ctx.request_context.request
        with open(args.log, "a", encoding="utf-8") as log:
            log.write(f"user=service-account tool=report request={request.headers['x-request-id']}\n")
        return "profit"

    announce({"url": url})
    config = uvicorn.Config(
        server.streamable_http_app(), log_config=None, access_log=False, timeout_graceful_shutdown=1
    )
    anyio.run(uvicorn.Server(config).serve, [listener])


if __name__ == "__main__":
    sys.exit(main())
