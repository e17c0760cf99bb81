"""Settles what dead processes left open: each of their intents gets its one outcome, `unknown`.

That a writer is dead is known from its lock, which the system takes from it with its last
breath; a process id may be another's by now. All of this happens under the index's lock. What we
are about to write is said in the index first, so that whoever settles after our own death finds
where to look, and writes what is missing and nothing twice.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from acp_stdio.audit import chain, lines
from acp_stdio.audit.folder import Folder
from acp_stdio.audit.index import HeldIndex
from acp_stdio.audit.record import Record, unknown_outcome
from acp_stdio.vault.lock import FileLock

INTENT, OUTCOME = "call.intent", "call.outcome"


def settle_dead(folder: Folder, index: HeldIndex, mine: str, write: Callable[[Record], object]) -> None:
    """Settles every chain whose writer is gone; the outcomes go to `write`, which adds to the chain `mine`.

    Raises `OSError`, and what `write` raises; the rest is left for the next one.
    """
    for name in folder.unsettled():
        lock = FileLock(folder.lock(name))
        if name == mine or not lock.try_acquire():
            continue
        try:
            _settle(folder, index, name, mine, write)
        finally:
            lock.release()
        folder.lock(name).unlink(missing_ok=True)


def anybody_dead(folder: Folder) -> bool:
    """Whether there is something to settle; a look that writes nothing."""
    for name in folder.unsettled():
        lock = FileLock(folder.lock(name))
        if lock.try_acquire():
            lock.release()
            return True
    return False


@dataclass(slots=True)
class _Known:
    """What the index says of one chain."""

    opened: bool = False
    closed: bool = False
    after: str = ""
    owes: set[str] = field(default_factory=set[str])
    """Calls that an earlier chain of the same process handed on to it."""
    passed_on: set[str] = field(default_factory=set[str])
    """Calls that it handed on itself."""
    settled_in: list[str] = field(default_factory=list[str])
    """Where somebody began to write its outcomes, and may have died over it."""


def _known(entries: Iterable[dict[str, Any]], name: str) -> _Known:
    known = _Known()
    for entry in entries:
        match entry["event"]:
            case "opened" if entry["chain"] == name:
                known.opened, known.after, known.owes = True, entry.get("after", ""), set(entry.get("owes", []))
            case "opened" if entry.get("after") == name:
                known.passed_on.update(entry.get("owes", []))
            case "closed" if entry["chain"] == name:
                known.closed = True
                if entry["by"] != name:
                    known.settled_in.append(entry["by"])
            case _:
                pass
    return known


def _settle(folder: Folder, index: HeldIndex, name: str, mine: str, write: Callable[[Record], object]) -> None:
    known = _known(index.entries(name), name)
    size = _without_torn_end(folder, name)
    if not size and not known.opened:  # it died before its first record
        folder.file(name).unlink(missing_ok=True)
        return
    last, found, done = _calls(folder, name)
    for other in known.settled_in:
        done |= _calls(folder, other)[2]
    found |= _owed(folder, index, known)
    left = {call: intent for call, intent in found.items() if call not in done and call not in known.passed_on}
    now = time.time()
    if not known.opened:
        index.add("opened", now, chain=name, by=mine)
    if left or not known.closed:
        index.add(
            "closed",
            now,
            chain=name,
            records=last.seq,
            head=last.hash,
            bytes=size,
            by=mine,
            unknown=list(left),
        )
    for intent in left.values():
        write(unknown_outcome(intent, name, now))


def _owed(folder: Folder, index: HeldIndex, known: _Known) -> dict[str, Record]:
    """The intents that were handed on to it, from the chain that wrote them."""
    owed: dict[str, Record] = {}
    after, seen = known.after, set[str]()
    while after and after not in seen and len(owed) < len(known.owes):
        seen.add(after)
        owed |= {call: intent for call, intent in _calls(folder, after)[1].items() if call in known.owes}
        after = _known(index.entries(after), after).after
    return owed


def _without_torn_end(folder: Folder, name: str) -> int:
    """The size of its file, once what was torn is cut off; 0 where there is none."""
    try:
        file = os.open(folder.file(name), os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        return 0
    try:
        lines.cut_torn(file)
        return os.fstat(file).st_size
    finally:
        os.close(file)


def _calls(folder: Folder, name: str) -> tuple[chain.Head, dict[str, Record], set[str]]:
    """A chain's head, its intents by call, and the calls whose outcome it holds."""
    head = chain.Head(name, 0, chain.NOTHING)
    intents: dict[str, Record] = {}
    done: set[str] = set()
    for line in lines.whole_lines(folder.file(name)):
        with contextlib.suppress(chain.NotALink):
            record = chain.parse(line)
            head = chain.Head(name, record["seq"], str(record["hash"]))
            if record.get("event") == INTENT:
                intents[record["call"]] = record
            elif record.get("event") == OUTCOME:
                done.add(record["call"])
    return head, intents, done
