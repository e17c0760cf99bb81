"""An MCP server on the official SDK that takes the person's own tokens: `python -m tests.kit.sdk_server`.

Prints {"url": …} and then a line for each tool call (who, through which agent, what) and each request body's
digest. Lines on its stdin steer it: `release` lets the calls of `slow` go on, `refuse N` answers the next N requests
with 401, `distrust` all that carry the token seen last. It ends when its stdin does.
"""

import argparse
import contextlib
import hashlib
import os
import socket
import sys
from collections.abc import Generator
from typing import Annotated, Any

import anyio
import anyio.to_thread
import uvicorn
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.settings import AuthSettings
from mcp.server.elicitation import AcceptedElicitation, ElicitationResult
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel
from starlette.requests import Request

from acp_stdio.backend import TokenVerifier
from acp_stdio.backend.caller import agent_of
from acp_stdio.backend.mcp_sdk import ProvenToken, SdkVerifier
from acp_stdio.demo.lifetime import announce, loopback_socket
from tests.kit.one_era import ERAS, App, Message, OneEra, Receive, Scope, Send

MAX_BODY = 32 * 1024 * 1024
LONGEST = 120
"""Seconds that a call of `slow` waits to be released."""


def say(line: str) -> None:
    """One line of the log; whole, whichever thread it comes from."""
    os.write(1, line.encode() + b"\n")


# -- who calls -------------------------------------------------------------------------------------


class Verifier(SdkVerifier):
    """The provider's JWTs for this server; refuses the next ones, or the one it knows, where it was told to."""

    refusals = 0
    known = ""
    distrusted = ""

    async def verify_token(self, token: str) -> ProvenToken | None:
        if self.refusals or token == self.distrusted:
            self.refusals = max(0, self.refusals - 1)
            say("refused a token")
            return None
        self.known = token
        return await super().verify_token(token)


@contextlib.contextmanager
def call(ctx: Context[Any, Request], tool: str) -> Generator[str]:
    """One call in the log, from its beginning to its outcome; gives the caller's `sub`."""
    request = ctx.request_context.request
    if request is None or not isinstance(request.scope.get("user"), AuthenticatedUser):
        raise ToolError("no caller")  # the SDK lets nobody in without a verified token
    user = request.scope["user"].access_token.subject or ""
    about = (
        f"user={user} agent={agent_of(request.headers.get('user-agent', ''), None)} tool={tool}"
        f" request={request.headers.get('x-request-id', '')} version={ctx.protocol_version}"
        f" traceparent={request.headers.get('traceparent', '')}"
    )
    outcome = "error"
    say(f"{about} outcome=begun")
    try:
        yield user
        outcome = "ok"
    except anyio.get_cancelled_exc_class():
        outcome = "cancelled"
        raise
    finally:
        say(f"{about} outcome={outcome}")


# -- what can be called ----------------------------------------------------------------------------


class City(BaseModel):
    """What `elicit` wants to know."""

    city: str


def ask_city() -> Elicit[City]:
    return Elicit("Which city?", City)


class Tools:
    """Each shows one thing that a relay must carry."""

    def __init__(self) -> None:
        self._released = anyio.Event()

    def release(self) -> None:
        """Lets all calls of `slow` go on."""
        self._released.set()
        self._released = anyio.Event()

    async def echo(self, text: str, ctx: Context[Any, Request]) -> str:
        with call(ctx, "echo"):
            return text

    async def whoami(self, ctx: Context[Any, Request]) -> str:
        with call(ctx, "whoami") as user:
            return user

    async def slow(self, ctx: Context[Any, Request]) -> str:
        """Answers once it is released; can be cancelled."""
        with call(ctx, "slow"), anyio.fail_after(LONGEST):
            await self._released.wait()
            return "at last"

    async def progress(self, steps: int, ctx: Context[Any, Request]) -> str:
        with call(ctx, "progress"):
            for step in range(steps):
                await ctx.report_progress(step + 1, steps, f"step {step + 1}")
            return f"{steps} steps"

    async def big(self, size: int, ctx: Context[Any, Request]) -> str:
        with call(ctx, "big"):
            return "x" * size

    async def size_of(self, text: str, ctx: Context[Any, Request]) -> int:
        with call(ctx, "size_of"):
            return len(text)

    async def fail(self, ctx: Context[Any, Request]) -> str:
        with call(ctx, "fail"):
            raise ToolError("this tool always fails")

    async def rpc_error(self, ctx: Context[Any, Request]) -> str:
        with call(ctx, "rpc_error"):
            raise MCPError(-31999, "an error of the protocol", {"detail": [1.0, None]})

    async def notify(self, ctx: Context[Any, Request]) -> str:
        """Tells those who listen, in either era's way, that the tools changed."""
        with call(ctx, "notify"):
            await ctx.notify_tools_changed()
            await ctx.session.send_tool_list_changed()
            return "told"

    async def elicit(
        self, ctx: Context[Any, Request], answer: Annotated[ElicitationResult[City], Resolve(ask_city)]
    ) -> str:
        """Asks on the call's own stream, or as the modern era does it."""
        with call(ctx, "elicit"):
            return answer.data.city if isinstance(answer, AcceptedElicitation) else answer.action

    async def ask_apart(self, ctx: Context[Any, Request]) -> str:
        """Asks on the session's own stream instead of the call's."""
        with call(ctx, "ask_apart"), anyio.fail_after(60):
            answer = await ctx.session.elicit_form("Which city?", City.model_json_schema())
            return f"{answer.action} {(answer.content or {}).get('city')}"

    def add_to(self, server: MCPServer[Any]) -> None:
        many = (self.echo, self.whoami, self.slow, self.progress, self.big, self.size_of, self.fail)
        for tool in (*many, self.rpc_error, self.notify, self.elicit, self.ask_apart):
            server.add_tool(tool)


