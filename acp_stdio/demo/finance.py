"""The demo's finance server: `python -m acp_stdio.demo.finance`.

An MCP server on the official SDK. With `--api-key` everybody who knows the key is the same service account
and may do everything; with `--issuer` every call carries the caller's own token, and log and rights are the
person's. Prints one JSON line, {"url": …} (with `--api-key` also {"api_key": …}), then a line per tool call.
"""

import argparse
import hmac
import os
import secrets
import socket
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO

import anyio
import uvicorn
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.provider import TokenVerifier as SdkProtocol
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CallToolResult, TextContent
from starlette.requests import Request

from acp_stdio.backend import Caller, TokenVerifier
from acp_stdio.backend.mcp_sdk import ProvenToken, SdkVerifier, caller_of
from acp_stdio.demo.lifetime import announce, end_with_parent, loopback_socket
from acp_stdio.demo.people import SCOPE, SERVICE_ACCOUNT

REPORTS: Final = {
    "Q1": "Revenue 4.1 M, costs 3.2 M, profit 0.9 M",
    "Q2": "Revenue 4.4 M, costs 3.3 M, profit 1.1 M",
    "Q3": "Revenue 4.9 M, costs 3.5 M, profit 1.4 M",
}
SALARIES: Final = {"ceo": "The CEO is paid 612,000 a year"}
ACCOUNTING: Final = "accounting"


class SharedKey:
    """The usual way: whoever knows the key is the service account, and may do everything."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    async def verify_token(self, token: str) -> AccessToken | None:
        if not hmac.compare_digest(token.encode(), self._key):
            return None
        everybody = Caller(user=SERVICE_ACCOUNT, label=SERVICE_ACCOUNT)
        return ProvenToken(token=token, client_id=SERVICE_ACCOUNT, scopes=[], subject=SERVICE_ACCOUNT, caller=everybody)


def require_accounting(caller: Caller, what: str) -> None:
    """Raises `PermissionError` with a sentence for the person. With a shared key there is no person to refuse."""
    if caller.user != SERVICE_ACCOUNT and ACCOUNTING not in caller.claims.get("groups", ()):
        raise PermissionError(f"{caller.label} may not read {what}")


class Finance:
    """The tools, and the line in the log that each call leaves."""

    def __init__(self, logs: Sequence[TextIO]) -> None:
        self._logs = logs

    def quarterly_report(self, quarter: str, ctx: Context[Any, Request]) -> CallToolResult:
        """The figures of one quarter, for example Q3."""
        return self._call(ctx, "the quarterly report", lambda: REPORTS[quarter.upper()])

    def salary(self, person: str, ctx: Context[Any, Request]) -> CallToolResult:
        """What somebody is paid, for example "ceo"."""
        who = person.lower()
        what = "the CEO's pay" if who == "ceo" else "salaries"
        return self._call(ctx, what, lambda: SALARIES[who])

    def _call(self, ctx: Context[Any, Request], what: str, answer: Callable[[], str]) -> CallToolResult:
        caller = caller_of(ctx)
        try:
            require_accounting(caller, what)
            text, outcome = answer(), "ok"
        except PermissionError as error:
            text, outcome = str(error), "denied"
        except KeyError:
            text, outcome = "There are no such figures.", "error"
        moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        for log in self._logs:
            print(moment, caller.line(outcome), file=log, flush=True)
        return CallToolResult(content=[TextContent(text=text)], is_error=outcome != "ok")


def build(verifier: SdkProtocol, issuer: str, url: str, personal: bool, logs: Sequence[TextIO]) -> MCPServer[Any]:
    """The MCP server at `url`; with `personal` tokens it names its issuer by RFC 9728."""
    auth = AuthSettings.model_validate(  # from text: an AnyHttpUrl of its own would add a slash to the issuer
        {
            "issuer_url": issuer,
            "required_scopes": [SCOPE] if personal else [],
            "resource_server_url": url if personal else None,
            "validate_token_resource": personal,
        }
    )
    server: MCPServer[Any] = MCPServer(
        "acme-finance", version="1.0", token_verifier=verifier, auth=auth, log_level="CRITICAL"
    )
    finance = Finance(logs)
    server.add_tool(finance.quarterly_report)
    server.add_tool(finance.salary)
    return server


async def serve(server: MCPServer[Any], listener: socket.socket) -> None:
    config = uvicorn.Config(
        server.streamable_http_app(), log_config=None, access_log=False, timeout_graceful_shutdown=1
    )
    await uvicorn.Server(config).serve(sockets=[listener])


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="acp_stdio.demo.finance", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--api-key", action="store_true", help="make up one key for everybody")
    mode.add_argument("--issuer", help="accept personal tokens of this identity provider")
    parser.add_argument("--audience", help="what a token must be for; default: this server's URL")
    parser.add_argument("--log", type=Path, help="write the line of each call to this file, too")
    parser.add_argument("--until-eof", action="store_true", help="end when stdin closes")
    args = parser.parse_args(argv)
    listener = loopback_socket(args.port)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
    facts = {"url": url}
    if args.api_key:
        facts["api_key"] = secrets.token_urlsafe(24)
        verifier: SdkProtocol = SharedKey(facts["api_key"])
    else:
        verifier = SdkVerifier(TokenVerifier(args.issuer, args.audience or url))
    with open(args.log or os.devnull, "a", encoding="utf-8") as log:
        server = build(verifier, args.issuer or url, args.audience or url, not args.api_key, (sys.stdout, log))
        if args.until_eof:
            end_with_parent()
        announce(facts)
        anyio.run(serve, server, listener)


if __name__ == "__main__":
    main()
