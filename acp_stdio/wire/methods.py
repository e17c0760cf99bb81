"""The few MCP methods a relay must know. Everything else passes through unread."""

from typing import Final

LEGACY_VERSIONS: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
MODERN_VERSIONS: Final = ("2026-07-28",)
BATCH_VERSION: Final = "2025-03-26"
"""The one revision with JSON-RPC batches: 2025-06-18 took them out again."""

META_VERSION: Final = "io.modelcontextprotocol/protocolVersion"
META_CLIENT_INFO: Final = "io.modelcontextprotocol/clientInfo"
META_CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
META_LOG_LEVEL: Final = "io.modelcontextprotocol/logLevel"
META_SERVER_INFO: Final = "io.modelcontextprotocol/serverInfo"
META_SUBSCRIPTION: Final = "io.modelcontextprotocol/subscriptionId"
TASKS_EXTENSION: Final = "io.modelcontextprotocol/tasks"

INITIALIZE: Final = "initialize"
INITIALIZED: Final = "notifications/initialized"
DISCOVER: Final = "server/discover"
PING: Final = "ping"
CANCELLED: Final = "notifications/cancelled"
TOOLS_CALL: Final = "tools/call"
TOOLS_LIST: Final = "tools/list"
LISTEN: Final = "subscriptions/listen"
ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"
UPDATED: Final = "notifications/resources/updated"
PROGRESS: Final = "notifications/progress"
MESSAGE: Final = "notifications/message"
SET_LEVEL: Final = "logging/setLevel"
SUBSCRIBE: Final = "resources/subscribe"
UNSUBSCRIBE: Final = "resources/unsubscribe"
READ: Final = "resources/read"
ELICIT: Final = "elicitation/create"
ELICITED: Final = "notifications/elicitation/complete"

ASKING: Final = frozenset({TOOLS_CALL, "prompts/get", READ})
"""Requests that may be answered with a question (MCP 2026-07-28, multi round-trip requests)."""
QUESTIONS: Final = {ELICIT: "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}
"""What a server may ask a host, and the capability that says that the host answers it."""
LIST_CHANGES: Final = {
    "toolsListChanged": ("tools", "notifications/tools/list_changed"),
    "promptsListChanged": ("prompts", "notifications/prompts/list_changed"),
    "resourcesListChanged": ("resources", "notifications/resources/list_changed"),
}
"""A subscription's word for a changed list: the server's capability and the notification."""
LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
"""Of log messages, the most verbose first (RFC 5424)."""

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
        SET_LEVEL,
        SUBSCRIBE,
        UNSUBSCRIBE,
        *LISTS,
    }
)
"""Requests that set up or look around. Whatever else a host asks for is a call and is recorded,
also when it is a method this version has never heard of."""
