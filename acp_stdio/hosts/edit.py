"""Puts one value into a JSON text or takes it out, and leaves every other byte as it was.

Indentation, line ends, comments and a habit of trailing commas are taken from what is there.
"""

import json
from collections.abc import Sequence
from typing import Any

from acp_stdio.hosts.jsonc import Document, Member, Node, parse


def put(text: str, path: Sequence[str], value: Any) -> str:
    """`text` with `value` at `path`, replaced or added last; missing objects on the way are made.

    `value` is plain JSON data. Raises `jsonc.NotJson`.
    """
    document = parse(text)
    node = document.root
    for depth, key in enumerate(path):
        member = document.member(node, key)
        if member is None:
            for outer in reversed(path[depth + 1 :]):
                value = {outer: value}
            return _insert(document, node, key, value)
        node = member.node
        if depth == len(path) - 1:
            written = _render(document, value, _indent(text, member.start), _inline(text, member))
            return text[: node.start] + written + text[node.end :]
    raise ValueError("a path has at least one key")


def drop(text: str, path: Sequence[str]) -> str:
    """`text` without the member at `path`; the same text where there is none. Raises `jsonc.NotJson`."""
    document = parse(text)
    holder = document.find(*path[:-1])
    member = document.member(holder, path[-1]) if holder is not None else None
    if holder is None or holder.members is None or member is None:
        return text
    members = holder.members
    place = members.index(member)
    end = member.comma + 1 if member.comma >= 0 else member.node.end
    if place < len(members) - 1:
        following = members[place + 1].start
        return text[: member.start] + text[_first_comment(document, end, following) :]
    if len(members) == 1:
        if _first_comment(document, holder.start, member.start) == member.start and (
            _first_comment(document, end, holder.end) == holder.end
        ):
            return text[: holder.start + 1] + text[holder.end - 1 :]
        return text[: member.start] + text[end:]
    comma = members[place - 1].comma
    commented = _first_comment(document, comma, member.start) != member.start
    start = member.start if commented else comma + 1
    keep = comma + 1 if member.comma >= 0 else comma  # the file's habit: a comma behind the last one, or none
    return text[:keep] + text[comma + 1 : start] + text[end:]


def _insert(document: Document, holder: Node, key: str, value: Any) -> str:
    text = document.text
    name = json.dumps(key, ensure_ascii=False)
    if not holder.members:
        return _fill(document, holder, name, value)
    last = holder.members[-1]
    trailing = last.comma >= 0
    at = last.comma + 1 if trailing else last.node.end
    commented = False
    for start, end in document.comments:
        if at <= start < holder.end and "\n" not in text[at:start]:
            at, commented = end, True  # a remark about the last one stays on its line
    inline = _inline(text, last)
    indent = _indent(text, last.start)
    lead = " " if inline and not commented else _line_end(text) + indent
    member = f"{lead}{name}: {_render(document, value, indent, inline)}{',' * trailing}"
    return text[: last.node.end] + "," * (not trailing) + text[last.node.end : at] + member + text[at:]


def _fill(document: Document, holder: Node, name: str, value: Any) -> str:
    text = document.text
    inside = text[holder.start + 1 : holder.end - 1].rstrip(" \t\r\n")
    members = document.root.members
    if members and not inside and _inline(text, members[0]):
        return text[: holder.start + 1] + f"{name}: {_render(document, value, '', True)}" + text[holder.end - 1 :]
    closing = _indent(text, holder.start)
    indent = closing + _unit(document)
    end = _line_end(text)
    member = f"{inside}{end}{indent}{name}: {_render(document, value, indent, False)}{end}{closing}"
    return text[: holder.start + 1] + member + text[holder.end - 1 :]


def _render(document: Document, value: Any, indent: str, inline: bool) -> str:
    if inline:
        return json.dumps(value, ensure_ascii=False)
    written = json.dumps(value, ensure_ascii=False, indent=_unit(document))
    return written.replace("\n", _line_end(document.text) + indent)


def _first_comment(document: Document, start: int, end: int) -> int:
    """Where the first comment in `text[start:end]` begins; `end` where there is none."""
    return next((place for place, _ in document.comments if start <= place < end), end)


def _line_start(text: str, place: int) -> int:
    return text.rfind("\n", 0, place) + 1


def _inline(text: str, member: Member) -> bool:
    """Whether something stands before the member on its line."""
    return _line_start(text, member.start) == 0 or bool(text[_line_start(text, member.start) : member.start].strip())


def _indent(text: str, place: int) -> str:
    """The white space that begins the line of `place`."""
    line = text[_line_start(text, place) : place].lstrip("\ufeff")
    return line[: len(line) - len(line.lstrip(" \t"))]


def _unit(document: Document) -> str:
    """One step of indentation, as the file's first member shows it."""
    members = document.root.members
    if not members or _inline(document.text, members[0]):
        return "  "
    return _indent(document.text, members[0].start)


def _line_end(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
