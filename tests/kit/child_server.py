"""An MCP server on the official SDK over stdio, for `transport = "stdio"`: `python -m tests.kit.child_server`."""

import os
from typing import Any

from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("child", version="1.0")


@server.tool()
async def echo(text: str) -> str:
    """The text."""
    return text


@server.tool()
async def about(ctx: Context[Any, Any]) -> dict[str, str]:
    """Who it is and what it was given."""
    meta = ctx.request_context.meta or {}
    return {"pid": str(os.getpid()), "variables": " ".join(sorted(os.environ)), "token": str(meta.get(KEY, ""))}


@server.tool()
async def crash() -> str:
    """Exits in the middle of the call."""
    os._exit(9)


KEY = "com.example/access-token"

if __name__ == "__main__":
    server.run("stdio")
