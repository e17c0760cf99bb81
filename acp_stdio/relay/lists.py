"""Lists on their way to the host: our two tools are added, what the rules hide is left out."""

import json
from collections.abc import Callable
from typing import Any, Final, cast

import msgspec
from msgspec import Raw

from acp_stdio.policy.pins import Definition, definition_of, has_unseen, without_unseen
from acp_stdio.wire import methods

LOGIN_TOOL: Final = "acp_login"
STATUS_TOOL: Final = "acp_status"

_HELPERS: Final[dict[str, dict[str, Any]]] = {
    LOGIN_TOOL: {
        "name": LOGIN_TOOL,
        "title": "Sign in to the company",
        "description": (
            "Opens the company's sign-in page in the person's browser, so that the other tools of this "
            "server work with their own rights. Use it when a tool says that a sign-in is required."
        ),
        "inputSchema": {"type": "object", "properties": {}, "additionalProperties": False},
        "annotations": {"readOnlyHint": False, "destructiveHint": False, "idempotentHint": True},
    },
    STATUS_TOOL: {
        "name": STATUS_TOOL,
        "title": "Who is signed in",
        "description": "Says who is signed in, since when, and what to do if a sign-in is required.",
        "inputSchema": {"type": "object", "properties": {}, "additionalProperties": False},
        "annotations": {"readOnlyHint": True},
    },
}


class _Named(msgspec.Struct):
    name: str


class _Item(msgspec.Struct):
    name: str = ""
    uri: str = ""
    uriTemplate: str = ""


_members = msgspec.json.Decoder(dict[str, Raw])
_names = msgspec.json.Decoder(list[_Named])
_items = msgspec.json.Decoder(list[Raw])
_item = msgspec.json.Decoder(_Item)


def sifted(method: str, result: bytes, keep: Callable[[str, Raw], bool]) -> bytes:
    """A list's result without the items that `keep` refuses; the others stay byte for byte.

    `keep` gets the name by which an item is used (a resource's URI, a template's URI template) and the item.
    What is no list, or no item, as we know it is not shown: nobody could say whether it may be.
    """
    member = methods.LISTS[method]
    try:
        members = _members.decode(result)
        items = _items.decode(members[member])
    except (msgspec.MsgspecError, KeyError, RecursionError):
        return msgspec.json.encode({member: []})
    kept = [item for item in items if _kept(member, item, keep)]
    if len(kept) == len(items):
        return result
    members[member] = Raw(b"[" + b",".join(bytes(item) for item in kept) + b"]")
    return msgspec.json.encode(members)


def definitions(result: bytes) -> dict[str, Definition]:
    """What the tools of a page say of themselves, by name; of what is no tool as we know it, nothing."""
    try:
        items: list[Any] = json.loads(result)["tools"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    tools = [cast("dict[str, Any]", item) for item in items if isinstance(item, dict)]
    return {tool["name"]: definition_of(tool) for tool in tools if isinstance(tool.get("name"), str)}


def plain(method: str, result: bytes) -> bytes:
    """A list whose descriptions hold nothing that people cannot see; as it came, to the byte, where they do not."""
    try:
        if not has_unseen(result.decode()):
            return result
        members: dict[str, Any] = json.loads(result)
        member = methods.LISTS[method]
        shown = without_unseen(members[member])
    except (ValueError, KeyError, TypeError, RecursionError):
        return result
    return result if shown == members[member] else json.dumps({**members, member: shown}).encode()


def _kept(member: str, raw: Raw, keep: Callable[[str, Raw], bool]) -> bool:
    try:
        item = _item.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return False
    name = {"resources": item.uri, "resourceTemplates": item.uriTemplate}.get(member, item.name)
    return bool(name) and keep(name, raw)


def with_helpers(result: Raw | bytes, notice: str = "") -> bytes | None:
    """A `tools/list` result with our tools at the end of its last page.

    None where nothing is to be added: more pages follow, or the server has tools of these
    names itself, which then are its own.
    """
    try:
        members = _members.decode(result)
        tools = bytes(members["tools"]).strip()
        taken = {tool.name for tool in _names.decode(tools)}
    except (msgspec.MsgspecError, KeyError, RecursionError):
        return None
    if ("nextCursor" in members and bytes(members["nextCursor"]) != b"null") or taken & _HELPERS.keys():
        return None
    ours = b",".join(msgspec.json.encode(_with_notice(tool, notice)) for tool in _HELPERS.values())
    members["tools"] = Raw(tools[:-1] + (b"," if taken else b"") + ours + b"]")
    return msgspec.json.encode(members)


def _with_notice(tool: dict[str, Any], notice: str) -> dict[str, Any]:
    """`acp_status` tells of tools that are missing, so that the person hears of it."""
    if not notice or tool["name"] != STATUS_TOOL:
        return tool
    return {**tool, "description": f"{tool['description']} {notice}"}


def empty(method: str, *, helpers: bool, modern: bool) -> bytes:
    """The list of a server that nobody has seen yet: our tools, so that the person can start from there."""
    member = methods.LISTS[method]
    result: dict[str, Any] = {member: list(_HELPERS.values()) if helpers and member == "tools" else []}
    if modern:
        result |= {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
    return msgspec.json.encode(result)
