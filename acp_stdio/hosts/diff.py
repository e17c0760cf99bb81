"""A change of a host's file for people to read. Of other people's parts it shows names only.

Such files hold keys and headers of other servers, and what is on a terminal is soon in a ticket.
"""

import difflib
from collections.abc import Iterator

from acp_stdio.hosts.entry import MANAGED, is_ours
from acp_stdio.hosts.jsonc import Node, Number, parse

_SHOWN = frozenset({"type", "command", "args"})
_DOTS = "•••"
_INSIDE = ("",)
"""A path that leads to no section: some hosts have more of them further down."""


def unified(before: str, after: str, section: str, name: str) -> str:
    """A unified diff with three lines around each change; "" where nothing changes."""
    old, new = (_masked(text, section).splitlines() if text else [] for text in (before, after))
    return "\n".join(difflib.unified_diff(old, new, name, f"{name} (new)", lineterm="")).expandtabs(4)


def _masked(text: str, section: str) -> str:
    document = parse(text)
    spans = [(start, end, f"{text[start : start + 2]}{_DOTS}") for start, end in document.comments]
    spans += [(node.start, node.end, f'"{_DOTS}"') for node in _hidden(document.root, (), section)]
    place, parts = 0, list[str]()
    for start, end, dots in sorted(spans):
        parts += [text[place:start], dots]
        place = end
    return "".join([*parts, text[place:]]).removeprefix("\ufeff")


def _hidden(node: Node, path: tuple[str, ...], section: str) -> Iterator[Node]:
    """Every text and number that is not a part of our entry that we write."""
    if len(path) == 2 and path[0] == section and is_ours(node.value):
        for member in node.members or ():
            if member.key == "env" and member.node.members is not None:
                for each in member.node.members:
                    if each.key not in MANAGED:
                        yield from _hidden(each.node, _INSIDE, section)
            elif member.key not in _SHOWN:
                yield from _hidden(member.node, _INSIDE, section)
    elif node.members is not None:
        for member in node.members:
            yield from _hidden(member.node, (*path, member.key), section)
    elif isinstance(node.value, list):
        for item in node.items:
            yield from _hidden(item, _INSIDE, section)
    elif isinstance(node.value, str | Number):
        yield node
