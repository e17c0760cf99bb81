"""A trail and a server's log side by side, by the request id that both have. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)
"""Our record ids: UUIDs of version 7 (RFC 9562)."""
_TOOL: Final = re.compile(r"\btools?/call\b|\btool=", re.IGNORECASE)


@dataclass(slots=True)
class Joined:
    """What is on both sides, and what is on one alone."""

    matched: list[tuple[dict[str, Any], str]] = field(default_factory=list[tuple[dict[str, Any], str]])
    """An intent and the server's line."""
    only_local: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """It left here, or may have, and the server has no line."""
    only_backend: list[str] = field(default_factory=list[str])
    """Calls that the server saw and this trail did not send: somebody else's, or somebody goes round it."""

    @property
    def clean(self) -> bool:
        return not self.only_local and not self.only_backend


def join(records: Iterable[dict[str, Any]], log: Iterable[str]) -> Joined:
    """Matches intents with log lines. A line without any id of ours counts where it speaks of a tool call."""
    intents: dict[str, dict[str, Any]] = {}
    checks = set[str]()
    for record in records:
        if record.get("event") == "call.intent":
            intents[record["id"]] = record
        elif record.get("event") == "backend.check":
            checks.add(record["id"])
    joined, seen = Joined(), set[str]()
    for line in log:
        found = [each.lower() for each in _ID.findall(line)]
        if checks.intersection(found):
            continue  # `check-backend` asked, and not an agent
        mine = next((each for each in found if each in intents), None)
        if mine is not None:
            if mine not in seen:
                joined.matched.append((intents[mine], line))
            seen.add(mine)
        elif found or _TOOL.search(line):
            joined.only_backend.append(line)
    joined.only_local = [record for name, record in intents.items() if name not in seen]
    return joined
