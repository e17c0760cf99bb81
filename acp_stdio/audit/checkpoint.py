"""Signed checkpoints: where each chain stood at a moment, said with this computer's key.

Made by whoever may read the keyring: the token helper after each renewal, `login` and `logout`. So
what is not signed yet is what was written since the last renewal: of a process that makes calls, at most
`recheck_identity` plus the wait for the next call. Before signing, everything since the last checkpoint is
checked: a signature never covers what was changed before it.
"""

import base64
import json
import os
import time
from dataclasses import dataclass
from typing import Any, Final

from acp_stdio.audit import chain, lines
from acp_stdio.audit.chain import Head
from acp_stdio.audit.folder import Folder
from acp_stdio.audit.index import Index
from acp_stdio.audit.record import utc
from acp_stdio.vault.device_key import DeviceKey

KIND: Final = "acp-checkpoint+jws"
"""The JWS's `typ`."""
EVENT: Final = "checkpoint"
_MARK: Final = b'"event":"checkpoint"'
"""Within a text a quotation mark is escaped, so nothing else has it."""


@dataclass(frozen=True, slots=True)
class Stand:
    """How far one chain was written."""

    head: Head
    bytes: int


class Altered(Exception):
    """What was to be signed is not what was written; the text says where."""


def sign(folder: Folder, key: DeviceKey) -> bool:
    """Adds a checkpoint to the index; False where there is nothing new.

    Raises `Altered`, and then nothing is signed; `OSError` where the index cannot be written.
    """
    if not folder.index.exists():
        return False
    with Index(folder).held() as index:
        last, at = _last(folder)
        stands = {name: _checked(folder, name, last.get(name)) for name in folder.unsettled()}
        heads = {name: [*stand.head[1:], stand.bytes] for name, stand in stands.items() if stand.head.seq}
        if at == index.head.seq and heads == {name: [*stand.head[1:], stand.bytes] for name, stand in last.items()}:
            return False
        said = {
            "schema": "acp.audit.checkpoint/1",
            "time": utc(time.time()),
            "index": [index.head.seq, index.head.hash],
            "heads": heads,
        }
        index.add(EVENT, time.time(), jws=key.sign(json.dumps(said, separators=(",", ":")).encode(), KIND))
    return True


def stands_of(said: dict[str, Any]) -> dict[str, Stand]:
    """The chains that a checkpoint names. Raises `ValueError` where it makes no sense."""
    try:
        return {
            name: Stand(Head(name, int(seq), str(digest)), int(size))
            for name, (seq, digest, size) in said["heads"].items()
        }
    except (KeyError, TypeError, AttributeError):
        raise ValueError("it is no checkpoint") from None


def unsigned_payload(jws: str) -> dict[str, Any]:
    """What a checkpoint says, its signature unchecked. Raises `ValueError`."""
    text = jws.split(".")[1] if jws.count(".") == 2 else ""
    said: object = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    if not isinstance(said, dict):
        raise ValueError("it is no checkpoint")
    return said  # pyright: ignore[reportUnknownVariableType]  # JSON; its readers check what they take


def _last(folder: Folder) -> tuple[dict[str, Stand], int]:
    """What the newest checkpoint says, and its number in the index, which is read from there on."""
    since: list[bytes] = []
    for line in lines.whole_lines(folder.index):
        if _MARK in line:
            since.clear()
        since.append(line)
    stands: dict[str, Stand] = {}
    at, before = 0, ""
    for line in since:
        try:
            entry = chain.read(line)
            if entry["event"] == EVENT:
                stands, at = stands_of(unsigned_payload(entry["jws"])), entry["seq"]
        except (ValueError, KeyError) as e:
            raise Altered(f"the index: {e}") from None
        if before and entry["prev"] != before:
            raise Altered(f"the index, entry {entry['seq']}: it does not follow from the one before it")
        before = str(entry["hash"])
    return stands, at


def _checked(folder: Folder, name: str, known: Stand | None) -> Stand:
    """Where a chain stands now, all of it since `known` having been read."""
    at = known or Stand(Head(name, 0, ""), 0)
    seq, before, size = at.head.seq, at.head.hash, at.bytes
    try:
        file = folder.file(name).open("rb")
    except FileNotFoundError:
        if known is not None:
            raise Altered(f"{name} is gone") from None
        return at
    with file:
        if os.fstat(file.fileno()).st_size < size:
            raise Altered(f"{name} is shorter than when it was last signed")
        file.seek(size)
        for line in file:
            if not line.endswith(b"\n"):
                break  # being written
            try:
                record = chain.read(line[:-1])
            except chain.NotALink as e:
                raise Altered(f"{name}, record {seq + 1}: {e}") from None
            if record["seq"] != seq + 1 or (before and record["prev"] != before):
                raise Altered(f"{name}, record {seq + 1}: it does not follow from the one before it")
            seq, before, size = seq + 1, str(record["hash"]), size + len(line)
    return Stand(Head(name, seq, before), size)