# -- the server ------------------------------------------------------------------------------------


class Door:
    """Logs the digest of each request body and the life of each GET.

    With `watch` it also ends a modern call whose caller closes the connection: the SDK, which does so for
    calls that it answers with SSE, does not look while it prepares one JSON answer.
    """

    def __init__(self, app: App, watch: bool) -> None:
        self._app, self._watch = app, watch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET":
            say(f"stream begun {scope['path']}")
            try:
                await self._app(scope, receive, send)
            finally:
                say(f"stream ended {scope['path']}")
            return
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        modern = dict(scope["headers"]).get(b"mcp-protocol-version", b"").startswith(b"2026-")
        digest, size, complete = hashlib.sha256(), 0, anyio.Event()

        async def read() -> Message:
            nonlocal size
            message = await receive()
            if message["type"] == "http.request":
                digest.update(message.get("body", b""))
                size += len(message.get("body", b""))
                if not message.get("more_body"):
                    say(f"body bytes={size} sha256={digest.hexdigest()}")
                    complete.set()
            return message

        async with anyio.create_task_group() as tasks:

            async def until_they_leave() -> None:
                await complete.wait()
                await receive()
                tasks.cancel_scope.cancel()

            if modern and self._watch:
                tasks.start_soon(until_they_leave)
            await self._app(scope, read, send)
            tasks.cancel_scope.cancel()


async def serve(app: App, listener: socket.socket, tools: Tools, verifier: Verifier) -> None:
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="on")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(steer, tools, verifier)
        await uvicorn.Server(config).serve(sockets=[listener])
        tasks.cancel_scope.cancel()


async def steer(tools: Tools, verifier: Verifier) -> None:
    """Does what stdin says, until it ends."""
    while line := await anyio.to_thread.run_sync(sys.stdin.readline):
        match line.split():
            case ["release"]:
                tools.release()
            case ["refuse", number]:
                verifier.refusals = int(number)
            case ["distrust"]:
                verifier.distrusted = verifier.known
            case ["mark", _]:
                pass  # all that was said before stands before this in the log
            case _:
                continue
        say(f"steered {line.strip()}")
    os._exit(0)  # whoever started us is gone or done; nothing here has to be kept


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--issuer", required=True)
    parser.add_argument("--json", action="store_true", help="answer with JSON instead of SSE")
    parser.add_argument("--sse", action="store_true", help="speak HTTP+SSE (2024-11-05) in place of Streamable HTTP")
    parser.add_argument("--only", choices=ERAS, default="both")
    args = parser.parse_args(argv)
    listener = loopback_socket(0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/{'sse' if args.sse else 'mcp'}"
    auth = AuthSettings.model_validate(
        {"issuer_url": args.issuer, "resource_server_url": url, "validate_token_resource": True}
    )
    verifier, tools = Verifier(TokenVerifier(args.issuer, url)), Tools()
    server: MCPServer[Any] = MCPServer(
        "sdk-upstream", version="1.0", token_verifier=verifier, auth=auth, log_level="CRITICAL"
    )
    tools.add_to(server)
    if args.sse:
        app: App = server.sse_app(max_request_body_size=MAX_BODY)
    else:
        app = server.streamable_http_app(json_response=args.json, max_request_body_size=MAX_BODY)
    announce({"url": url})
    anyio.run(serve, Door(OneEra(app, args.only), args.json), listener, tools, verifier)


if __name__ == "__main__":
    main(sys.argv[1:])
