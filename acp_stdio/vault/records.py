"""Records in a store of small items: any length, and never half a record.

A keyring item may be limited (Windows: 1280 characters) and may be replaced by delete and add
(macOS), so a record is written in pieces beside the one at hand, in the other of two slots:
pieces first, then the head that makes them count. Only when the new record has been read back
is the old one removed. A crash at any point leaves the old record or the new one.

    head:   acp1 GENERATION PIECES CHECKSUM [TEXT]        item `PREFIX/KEY/a` or `…/b`
    pieces: 1200 characters each                          items `PREFIX/KEY/a.0`, `…/a.1`, …

Pieces are written upwards and deleted downwards, so whatever a crash leaves is found by counting.
"""

import contextlib
import hashlib
import json
from dataclasses import dataclass
from typing import Final, Protocol

from acp_stdio.errors import Failure

PREFIX: Final = "acp-stdio"
PIECE: Final = 1200
"""Characters. Windows takes 1280 with the head's own words (CRED_MAX_CREDENTIAL_BLOB_SIZE, UTF-16)."""
MOST_PIECES: Final = 64
_SLOTS: Final = ("a", "b")
_FORMAT: Final = "acp1"
_PASSES: Final = 3
"""A reader that meets a writer looks again: the record may have moved to the slot it looked at first."""


class Items(Protocol):
    """A keyring as it is: one text by name. Methods raise `Failure`."""

    def get(self, name: str) -> str | None: ...

    def set(self, name: str, text: str) -> None: ...

    def delete(self, name: str) -> bool:
        """Whether there was one."""
        ...


class Damaged(Exception):
    """There is a record, and none of its copies is whole."""


@dataclass(frozen=True, slots=True)
class _Head:
    generation: int
    pieces: int
    checksum: str
    text: str
    """The record itself where it fits in here."""


@dataclass(frozen=True, slots=True)
class _Copy:
    slot: str
    generation: int
    text: str


class Records:
    """Loads, saves and deletes records in `items`."""

    def __init__(self, items: Items) -> None:
        self._items = items

    def load(self, key: str) -> str | None:
        """The newest whole record. Raises `Damaged`, or `Failure` of the items."""
        seen = 0
        for _ in range(_PASSES):
            copy, seen = self._newest(key)
            if copy is not None:
                return _decoded(copy.text)
        if seen:
            raise Damaged
        return None

    def save(self, key: str, value: str) -> None:
        """Returns once the value is stored. Raises `Failure` and leaves what was there where it is not."""
        text = json.dumps(value)  # ASCII: its length is its size in every keyring's encoding, half of UTF-16's
        if len(text) > PIECE * MOST_PIECES:
            raise Failure("keyring_locked", f"A record of {len(text)} characters is too large for a keyring.")
        current, newest_seen = self._newest(key)
        slot = "b" if current is not None and current.slot == "a" else "a"
        name = _name(key, slot)
        with contextlib.suppress(Failure):  # leftovers can be written over; the checksum tells them apart
            self._clear(name)
        pieces = [text[at : at + PIECE] for at in range(0, len(text), PIECE)] if len(text) > PIECE else []
        for number, piece in enumerate(pieces):
            self._items.set(f"{name}.{number}", piece)
        generation = newest_seen + 1
        head = f"{_FORMAT} {generation} {len(pieces)} {_checksum(generation, text)} {'' if pieces else text}"
        self._items.set(name, head)
        if self._copy(key, slot) != _Copy(slot, generation, text):
            raise Failure("keyring_locked", "The keyring took the record and does not give it back.", "Try again.")
        with contextlib.suppress(Failure):  # the new record counts; the next save tries again
            self._clear(_name(key, _other(slot)))

    def delete(self, key: str) -> bool:
        """Removes every trace, the older copy first: a crash must not bring it back. Whether there was one."""
        current, _ = self._newest(key)
        last = current.slot if current is not None else "a"
        older = self._clear(_name(key, _other(last)))
        return self._clear(_name(key, last)) or older

    def _newest(self, key: str) -> tuple[_Copy | None, int]:
        """The newest whole copy, and the highest generation of any head, whole or not; 0 for no head."""
        copies: list[_Copy] = []
        seen = 0
        for slot in _SLOTS:
            text = self._items.get(_name(key, slot))
            if text is None:
                continue
            head = _parsed(text)
            seen = max(seen, head.generation if head else 1)
            copy = self._whole(key, slot, head)
            if copy is not None:
                copies.append(copy)
        return max(copies, key=lambda copy: copy.generation, default=None), seen

    def _copy(self, key: str, slot: str) -> _Copy | None:
        text = self._items.get(_name(key, slot))
        return self._whole(key, slot, _parsed(text)) if text is not None else None

    def _whole(self, key: str, slot: str, head: _Head | None) -> _Copy | None:
        if head is None:
            return None
        text = head.text
        for number in range(head.pieces):
            piece = self._items.get(f"{_name(key, slot)}.{number}")
            if piece is None:
                return None
            text += piece
        if _checksum(head.generation, text) != head.checksum:
            return None
        return _Copy(slot, head.generation, text)

    def _clear(self, name: str) -> bool:
        """Empties a slot: first the head, so that nothing counts any more. Whether there was a head."""
        text = self._items.get(name)
        if text is not None:
            self._items.delete(name)
        head = _parsed(text) if text is not None else None
        count = head.pieces if head else 0
        while count < MOST_PIECES and self._items.get(f"{name}.{count}") is not None:
            count += 1
        for number in reversed(range(count)):
            self._items.delete(f"{name}.{number}")
        return text is not None


def _name(key: str, slot: str) -> str:
    return f"{PREFIX}/{key}/{slot}"


def _other(slot: str) -> str:
    return "b" if slot == "a" else "a"


def _checksum(generation: int, text: str) -> str:
    return hashlib.sha256(f"{generation} {text}".encode()).hexdigest()[:16]


def _parsed(text: str) -> _Head | None:
    parts = text.split(" ", 4)
    if len(parts) != 5 or parts[0] != _FORMAT or not (parts[1].isdecimal() and parts[2].isdecimal()):
        return None
    head = _Head(int(parts[1]), int(parts[2]), parts[3], parts[4])
    return head if head.pieces <= MOST_PIECES else None


def _decoded(text: str) -> str:
    value: object = json.loads(text)
    if not isinstance(value, str):
        raise Damaged
    return value
