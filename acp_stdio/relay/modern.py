"""The headers that a request of the modern era carries (MCP 2026-07-28, streamable-http)."""

import contextlib
from typing import Any

import msgspec
from msgspec import Raw

from acp_stdio.relay.commands import Headers
from acp_stdio.relay.handshake import RequestView
from acp_stdio.wire import headers, methods


class _Tool(msgspec.Struct):
    name: str
    inputSchema: Raw


class _ToolsResult(msgspec.Struct):
    tools: list[_Tool]


class _CallParams(msgspec.Struct):
    arguments: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


_tools = msgspec.json.Decoder(_ToolsResult)
_call_params = msgspec.json.Decoder(_CallParams)


class ModernHeaders:
    """Knows which tools want arguments repeated as headers (`x-mcp-header`)."""

    def __init__(self) -> None:
        self._annotated: dict[str, dict[headers.Path, str]] = {}

    def learn(self, tools_result: bytes) -> None:
        """Reads the annotations of one page of `tools/list`; a tool with invalid ones gets no headers."""
        if b"x-mcp-header" not in tools_result:
            return
        try:
            tools = _tools.decode(tools_result).tools
        except (msgspec.MsgspecError, RecursionError):
            return
        for tool in tools:
            try:
                found = headers.header_annotations(msgspec.json.decode(tool.inputSchema))
            except (headers.InvalidAnnotation, msgspec.MsgspecError, RecursionError):
                continue
            if found:
                self._annotated[tool.name] = found

    def of(self, method: str, view: RequestView, params: Raw | None) -> Headers:
        """All headers of one request but the token's."""
        named = {"name": view.name, "uri": view.uri, "taskId": view.task}
        pairs = headers.request_headers(method, view.version or methods.MODERN_VERSIONS[-1], named)
        annotations = self._annotated.get(view.name) if method == methods.TOOLS_CALL else None
        if annotations and params is not None:
            with contextlib.suppress(msgspec.MsgspecError, RecursionError):  # then the server refuses it
                pairs += headers.param_headers(annotations, _call_params.decode(params).arguments)
        return tuple(pairs)
