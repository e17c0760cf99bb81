"""What an MCP server answers to somebody without a token: 401, and where to get one (RFC 6750, RFC 9728)."""

import json
from dataclasses import dataclass, replace
from typing import Final

import httpx2

from acp_stdio import __version__
from acp_stdio.identity.step_up import scopes_in
from acp_stdio.oauth.http import ConnectionFailed, send, send_for_headers
from acp_stdio.wire import errors
from acp_stdio.wire.challenge import parameters

_META: Final = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "acp-stdio", "version": __version__},
}
_DISCOVER: Final = {"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": _META}}
_INITIALIZE: Final = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "acp-stdio", "version": __version__},
        },
    }
).encode()
_HEADERS: Final = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
_MODERN: Final = {**_HEADERS, "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "server/discover"}
_OLDER: Final = (400, 404, 405)
"""What a server without Streamable HTTP answers to a POST (MCP 2025-11-25, transports, backwards compatibility)."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """The parts of a 401 that a sign-in acts on; empty where there was none."""

    resource_metadata: str = ""
    scopes: tuple[str, ...] = ()
    refused: bool = False
    """It was a 401."""


def ask(url: str, http: httpx2.Client) -> Challenge:
    """Asks what the server is, without a token, and reads the refusal; a server of the legacy era is asked
    for a session, and one that it gives is ended.

    Raises `Failure(upstream_unreachable)`.
    """
    try:
        answer = send(http, "POST", url, document=_DISCOVER, headers=_MODERN)
        status, headers = answer.status, answer.headers
        if errors.means_legacy(answer.status, answer.body):
            status, headers = send_for_headers(http, "POST", url, _HEADERS, _INITIALIZE)
            if session := headers.get("mcp-session-id"):
                send_for_headers(http, "DELETE", url, {"Mcp-Session-Id": session})
            if status in _OLDER:  # perhaps HTTP+SSE (MCP 2024-11-05), which is a GET
                status, headers = send_for_headers(http, "GET", url, {"Accept": "text/event-stream"})
    except ConnectionFailed as error:
        raise error.failure("upstream_unreachable") from None
    return replace(parse_challenge(headers.get("www-authenticate", "")), refused=True) if status == 401 else Challenge()


def parse_challenge(header: str) -> Challenge:
    """Reads `WWW-Authenticate` (RFC 9110 section 11.6.1), which may hold several challenges."""
    found = parameters(header)
    return Challenge(found.get("resource_metadata", ""), scopes_in(found.get("scope", "")))
