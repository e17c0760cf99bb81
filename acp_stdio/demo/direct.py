"""An agent that uses the finance server the usual way: the MCP SDK's client with a key from its configuration.

Run as `python -m acp_stdio.demo.direct`; its orders come as JSON lines on stdin, so that the key is neither in
its arguments nor in its environment, and each answer leaves as a JSON line on stdout.
"""

import json
import sys
from typing import Any

import anyio
import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import Implementation

from acp_stdio.demo.agent import AGENT_NAME, AGENT_VERSION


async def ask(order: dict[str, Any]) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {order['api_key']}"}
    agent = Implementation(name=AGENT_NAME, version=AGENT_VERSION)
    async with httpx2.AsyncClient(headers=headers, trust_env=False, timeout=15) as http:
        transport = streamable_http_client(order["url"], http_client=http)
        async with Client(transport, mode="legacy", client_info=agent) as client:
            result = await client.call_tool(order["tool"], order["arguments"])
    text = " ".join(part.text for part in result.content if part.type == "text")
    return {"text": text, "refused": bool(result.is_error)}


def main() -> None:
    for order in sys.stdin:
        print(json.dumps(anyio.run(ask, json.loads(order))), flush=True)


if __name__ == "__main__":
    main()
