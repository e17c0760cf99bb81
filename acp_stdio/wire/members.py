"""A JSON object's members as their own text: what is taken out or put in leaves the rest as it came."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Raw

_members = msgspec.json.Decoder(dict[str, Raw])
_items = msgspec.json.Decoder(list[Raw])
_string = msgspec.json.Decoder(str)
_scan = json.JSONDecoder(parse_int=str, parse_float=str).raw_decode
"""A value and where it ends, read with its numbers left as they are."""
MAX_NAMES = 256
"""How many names are kept, and the longest of them: peers choose names too."""
_names: dict[str, bytes] = {}


def members(raw: Raw | bytes | None) -> dict[str, Raw]:
    """The members of a JSON object; nothing where it is none."""
    if raw is None:
        return {}
    try:
        return _members.decode(raw)
    except msgspec.ValidationError:
        return {}
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return _the_slow_way(bytes(raw))


def _the_slow_way(raw: bytes) -> dict[str, Raw]:
    """For what msgspec refuses though JSON allows it: a lone surrogate, half of an emoji that a model cut."""
    try:
        text = raw.decode("utf-8", "surrogatepass")
        return {name: Raw(value.encode("utf-8", "surrogatepass")) for name, value in _pieces(text)}
    except (ValueError, RecursionError):
        return {}


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    """Each member's name, and its value as it is spelled: no number is converted. Raises `ValueError`."""
    at = _space(text, 0)
    if not text.startswith("{", at):
        raise ValueError("not an object")
    at = _space(text, at + 1)
    if text.startswith("}", at):
        return
    while True:
        if not text.startswith('"', at):
            raise ValueError("a name is not a string")
        name, at = _scan(text, at)
        at = _space(text, at)
        if not text.startswith(":", at):
            raise ValueError("a name has no value")
        start = _space(text, at + 1)
        _, end = _scan(text, start)
        yield name, text[start:end]
        at = _space(text, end)
        if not text.startswith(",", at):
            break
        at = _space(text, at + 1)
    if not text.startswith("}", at) or _space(text, at + 1) != len(text):
        raise ValueError("no end of the object")


def _space(text: str, at: int) -> int:
    """Where the white space from here on ends."""
    while text.startswith((" ", "\n", "\r", "\t"), at):
        at += 1
    return at


def items(raw: Raw | bytes | None) -> list[Raw]:
    """The items of a JSON array; nothing where it is none."""
    try:
        return _items.decode(raw or b"[]")
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return []


def text(raw: Raw | None) -> str:
    """A member that is a string; empty where it is absent or something else."""
    if raw is None:
        return ""
    try:
        value: Any = json.loads(bytes(raw)) if b"\\" in bytes(raw) else _string.decode(raw)
    except (ValueError, msgspec.MsgspecError, RecursionError):
        return ""
    return value if isinstance(value, str) else ""


def joined(parts: Mapping[str, Raw | bytes]) -> bytes:
    """The JSON object of these members."""
    return b"{%b}" % b",".join([_quoted(name) + bytes(raw) for name, raw in parts.items()])


def _quoted(name: str) -> bytes:
    """A member's name as it stands before its value. The few of MCP are kept: a frame takes 2.5 us, not 6.5."""
    known = _names.get(name)
    if known is None:
        known = json.dumps(name).encode() + b":"
        if len(_names) < MAX_NAMES and len(name) < MAX_NAMES:
            _names[name] = known
    return known


def encoded(value: Any) -> Raw:
    """A value of ours as a member."""
    return Raw(msgspec.json.encode(value))
