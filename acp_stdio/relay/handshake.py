"""What a handshake says: versions, who the agent is, and answers made from memory."""

import re
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Raw

from acp_stdio import __version__
from acp_stdio.wire import frames, methods

_GENERIC_CAPABILITIES: Final[dict[str, Any]] = {"tools": {"listChanged": True}}
"""What may be promised for a server never seen: more would make hosts ask for what is not there."""


class Agent(NamedTuple):
    """The host's `clientInfo`: self-reported (MCP 2026-07-28, basic), for display only."""

    name: str = ""
    version: str = ""


class _ClientInfo(msgspec.Struct):
    name: str = ""
    version: str = ""


class _InitializeParams(msgspec.Struct):
    protocolVersion: str = ""
    clientInfo: _ClientInfo = msgspec.field(default_factory=_ClientInfo)


class _Meta(msgspec.Struct):
    version: str | None = msgspec.field(default=None, name=methods.META_VERSION)
    client: _ClientInfo | None = msgspec.field(default=None, name=methods.META_CLIENT_INFO)
    traceparent: str = ""


class _RequestParams(msgspec.Struct):
    name: str = ""
    uri: str = ""
    cursor: str = ""
    task: str = msgspec.field(default="", name="taskId")
    meta: _Meta | None = msgspec.field(default=None, name="_meta")


class _InitializeResult(msgspec.Struct):
    protocolVersion: str


class _DiscoverResult(msgspec.Struct):
    supportedVersions: list[str] = msgspec.field(default_factory=list[str])


class _CancelParams(msgspec.Struct):
    requestId: Raw


_TRACEPARENT: Final = re.compile("00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")  # W3C Trace Context
_initialize_params = msgspec.json.Decoder(_InitializeParams, strict=False)
_request_params = msgspec.json.Decoder(_RequestParams)
_meta = msgspec.json.Decoder(_Meta)
_initialize_result = msgspec.json.Decoder(_InitializeResult)
_discover_result = msgspec.json.Decoder(_DiscoverResult)
_cancel_params = msgspec.json.Decoder(_CancelParams)
_members = msgspec.json.Decoder(dict[str, Raw])


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


def view(params: Raw | None) -> RequestView:
    """Reads what we must know of a request. Parameters of an unexpected shape read as absent."""
    if params is None:
        return RequestView()
    try:
        p = _request_params.decode(params)
    except msgspec.ValidationError:  # a member that we read has another shape in this method: `_meta` counts
        p = _meta_only(params)
    except (msgspec.MsgspecError, RecursionError):
        return RequestView()
    if p.meta is None:
        return RequestView(p.name, p.uri, p.cursor, p.task)
    client = p.meta.client
    agent = Agent(client.name, client.version) if client else None
    trace = p.meta.traceparent if _TRACEPARENT.fullmatch(p.meta.traceparent) else ""
    return RequestView(p.name, p.uri, p.cursor, p.task, p.meta.version, agent, trace)


def _meta_only(params: Raw) -> _RequestParams:
    try:
        members = _members.decode(params)
        return _RequestParams(meta=_meta.decode(members["_meta"]))
    except (msgspec.MsgspecError, KeyError, RecursionError):
        return _RequestParams()


def offered(params: Raw | None) -> tuple[str, Agent]:
    """The version that an `initialize` asks for, and the agent."""
    try:
        p = _initialize_params.decode(params or b"{}")
    except (msgspec.MsgspecError, RecursionError):
        return "", Agent()
    return p.protocolVersion, Agent(p.clientInfo.name, p.clientInfo.version)


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
        members = _members.decode(known)
        members["protocolVersion"] = Raw(msgspec.json.encode(version))
        return msgspec.json.encode(members)
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


def _server_info() -> dict[str, str]:
    return {"name": "acp-stdio", "version": __version__}


def is_modern_error(body: bytes) -> bool:
    """Whether an HTTP error body proves a server of the modern era (MCP 2026-07-28, streamable-http)."""
    try:
        frame = frames.parse(body)
        code = msgspec.json.decode(frame.error or b"{}", type=dict[str, Any]).get("code")
    except (frames.BadFrame, msgspec.MsgspecError, RecursionError):
        return False
    return code in (-32020, -32021, -32022)
