"""What a handshake says: versions, who the agent is, and answers made from memory."""

import re
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Raw

from acp_stdio import __version__
from acp_stdio.wire import frames, methods
from acp_stdio.wire.members import encoded, joined, members, text

_GENERIC_CAPABILITIES: Final[dict[str, Any]] = {"tools": {"listChanged": True}}
"""What may be promised for a server never seen: more would make hosts ask for what is not there."""


class Agent(NamedTuple):
    """The host's `clientInfo`: self-reported (MCP 2026-07-28, basic), for display only."""

    name: str = ""
    version: str = ""


class _InitializeResult(msgspec.Struct):
    protocolVersion: str


class _DiscoverResult(msgspec.Struct):
    supportedVersions: list[str] = msgspec.field(default_factory=list[str])


class _CancelParams(msgspec.Struct):
    requestId: Raw


_TRACEPARENT: Final = re.compile("00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")  # W3C Trace Context
_initialize_result = msgspec.json.Decoder(_InitializeResult)
_discover_result = msgspec.json.Decoder(_DiscoverResult)
_cancel_params = msgspec.json.Decoder(_CancelParams)


class RequestView(NamedTuple):
    """The few parameters that routing and the trail need."""

    name: str = ""
    uri: str = ""
    cursor: str = ""
    task: str = ""
    version: str | None = None
    """The modern era's mark: `_meta` names the protocol version of each request."""
    agent: Agent | None = None
    trace: str = ""
    progress: bytes = b""
    """The key of its progress token."""


def view(params: Raw | None) -> RequestView:
    """Reads what we must know of a request, each member by itself: an odd one hides no other."""
    given = members(params)
    meta = members(given.get("_meta"))
    client = members(meta.get(methods.META_CLIENT_INFO))
    trace = text(meta.get("traceparent"))
    return RequestView(
        text(given.get("name")),
        text(given.get("uri")),
        text(given.get("cursor")),
        text(given.get("taskId")),
        text(meta.get(methods.META_VERSION)) or None,
        Agent(text(client.get("name")), text(client.get("version"))) if client else None,
        trace if _TRACEPARENT.fullmatch(trace) else "",
        _key(meta.get("progressToken")),
    )


def progress_token(params: Raw | None) -> bytes:
    """The key of the token that a `notifications/progress` names; empty where it names none."""
    return _key(members(params).get("progressToken"))


def _key(token: Raw | None) -> bytes:
    return frames.id_key(bytes(token)) if token is not None else b""


def offered(params: Raw | None) -> tuple[str, Agent]:
    """The version that an `initialize` asks for, and the agent."""
    given = members(params)
    client = members(given.get("clientInfo"))
    return text(given.get("protocolVersion")), Agent(text(client.get("name")), text(client.get("version")))


def negotiated(result: Raw | bytes) -> str:
    """The version that an `initialize` result agrees to; empty where it is no such result."""
    try:
        return _initialize_result.decode(result).protocolVersion
    except (msgspec.MsgspecError, RecursionError):
        return ""


def offers_modern(result: Raw | bytes) -> bool:
    """Whether a `server/discover` result names a version of the modern era."""
    try:
        versions = _discover_result.decode(result).supportedVersions
    except (msgspec.MsgspecError, RecursionError):
        return False
    return any(version not in methods.LEGACY_VERSIONS for version in versions)


def cancelled_id(params: Raw | None) -> bytes | None:
    """The `requestId` that `notifications/cancelled` names, as JSON."""
    try:
        return bytes(_cancel_params.decode(params or b"{}").requestId)
    except (msgspec.MsgspecError, RecursionError):
        return None


def initialize_result(asked: str, known: bytes | None) -> bytes:
    """An answer to `initialize` without the server: what it said last time, else the least that holds.

    With `known`, an earlier result for another version, only the version is replaced.
    """
    version = asked if asked in methods.LEGACY_VERSIONS else methods.LEGACY_VERSIONS[0]
    if known is not None:
        return joined({**members(known), "protocolVersion": encoded(version)})
    return msgspec.json.encode(
        {"protocolVersion": version, "capabilities": _GENERIC_CAPABILITIES, "serverInfo": _server_info()}
    )


def discover_result() -> bytes:
    """An answer to `server/discover` for a server never seen (MCP 2026-07-28, server/discover)."""
    return msgspec.json.encode(
        {
            "resultType": "complete",
            "supportedVersions": list(methods.MODERN_VERSIONS),
            "capabilities": _GENERIC_CAPABILITIES,
            "ttlMs": 0,
            "cacheScope": "private",
            "_meta": {"io.modelcontextprotocol/serverInfo": _server_info()},
        }
    )


def discover_request(agent: Agent) -> bytes:
    """Our own question what a server is; the host's name goes with it, as with the host's own requests."""
    client = {"name": agent.name, "version": agent.version} if agent.name else _server_info()
    meta = {
        methods.META_VERSION: methods.MODERN_VERSIONS[-1],
        methods.META_CAPABILITIES: {},
        methods.META_CLIENT_INFO: client,
    }
    return msgspec.json.encode(
        {"jsonrpc": "2.0", "id": "acp-stdio/discover", "method": methods.DISCOVER, "params": {"_meta": meta}}
    )


def _server_info() -> dict[str, str]:
    return {"name": "acp-stdio", "version": __version__}


def meta(params: Raw | None) -> Raw:
    """A request's `_meta` as it stands; an empty object where it has none."""
    return members(params).get("_meta", Raw(b"{}"))
