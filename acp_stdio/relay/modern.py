"""The headers that a request of the modern era carries (MCP 2026-07-28, streamable-http)."""

import contextlib
from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Raw

from acp_stdio.relay.commands import Headers
from acp_stdio.relay.handshake import RequestView
from acp_stdio.wire import frames, headers, methods

MAX_REASON: Final = 200
"""Characters of why a tool is not offered: the reason repeats names that the server chose."""


class _Tool(msgspec.Struct):
    name: str
    inputSchema: Raw


class _CallParams(msgspec.Struct):
    arguments: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


_tool = msgspec.json.Decoder(_Tool)
_members = msgspec.json.Decoder(dict[str, Raw])
_items = msgspec.json.Decoder(list[Raw])
_call_params = msgspec.json.Decoder(_CallParams)


class ModernHeaders:
    """Knows which tools want arguments repeated as headers (`x-mcp-header`)."""

    def __init__(self, warn: Callable[[str], None] = lambda _: None) -> None:
        """`warn` is told of each tool that is left out, and why."""
        self._warn = warn
        self._annotated: dict[str, dict[headers.Path, str]] = {}

    def learn(self, tools_result: bytes) -> bytes:
        """Reads the annotations of one page of `tools/list`.

        Returns the page, without the tools whose annotations break the rules: a host must not be offered
        them (MCP 2026-07-28, server/tools), and hosts on stdio do not look.
        """
        if headers.ANNOTATION.encode() not in tools_result:
            return tools_result
        try:
            members = _members.decode(tools_result)
            tools = _items.decode(members["tools"])
        except (msgspec.MsgspecError, KeyError, RecursionError):
            return tools_result
        kept = [bytes(tool) for tool in tools if self._may_be_offered(tool)]
        if len(kept) == len(tools):
            return tools_result
        members["tools"] = Raw(b"[" + b",".join(kept) + b"]")
        return msgspec.json.encode(members)

    def _may_be_offered(self, raw: Raw) -> bool:
        try:
            tool = _tool.decode(raw)
            schema = msgspec.json.decode(tool.inputSchema)
        except (msgspec.MsgspecError, RecursionError):
            return True  # not a tool as we know it: it passes through
        try:
            found = headers.header_annotations(schema)
        except headers.InvalidAnnotation as problem:
            self._warn(f"the tool {tool.name[: frames.MAX_NAME]!a} is not offered: {str(problem)[:MAX_REASON]!a}")
            return False
        self._annotated.pop(tool.name, None)
        if found:
            self._annotated[tool.name] = found
        return True

    def of(self, method: str, view: RequestView, params: Raw | None) -> Headers:
        """All headers of one request but the token's."""
        named = {"name": view.name, "uri": view.uri, "taskId": view.task}
        pairs = headers.request_headers(method, view.version or methods.MODERN_VERSIONS[-1], named)
        annotations = self._annotated.get(view.name) if method == methods.TOOLS_CALL else None
        if annotations and params is not None:
            with contextlib.suppress(msgspec.MsgspecError, RecursionError):  # then the server refuses it
                pairs += headers.param_headers(annotations, _call_params.decode(params).arguments)
        return tuple(pairs)
