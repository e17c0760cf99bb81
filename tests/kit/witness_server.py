"""An MCP server that wants a signed statement with each request: `python -m tests.kit.witness_server`.

Prints {"url": …}, then a JSON line for each tool call: the caller's line, the statement and the headers it came with.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from mcp.server.mcpserver import Context, MCPServer

from acp_stdio.backend import AssertionVerifier, BearerAuth, TokenVerifier, caller_of
from acp_stdio.demo.lifetime import announce, loopback_socket


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--issuer", required=True)
    parser.add_argument("--enrolled", type=Path, required=True)
    args = parser.parse_args()
    listener = loopback_socket(0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
    server: MCPServer[Any] = MCPServer("witness", log_level="CRITICAL")

    @server.tool()
    def pay(to: int, note: str, ctx: Context[Any, Any]) -> str:  # pyright: ignore[reportUnusedFunction]  # the decorator keeps it
        """Pays nobody."""
        caller = caller_of(ctx.request_context.request)
        told = {"line": caller.line("ok"), "statement": dict(caller.statement), "to": to}
        os.write(1, json.dumps(told).encode() + b"\n")
        return f"paid {to}"

    app = BearerAuth(
        server.streamable_http_app(), TokenVerifier(args.issuer, url), assertions=AssertionVerifier(args.enrolled)
    )
    announce({"url": url})
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1)
    anyio.run(uvicorn.Server(config).serve, [listener])


if __name__ == "__main__":
    sys.exit(main())
