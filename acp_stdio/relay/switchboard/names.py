"""Whose tool or prompt a name means, and what a host calls it (MCP 2026-07-28, server/tools: tool names)."""

import hashlib
from collections.abc import Sequence
from typing import Final

SEPARATOR: Final = "__"
MAX_NAME: Final = 64
"""Characters that the hosts' model APIs take."""
_CHECKSUM: Final = 8
_HEX: Final = frozenset("0123456789abcdef")


class Names:
    """`<upstream>__<name>`, both ways. What is shown depends on the upstreams' names alone, never on who came first."""

    def __init__(self, upstreams: Sequence[str]) -> None:
        self._prefixes = [upstream + SEPARATOR for upstream in upstreams]
        self._longest_first = sorted(range(len(upstreams)), key=lambda lane: -len(upstreams[lane]))
        self._shortened: dict[str, tuple[int, str]] = {}

    def shown(self, lane: int, name: str) -> str:
        """What the host calls this upstream's tool or prompt; remembered where it had to be shortened.

        Also shortened, so that it ends in a checksum: what would read as another upstream's, since
        one upstream's name begins with the other's (`a` with `b__c`, `a__b` with `c`).
        """
        full = self._prefixes[lane] + name
        if len(full) <= MAX_NAME and self._by_prefix(full) == lane:
            return full
        checksum = hashlib.sha256(f"{self._prefixes[lane]}\n{name}".encode("utf-8", "surrogatepass")).hexdigest()
        short = f"{full[: MAX_NAME - 1 - _CHECKSUM]}_{checksum[:_CHECKSUM]}"
        self._shortened.setdefault(short, (lane, name))
        return short

    def route(self, shown: str) -> tuple[int, str] | None:
        """The upstream and its own name for what the host calls so; None where it is nobody's."""
        known = self._shortened.get(shown)
        if known is not None:
            return known
        lane = self._by_prefix(shown)
        return None if lane is None else (lane, shown[len(self._prefixes[lane]) :])

    def is_unknown_short(self, shown: str) -> bool:
        """Whether this looks shortened, and nothing that was seen yet has this short form."""
        mark, checksum = shown[-1 - _CHECKSUM : -_CHECKSUM], shown[-_CHECKSUM:]
        return mark == "_" and shown not in self._shortened and _HEX.issuperset(checksum)

    def _by_prefix(self, shown: str) -> int | None:
        return next((lane for lane in self._longest_first if shown.startswith(self._prefixes[lane])), None)
