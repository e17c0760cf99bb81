"""Results in the other era's form: what it demands is added, what it has no place for is taken out."""

from typing import Final

from msgspec import Raw

from acp_stdio.relay.bridge import envelope
from acp_stdio.wire import methods
from acp_stdio.wire.members import encoded, items, joined, members, text

_CACHEABLE: Final = frozenset({*methods.LISTS, methods.READ})
"""Whose results must say for how long they hold (MCP 2026-07-28, server/utilities/caching)."""
_MODERN: Final = ("resultType", "ttlMs", "cacheScope")


def kind(result: Raw) -> str:
    """A modern result's `resultType`; one without it is complete (MCP 2026-07-28, basic)."""
    return text(members(result).get("resultType")) or "complete"


def for_legacy(method: str, result: Raw | bytes) -> bytes:
    """A complete result of a modern server.

    Up to 2025-11-25 structured content and its schema are objects; others are left out, and the text stays.
    """
    kept = envelope.untagged(Raw(bytes(result)), methods.META_SERVER_INFO)
    for name in _MODERN:
        kept.pop(name, None)
    structured = kept.get("structuredContent")
    if method == methods.TOOLS_CALL and structured is not None and not bytes(structured).lstrip().startswith(b"{"):
        del kept["structuredContent"]
        if not items(kept.get("content")):
            kept["content"] = encoded([{"type": "text", "text": bytes(structured).decode(errors="replace")}])
    if method == methods.TOOLS_LIST and "tools" in kept:
        kept["tools"] = _tools_for_legacy(kept["tools"])
    return joined(kept)


def _tools_for_legacy(tools: Raw) -> Raw:
    if b'"outputSchema"' not in bytes(tools):
        return tools
    return Raw(b"[%b]" % b",".join(_tool_for_legacy(tool) for tool in items(tools)))


def _tool_for_legacy(tool: Raw) -> bytes:
    parts = members(tool)
    if "outputSchema" not in parts or text(members(parts["outputSchema"]).get("type")) == "object":
        return bytes(tool)
    del parts["outputSchema"]
    return joined(parts)


def for_modern(method: str, result: Raw, server_info: Raw | None) -> bytes:
    """A legacy server's result: complete, not to be kept, from whom."""
    kept = members(result)
    kept["resultType"] = encoded("complete")
    if method in _CACHEABLE:
        kept.setdefault("ttlMs", Raw(b"0"))
        kept.setdefault("cacheScope", encoded("private"))
    if server_info is not None and methods.META_SERVER_INFO not in members(kept.get("_meta")):
        return envelope.tagged(Raw(joined(kept)), methods.META_SERVER_INFO, server_info)
    return joined(kept)
