"""The demo's finance server: `python -m acp_stdio.demo.finance`.

An MCP server on the official SDK. With `--api-key` everybody who knows the key is the same service account
and may do everything; with `--issuer` every call carries the caller's own token, and log and rights are the
person's. Prints one JSON line, {"url": …} (with `--api-key` also {"api_key": …}), then a line per tool call.
"""

import argparse
import secrets
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import anyio
import uvicorn
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken, TokenVerifier
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, TextContent
from starlette.requests import Request

from acp_stdio.demo.finance_auth import SERVICE_ACCOUNT, PersonalToken, SharedKey
from acp_stdio.demo.finance_log import Entry, agent_of
from acp_stdio.demo.lifetime import announce, end_with_parent, loopback_socket
from acp_stdio.demo.people import SCOPE

REPORTS: Final = {
    "Q1": "Revenue 4.1 M, costs 3.2 M, profit 0.9 M",
    "Q2": "Revenue 4.4 M, costs 3.3 M, profit 1.1 M",
    "Q3": "Revenue 4.9 M, costs 3.5 M, profit 1.4 M",
}
SALARIES: Final = {"ceo": "The CEO is paid 612,000 a year"}
ACCOUNTING: Final = "accounting"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who the finance server believes it is talking to."""

    label: str
    sub: str
    groups: tuple[str, ...]
    anybody: bool
    """Came in with the shared key, so nothing is known and everything is allowed."""

    @classmethod
    def of(cls, token: AccessToken) -> "Caller":
        if token.claims is None:
            return cls(SERVICE_ACCOUNT, SERVICE_ACCOUNT, (), anybody=True)
        groups = tuple(str(group) for group in token.claims.get("groups", []))
        return cls(str(token.claims.get("email", token.subject)), token.subject or "", groups, anybody=False)

    def require_accounting(self, what: str) -> None:
        """Raises `PermissionError` with a sentence for the person."""
        if not self.anybody and ACCOUNTING not in self.groups:
            raise PermissionError(f"{self.label} may not read {what}")


class Finance:
    """The tools, and the line in the log that each call leaves."""

    def __init__(self, log: TextIO) -> None:
        self._log = log

    def quarterly_report(self, quarter: str, ctx: Context[Any, Request]) -> CallToolResult:
        """The figures of one quarter, for example Q3."""
        return self._call(ctx, "quarterly_report", "the quarterly report", lambda: REPORTS[quarter.upper()])

    def salary(self, person: str, ctx: Context[Any, Request]) -> CallToolResult:
        """What somebody is paid, for example "ceo"."""
        who = person.lower()
        what = "the CEO's pay" if who == "ceo" else "salaries"
        return self._call(ctx, "salary", what, lambda: SALARIES[who])

    def _call(self, ctx: Context[Any, Request], tool: str, what: str, answer: Callable[[], str]) -> CallToolResult:
        request = ctx.request_context.request
        if request is None or not isinstance(request.scope.get("user"), AuthenticatedUser):
            raise ToolError("no caller")  # the SDK lets nobody in without a verified token
        caller = Caller.of(request.scope["user"].access_token)
        try:
            caller.require_accounting(what)
            text, outcome = answer(), "ok"
        except PermissionError as error:
            text, outcome = str(error), "denied"
        except KeyError:
            text, outcome = "There are no such figures.", "error"
        self._write(caller, ctx, request, tool, outcome)
        return CallToolResult(content=[TextContent(text=text)], is_error=outcome != "ok")

    def _write(self, caller: Caller, ctx: Context[Any, Request], request: Request, tool: str, outcome: str) -> None:
        params = ctx.session.client_params
        info = (params.client_info.name, params.client_info.version) if params else None
        entry = Entry(
            time=datetime.now(UTC),
            user=caller.label,
            sub=caller.sub,
            agent=agent_of(request.headers.get("user-agent", ""), info),
            tool=tool,
            request=request.headers.get("x-request-id", ""),
            outcome=outcome,
        )
        print(entry.line(), file=self._log, flush=True)


def build(verifier: TokenVerifier, issuer: str, url: str, personal: bool, log: TextIO) -> MCPServer[Any]:
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
    finance = Finance(log)
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
    parser.add_argument("--until-eof", action="store_true", help="end when stdin closes")
    args = parser.parse_args(argv)
    listener = loopback_socket(args.port)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
    facts = {"url": url}
    if args.api_key:
        facts["api_key"] = secrets.token_urlsafe(24)
        verifier: TokenVerifier = SharedKey(facts["api_key"])
    else:
        verifier = PersonalToken(args.issuer, args.audience or url)
    server = build(verifier, args.issuer or url, args.audience or url, not args.api_key, sys.stdout)
    if args.until_eof:
        end_with_parent()
    announce(facts)
    anyio.run(serve, server, listener)


if __name__ == "__main__":
    main()
