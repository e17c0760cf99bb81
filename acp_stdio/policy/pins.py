"""What a tool said of itself when it was first seen, and what it says now.

A server that changes a tool's description changes what a model does with it, after the person agreed to
the old words ("rug pull"). So what is read by models and hosts is compared, and only that.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

PINNED: Final = ("name", "title", "description", "inputSchema", "outputSchema", "annotations")
"""The members of a tool that models and hosts act on."""

_UNSEEN: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]")
"""Control, bidirectional and tag characters: people do not see them, models and terminals do."""

Definition = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pin:
    """One tool of one upstream."""

    accepted: Definition
    since: str
    """When it was first seen or accepted, UTC."""
    changed: Definition | None = None
    """What it says now, where that is something else."""


@dataclass(slots=True)
class Seen:
    """What a look at an upstream's tools found."""

    pins: dict[str, Pin]
    news: list[str] = field(default_factory=list[str])
    """Tools whose definition is another one than at the last look."""


def definition_of(tool: Mapping[str, Any]) -> Definition:
    """The part of a tool that is pinned."""
    return {name: tool[name] for name in PINNED if name in tool}


def digest(definition: Mapping[str, Any]) -> str:
    """A name for a definition; the order of members does not matter."""
    text = json.dumps(definition, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def look(pins: Mapping[str, Pin], tools: Mapping[str, Definition], now: str) -> Seen:
    """Compares what was seen with what is there. A tool that is new is pinned; one that is gone stays so."""
    seen = Seen(dict(pins))
    for name, definition in tools.items():
        pin = pins.get(name)
        if pin is None:
            seen.pins[name] = Pin(definition, now)
        elif definition == pin.accepted:
            if pin.changed is not None:
                seen.pins[name] = Pin(pin.accepted, pin.since)
        elif definition != pin.changed:
            seen.pins[name] = Pin(pin.accepted, pin.since, definition)
            seen.news.append(name)
    return seen


def differing(pin: Pin) -> list[str]:
    """The members that changed."""
    now = pin.changed or pin.accepted
    return [name for name in PINNED if pin.accepted.get(name) != now.get(name)]


def diff(pin: Pin) -> str:
    """The change for people to read, with what they could not see made visible."""
    import difflib  # only who asks for it pays for it

    before, after = (_lines(one) for one in (pin.accepted, pin.changed or pin.accepted))
    return visible("\n".join(difflib.unified_diff(before, after, "accepted", "now", lineterm="", n=2)))


def _lines(definition: Definition) -> list[str]:
    lines: list[str] = []
    for name in PINNED:
        if name not in definition:
            continue
        value = definition[name]
        text = value if isinstance(value, str) else json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
        lines += [f"{name}:", *(f"  {line}" for line in text.split("\n"))]
    return lines


def visible(text: str) -> str:
    """Unseen characters as their numbers, such as `<U+202E>`."""
    return _UNSEEN.sub(lambda found: f"<U+{ord(found[0]):04X}>", text)


def without_unseen(value: Any) -> Any:
    """A tool, prompt or resource whose descriptions and titles hold only what people can see.

    Names, and whatever a call is made of, stay as they are.
    """
    if isinstance(value, list):
        return [without_unseen(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    members = cast("dict[str, Any]", value)
    return {
        name: _UNSEEN.sub("", member)
        if name in ("description", "title") and isinstance(member, str)
        else without_unseen(member)
        for name, member in members.items()
    }


def has_unseen(text: str) -> bool:
    """Whether there is anything to take out; JSON may also spell it `\\u202e`."""
    return _UNSEEN.search(text) is not None or "\\u" in text
