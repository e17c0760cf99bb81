"""The catalogue's keys: what an upstream answered, by what it was asked.

A catalogue maps such a key to the answer's JSON text. It holds handshakes and lists only:
no call, no token, nothing that a person asked.
"""

from typing import Final

from acp_stdio.wire.members import members, text

Catalogue = dict[str, bytes]

DISCOVER: Final = "server/discover"
NO_ERA: Final = b"null"
"""In place of a handshake's answer: the upstream does not speak that era."""


def initialize_key(version: str) -> str:
    """Where the answer to an `initialize` that asked for this version is kept."""
    return f"initialize {version}"


def speaks(catalogue: Catalogue, *, modern: bool) -> bool | None:
    """Whether the upstream speaks that era; None where it has not shown it yet.

    An era is a property of the server and both may hold (MCP 2026-07-28, versioning), so each has its own
    evidence: what the server last answered to that era's handshake. 401 and a network that fails are none.
    """
    if modern:
        known = catalogue.get(DISCOVER)
        return None if known is None else known != NO_ERA
    greetings = [answer for key, answer in catalogue.items() if is_initialize(key)]
    return any(answer != NO_ERA for answer in greetings) if greetings else None


def is_initialize(key: str) -> bool:
    """Whether the key is that of an answer to an `initialize`."""
    return key.startswith("initialize ")


def list_key(method: str, cursor: str, *, modern: bool) -> str:
    """Where one page of a list is kept; the two eras' results differ in form."""
    return f"{'modern' if modern else 'legacy'} {method} {cursor}"


def is_handshake(key: str) -> bool:
    """Whether the key belongs to the small file that a start reads first."""
    return key == DISCOVER or is_initialize(key)


def next_cursor(page: bytes) -> str:
    """Where a list goes on; empty on its last page."""
    return text(members(page).get("nextCursor"))


def forget_unreachable(catalogue: Catalogue) -> None:
    """Drops from it what is not `current`."""
    for key in catalogue.keys() - current(catalogue).keys():
        del catalogue[key]


def current(catalogue: Catalogue) -> Catalogue:
    """All but the pages to which no first page leads any more: a server may give new cursors each time it is asked."""
    kept = {key: answer for key, answer in catalogue.items() if is_handshake(key)}
    for first in [key for key in catalogue if key.endswith(" ") and key.count(" ") == 2]:
        key = first
        while key in catalogue and key not in kept:
            kept[key] = catalogue[key]
            key = first + next_cursor(kept[key])
    return kept
