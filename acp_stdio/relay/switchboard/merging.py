"""One answer from several: lists with their cursors, and handshakes."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

import msgspec
from msgspec import Raw

from acp_stdio import __version__
from acp_stdio.catalogue.model import NO_ERA, Catalogue, is_handshake
from acp_stdio.relay.switchboard.editing import Edit, each
from acp_stdio.wire import members, methods

Cursors = dict[int, str | None]
"""Whom to ask for a page, and with which cursor of its own; None is the first page."""

_ANNOUNCED: Final = ("tools", "prompts", "resources")
"""Lists whose changes we announce ourselves: an upstream comes, goes, or is signed in."""
_SERVER_INFO: Final = "io.modelcontextprotocol/serverInfo"


class BadCursor(Exception):
    """A cursor that was not made here (MCP: answered with -32602)."""


def to_cursor(cursors: Mapping[int, str], upstreams: Sequence[str]) -> str:
    """The host's one cursor for the next pages of several; opaque to it."""
    pairs = [[upstreams[lane], cursor] for lane, cursor in cursors.items()]
    return base64.urlsafe_b64encode(json.dumps(pairs).encode()).decode().rstrip("=")


def from_cursor(cursor: str, upstreams: Sequence[str]) -> Cursors:
    """Whom to ask for the page behind this cursor. Raises `BadCursor`."""
    try:
        pairs: Any = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        found = {upstreams.index(upstream): own for upstream, own in pairs}
    except (ValueError, TypeError, RecursionError):
        raise BadCursor from None
    if not found or not all(isinstance(own, str) for own in found.values()):
        raise BadCursor
    return cast(Cursors, found)


def merged_list(
    member: str,
    results: Mapping[int, bytes],
    shown: Callable[[int], Edit],
    upstreams: Sequence[str],
    *,
    modern: bool,
    complete: bool,
) -> bytes:
    """One page from those of several upstreams, in the order of the configuration.

    `complete`: nobody is missing; else the answer must not be kept (`ttlMs` 0).
    """
    items: list[bytes] = []
    cursors: dict[int, str] = {}
    rest: dict[str, Raw] = {}
    lives: list[float] = []
    for lane in sorted(results):
        parts = members.members(results[lane])
        items += map(bytes, members.items(each(shown(lane))(parts.pop(member, Raw(b"[]")))))
        following = parts.pop("nextCursor", None)
        if following is not None and bytes(following) != b"null":
            cursors[lane] = members.text(following)
        lives.append(_number(parts.pop("ttlMs", None)))
        for name in ("_meta", "cacheScope", "resultType"):
            parts.pop(name, None)
        rest = {**parts, **rest}
    page: dict[str, Raw | bytes] = {member: b"[%b]" % b",".join(items), **rest}
    if cursors:
        page["nextCursor"] = members.encoded(to_cursor(cursors, upstreams))
    if modern:
        page |= _modern_members(min(lives, default=0) if complete else 0)
    return members.joined(page)


def _modern_members(ttl: float) -> dict[str, Raw]:
    """What the modern era wants in a result (MCP 2026-07-28, caching): each list is this person's own."""
    return {
        "resultType": members.encoded("complete"),
        "ttlMs": members.encoded(int(ttl)),
        "cacheScope": members.encoded("private"),
        "_meta": members.encoded({_SERVER_INFO: _server_info()}),
    }


def merged_initialize(results: Mapping[int, bytes], upstreams: Sequence[str], asked: str) -> bytes:
    """One `initialize` result. Its version is the newest that one of them agreed to speak with the host."""
    agreed = [members.text(members.members(result).get("protocolVersion")) for result in results.values()]
    version = max((each for each in agreed if each in methods.LEGACY_VERSIONS), default=asked)
    result = {"protocolVersion": version, "serverInfo": _server_info(), **_common(results, upstreams)}
    return json.dumps(result).encode()


def merged_discover(results: Mapping[int, bytes], upstreams: Sequence[str]) -> bytes:
    """One `server/discover` result (MCP 2026-07-28, server/discover)."""
    lives = [_number(members.members(result).get("ttlMs")) for result in results.values()]
    result = {
        "resultType": "complete",
        "supportedVersions": list(methods.MODERN_VERSIONS),
        **_common(results, upstreams),
        "ttlMs": int(min(lives, default=0)),
        "cacheScope": "private",
        "_meta": {_SERVER_INFO: _server_info()},
    }
    return json.dumps(result).encode()


def capabilities(result: bytes) -> dict[str, Any]:
    """What a handshake's result promises."""
    return _object(members.members(result).get("capabilities"))


def offers(catalogue: Catalogue, word: str) -> bool | None:
    """Whether an upstream's handshake names this capability or extension; None where it has shown none yet."""
    shown = [capabilities(v) for k, v in catalogue.items() if is_handshake(k) and v != NO_ERA]
    if not shown:
        return None
    extensions = [name.rpartition("/")[2] for each in shown for name in _keys(each.get("extensions"))]
    return any(word in each for each in shown) or word in extensions


def _common(results: Mapping[int, bytes], upstreams: Sequence[str]) -> dict[str, Any]:
    together: dict[str, Any] = {"tools": {}}  # ours are there in any case
    texts: list[str] = []
    for lane in sorted(results):
        together = _united(together, capabilities(results[lane]))
        text = members.text(members.members(results[lane]).get("instructions")).strip()
        if text:
            texts.append(f"# {upstreams[lane]}\n\n{text}")
    for name in _ANNOUNCED:
        if isinstance(together.get(name), dict):
            together[name]["listChanged"] = True
    return {"capabilities": together, **({"instructions": "\n\n".join(texts)} if texts else {})}


def _united(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """The union: a capability that one has is there. Of two settings that are no flags, the first stays."""
    found = dict(ours)
    for name, value in theirs.items():
        old = found.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            found[name] = _united(cast("dict[str, Any]", old), cast("dict[str, Any]", value))
        elif old is None or old is False:
            found[name] = value
    return found


def _keys(value: object) -> list[str]:
    return list(cast("dict[str, Any]", value)) if isinstance(value, dict) else []


def _object(raw: Raw | None) -> dict[str, Any]:
    try:
        value: Any = json.loads(bytes(raw or b"{}"))
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _number(raw: Raw | None) -> float:
    """`ttlMs`: absent, negative or something else is 0."""
    try:
        return max(0, msgspec.json.decode(raw or b"0", type=int))
    except (msgspec.MsgspecError, RecursionError):
        return 0


def _server_info() -> dict[str, str]:
    return {"name": "acp-stdio", "version": __version__}
