"""What one POST asks for, read from its own bytes: the `Mcp-Name` header is only what somebody says about them."""

import json
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from acp_stdio.wire.members import members


class BadBody(Exception):
    """Not one JSON-RPC message that everybody would read alike."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One JSON-RPC message."""

    method: str = ""
    is_request: bool = False
    """It has an id, so it will be answered."""
    params: Any = None
    client_info: tuple[str, str] | None = None
    """Of MCP 2026-07-28's `_meta`, or of an `initialize`."""
    raw: bytes = b""
    """As it came."""

    @property
    def raw_params(self) -> bytes:
        """The parameters' own JSON text; empty where there are none."""
        return bytes(members(self.raw).get("params", b""))

    @property
    def tool(self) -> str:
        """The tool that it calls, or nothing."""
        return tool_of(self.method, self.params)


def tool_of(method: str, params: object) -> str:
    """The tool that a request with these params calls, or nothing."""
    named = cast("dict[str, Any]", params) if method == "tools/call" and isinstance(params, dict) else {}
    name: object = named.get("name")
    return name if isinstance(name, str) else ""


def asked(raw: bytes) -> Asked:
    """Raises `BadBody`.

    A member that stands there twice is refused: the log would name one tool and the server might run the other.
    A list of messages too: MCP has none since 2025-06-18.
    """
    try:
        document: object = json.loads(raw, object_pairs_hook=_members, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise BadBody(str(error) if isinstance(error, _Twice) else "not valid JSON") from None
    if not isinstance(document, dict):
        raise BadBody("a message is one JSON object")
    message = cast("dict[str, Any]", document)
    method, params = message.get("method"), message.get("params")
    if method is not None and not isinstance(method, str):
        raise BadBody("the method is not a string")
    return Asked(method or "", bool(method) and "id" in message, params, _client_info(params), raw)


class _Twice(ValueError):
    pass


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Twice("a member stands there twice")
    return found


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


def _client_info(params: Any) -> tuple[str, str] | None:
    for path in (("_meta", "io.modelcontextprotocol/clientInfo"), ("clientInfo",)):
        found = params
        for name in path:
            found = cast("dict[str, Any]", found).get(name) if isinstance(found, dict) else None
        if isinstance(found, dict):
            info = cast("dict[str, Any]", found)
            return str(info.get("name", "")), str(info.get("version", ""))
    return None
