"""An MCP server that knows who is asking, and whose log says so: example_server.py ISSUER URL

`pip install acp-stdio mcp uvicorn`. ISSUER is the company's identity provider, URL this server's address as people
configure it, such as https://finance.example.com/mcp. For Entra, Okta and others add `preset="entra"` and so on.
"""

import os
import sys
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from acp_stdio.backend import BearerAuth, TokenVerifier, caller_of

server: MCPServer[Any] = MCPServer("finance")


@server.tool()
def salary(person: str, ctx: Context[Any, Any]) -> str:
    """What somebody is paid, for example "ceo"."""
    caller = caller_of(ctx.request_context.request)
    if "accounting" not in caller.claims.get("groups", ()):
        raise ToolError(f"{caller.label} may not read salaries")
    return f"{person} is paid 612,000 a year"


if __name__ == "__main__":
    issuer, url = sys.argv[1:]
    app = BearerAuth(
        server.streamable_http_app(streamable_http_path=urlsplit(url).path),
        TokenVerifier(issuer, audience=url),
        log=lambda line: os.write(1, f"{line}\n".encode()),
    )
    uvicorn.run(app, host="127.0.0.1", port=urlsplit(url).port or 8000, log_level="warning")
