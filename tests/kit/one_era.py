"""A server of one era: requests of the other are refused as a server answers that has never heard of it."""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

ERAS = ("both", "legacy", "modern")


class OneEra:
    """The ASGI application before one that speaks both."""

    def __init__(self, app: App, only: str) -> None:
        self._app, self._only = app, only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._only == "both" or not scope["path"].endswith("/mcp"):
            await self._app(scope, receive, send)
            return
        version = dict(scope["headers"]).get(b"mcp-protocol-version", b"").decode()
        modern = version.startswith("2026-")
        if scope["method"] in ("GET", "DELETE") and self._only == "modern":
            await send({"type": "http.response.start", "status": 405, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        elif modern is (self._only == "modern") or (scope["method"] != "POST"):
            await self._app(scope, receive, send)
        else:
            await _unsupported(send, version, modern=not modern)


async def _unsupported(send: Send, version: str, *, modern: bool) -> None:
    """What a server of one era answers to the other's requests; `modern`: which one it is."""
    error: dict[str, Any] = {"code": -32600, "message": f"Bad Request: Unsupported protocol version: {version}"}
    if modern:
        supported = {"supported": ["2026-07-28"], "requested": version or "2025-11-25"}
        error = {"code": -32022, "message": "Unsupported protocol version", "data": supported}
    body = json.dumps({"jsonrpc": "2.0", "id": None, "error": error}).encode()
    await send({"type": "http.response.start", "status": 400, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})
