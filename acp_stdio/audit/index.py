"""The index of all chains in a folder, itself a hash chain, added to under a lock that is held for a moment.

It says which chains were opened and after which, how each ended, which heads were signed, and
what was removed: so a missing file, a shortened one or one from elsewhere shows.
"""

import contextlib
import os
from collections.abc import Generator, Iterator
from typing import Any, Final

from acp_stdio.audit import chain, lines
from acp_stdio.audit.folder import Folder
from acp_stdio.audit.record import utc
from acp_stdio.vault.lock import FileLock

SCHEMA: Final = "acp.audit.index/1"
NAME: Final = "index"
"""In the place of a chain's name in the index's own `Head`."""
WITHIN: Final = 5.0
"""Seconds to wait for the lock; holding it takes milliseconds."""


class Index:
    """`held` to add to it; `entries` reads it without a lock."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def held(self, timeout: float = WITHIN) -> Generator["HeldIndex"]:
        """Nobody else adds to it meanwhile. Raises `TimeoutError` and other `OSError`s."""
        self._folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(self._folder.index_lock).held(timeout):
            file = lines.open_lines(self._folder.index)
            try:
                lines.cut_torn(file)
                yield HeldIndex(self._folder, file)
            finally:
                os.close(file)

    def entries(self, about: str = "") -> Iterator[dict[str, Any]]:
        """Each entry that names `about`, a chain; unchecked, and what is no entry is left out."""
        return _entries(self._folder, about)


class HeldIndex:
    """The index while we hold its lock."""

    def __init__(self, folder: Folder, file: int) -> None:
        self._folder = folder
        self._file = file
        self._head = _head(lines.last_line(file))

    @property
    def head(self) -> chain.Head:
        """Its last entry."""
        return self._head

    def add(self, event: str, now: float, **about: Any) -> None:
        """Adds one entry. Raises `OSError`."""
        entry = {"schema": SCHEMA, "seq": self._head.seq + 1, "time": utc(now), "event": event}
        line, digest = chain.link({**entry, **about, "prev": self._head.hash})
        lines.append(self._file, line)
        self._head = chain.Head(NAME, self._head.seq + 1, digest)

    def sync(self) -> None:
        """Makes what was added last over a power loss."""
        os.fsync(self._file)

    def entries(self, about: str) -> Iterator[dict[str, Any]]:
        """See `Index.entries`."""
        return _entries(self._folder, about)


def _entries(folder: Folder, about: str) -> Iterator[dict[str, Any]]:
    name = about.encode()
    for line in lines.whole_lines(folder.index):
        if name in line:
            with contextlib.suppress(chain.NotALink):
                yield chain.parse(line)


def _head(line: bytes) -> chain.Head:
    """Also of a line that was tampered with: what follows it must not hide that."""
    if not line:
        return chain.Head(NAME, 0, chain.NOTHING)
    try:
        last = chain.parse(line)
    except chain.NotALink:
        return chain.Head(NAME, 0, chain.NOTHING)
    return chain.Head(NAME, last["seq"], str(last["hash"]))
