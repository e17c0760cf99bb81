"""The few MCP methods a relay must know. Everything else passes through unread."""

from typing import Final

LEGACY_VERSIONS: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
MODERN_VERSIONS: Final = ("2026-07-28",)
BATCH_VERSION: Final = "2025-03-26"
"""The one revision with JSON-RPC batches: 2025-06-18 took them out again."""

META_VERSION: Final = "io.modelcontextprotocol/protocolVersion"
META_CLIENT_INFO: Final = "io.modelcontextprotocol/clientInfo"
META_CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"

INITIALIZE: Final = "initialize"
INITIALIZED: Final = "notifications/initialized"
DISCOVER: Final = "server/discover"
PING: Final = "ping"
CANCELLED: Final = "notifications/cancelled"
TOOLS_CALL: Final = "tools/call"
TOOLS_LIST: Final = "tools/list"
LISTEN: Final = "subscriptions/listen"

LISTS: Final = {
    TOOLS_LIST: "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
}
"""List methods and the member of their result that holds the list."""

UNAUDITED: Final = frozenset(
    {
        INITIALIZE,
        DISCOVER,
        PING,
        LISTEN,
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        *LISTS,
    }
)
"""Requests that set up or look around. Whatever else a host asks for is a call and is recorded,
also when it is a method this version has never heard of."""
