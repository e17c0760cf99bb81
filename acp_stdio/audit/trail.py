"""The trail of one process: nothing is sent before its record is written, each chained to the one before.

A file a process, so that no call waits for a lock. The folder's index is touched when a chain
begins and ends. A chain ends with its process, and after a day or 16 MB, so that old ones can go.
"""

import contextlib
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from acp_stdio import __version__
from acp_stdio.audit import lines
from acp_stdio.audit.chain import NOTHING, Head, link
from acp_stdio.audit.folder import Folder, new_chain
from acp_stdio.audit.index import WITHIN, HeldIndex, Index
from acp_stdio.audit.record import Record, event_record
from acp_stdio.audit.settle import INTENT, OUTCOME, anybody_dead, settle_dead
from acp_stdio.errors import Failure
from acp_stdio.vault.lock import FileLock
from acp_stdio.vault.private_file import sync_directory

log = logging.getLogger(__name__)

FULL: Final = 16 * 1024 * 1024
"""Bytes after which another chain begins."""
OLD: Final = 86_400.0
"""Seconds after which another chain begins."""
LATER: Final = 600.0
"""Seconds until that is tried again, where the index is held by somebody else."""
IN_PASSING: Final = 0.05
"""Seconds to wait for the index for what can also be done later."""


class Trail:
    """Writes this process's records. Begins its chain with the first one."""

    def __init__(self, directory: Path, *, sync: bool = False, admit: Callable[[], None] = lambda: None) -> None:
        """`sync`: an intent is to survive a power loss, too (`fsync`: 0.1 to 10 ms, by the disk).
        `admit`: asked before each intent; its `Failure` keeps the call from being made."""
        self._sync = sync
        self._admit = admit
        self._folder = Folder(directory)
        self._index = Index(self._folder)
        self._chain: _Chain | None = None
        self._open: dict[str, None] = {}
        """Calls whose outcome is still to be written."""
        self._overdue: list[Record] = []
        """Outcomes that could not be written when it was time."""

    def __enter__(self) -> "Trail":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def append(self, record: Record) -> None:
        """Writes one record; when this returns, it survives our death.

        Raises `Failure("audit_unavailable")`: the folder or disk does not take it. The call that it is about must
        not be made then (NIST SP 800-53 AU-5). An outcome is kept, and goes before anything else that is written.
        """
        if record["event"] == INTENT:
            self.admit()
        self.append_all([record])

    def admit(self) -> None:
        """Raises `Failure` where no call may be made now, for another reason than that its intent cannot be written."""
        self._admit()

    def append_all(self, records: list[Record]) -> list[Head]:
        """Writes several at once, all or none of them, and returns their places; `admit` is the caller's to ask.

        Raises as `append` does.
        """
        if not records:
            return []
        try:
            self._ready()
            self._pay()
            return self._write(*records)
        except OSError as e:
            self._overdue += [record for record in records if record["event"] == OUTCOME]
            raise self._unavailable(str(e) if isinstance(e, TimeoutError) else e.strerror or type(e).__name__) from e

    def settle(self) -> None:
        """Settles what dead processes left, if any did: for the start, since the next record may be a long way off."""
        with contextlib.suppress(Failure):
            try:
                if self._chain is None and anybody_dead(self._folder):
                    self._begin()
            except OSError as e:
                log.warning("what an earlier process left is not settled yet: %s", e)

    @property
    def head(self) -> Head:
        """The last record: what a signed statement about our calls pins. `seq` 0 where there is none yet."""
        return self._chain.head if self._chain is not None else Head("", 0, NOTHING)

    def close(self) -> None:
        """Ends the chain; a later record begins another. Never fails: what is left open the next process settles."""
        with contextlib.suppress(OSError):
            self._pay()
        ending, self._chain = self._chain, None
        if ending is None:
            return
        try:
            if not self._open:
                with self._index.held(IN_PASSING) as index:
                    ending.close(index)
        except OSError as e:
            log.warning("the trail's index was not told of the end: %s", e)
        finally:
            ending.let_go()

    # -- one chain after the other ------------------------------------------------------------------

    def _ready(self) -> None:
        """Makes sure of a chain that takes records."""
        current = self._chain
        if current is None:
            self._begin()
        elif current.was_touched():
            log.error("%s was changed or removed by another program: another file begins", current.path)
            self._begin(after=current)
        elif current.is_due():
            with contextlib.suppress(OSError):
                self._begin(after=current, timeout=IN_PASSING)
            current.put_off()

    def _begin(self, after: "_Chain | None" = None, timeout: float = WITHIN) -> None:
        with self._index.held(timeout) as index:
            self._chain = _Chain.opened(self._folder, index, after, list(self._open))
            if self._sync:
                index.sync()
                sync_directory(self._folder.path)
            if after is not None:
                after.close(index)
            settle_dead(self._folder, index, self._chain.head.chain, self._write)

    def _pay(self) -> None:
        if self._overdue:
            self._write(*self._overdue)
            self._overdue.clear()

    def _write(self, *records: Record) -> list[Head]:
        assert self._chain is not None
        heads = self._chain.add(records, sync=self._sync and any(record["event"] == INTENT for record in records))
        for record in records:
            if record["event"] == INTENT:
                self._open[record["call"]] = None
            elif record["event"] == OUTCOME:
                self._open.pop(record["call"], None)
        return heads

    def _unavailable(self, why: str) -> Failure:
        return Failure(
            "audit_unavailable",
            f"The audit trail in {self._folder.path} cannot be written: {why}.",
            "Free space or mend the folder's permissions, then try again.",
        )


class _Chain:
    """One file while it is being written, under a lock that ends with us."""

    def __init__(self, folder: Folder, name: str, lock: FileLock, file: int) -> None:
        self.path = folder.file(name)
        self.head = Head(name, 0, NOTHING)
        self._lock_path = folder.lock(name)
        self._lock, self._file = lock, file
        self._size = 0
        self._torn = False
        self._due_at = time.monotonic() + OLD
        self._due_size = FULL

    @classmethod
    def opened(cls, folder: Folder, index: HeldIndex, after: "_Chain | None", owes: list[str]) -> "_Chain":
        """A new chain after `after`, with the calls that it takes over. Raises `OSError`, and then there is none."""
        now = time.time()
        name = new_chain(now)
        lock = FileLock(folder.lock(name))
        lock.acquire(WITHIN)  # first the lock: whoever sees the file and can have the lock knows that we died
        try:
            new = cls(folder, name, lock, lines.open_lines(folder.file(name), new=True))
        except OSError:
            lock.release()
            folder.lock(name).unlink(missing_ok=True)
            raise
        try:
            before: Record = {"after": after.head.chain, "owes": owes} if after is not None else {}
            new.head = Head(name, 0, index.head.hash)  # so the chain's place among all is in its first record
            about = {"chain": name, "version": __version__, **before}
            new.add([event_record("trail.opened", user=None, now=now, about=about)])
            index.add("opened", now, chain=name, first=new.head.hash, by=name, **before)
        except OSError:
            new.let_go()
            folder.file(name).unlink(missing_ok=True)
            folder.lock(name).unlink(missing_ok=True)
            raise
        return new

    def add(self, records: Sequence[Record], *, sync: bool = False) -> list[Head]:
        """Adds records, numbered and linked. Raises `OSError`, and then the chain is as it was.

        `sync`: they survive a power loss, too.
        """
        heads = [self.head]
        linked: list[bytes] = []
        for record in records:
            name, seq, before = heads[-1]
            record["seq"] = seq + 1
            record.pop("prev", None)
            record["prev"] = before
            line, digest = link(record)
            linked.append(line)
            heads.append(Head(name, seq + 1, digest))
        text = b"".join(linked)
        if self._torn:
            os.ftruncate(self._file, self._size)
        self._torn = True
        lines.append(self._file, text)
        if sync:
            self._sync()
        self._torn = False
        self._size += len(text)
        self.head = heads[-1]
        return heads[1:]

    def _sync(self) -> None:
        """Takes what was added away again where it cannot be made sure of: its calls are not made."""
        try:
            os.fsync(self._file)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise

    def was_touched(self) -> bool:
        """Whether the file is not as we left it: removed, or of another length."""
        facts = os.fstat(self._file)
        return facts.st_nlink == 0 or (facts.st_size != self._size and not self._torn)

    def is_due(self) -> bool:
        """Whether another chain should begin."""
        return self._size >= self._due_size or time.monotonic() >= self._due_at

    def put_off(self) -> None:
        """Where another could not begin, this one goes on for a while."""
        self._due_size = self._size + FULL
        self._due_at = time.monotonic() + LATER

    def close(self, index: HeldIndex) -> None:
        """Says in the index how it ends, and gives it up; a file that was tampered with is left as it is found."""
        if not self.was_touched():
            if self._torn:
                os.ftruncate(self._file, self._size)
            name, seq, digest = self.head
            index.add(
                "closed", time.time(), chain=name, records=seq, head=digest, bytes=self._size, by=name, unknown=[]
            )
            self.let_go()
            self._lock_path.unlink(missing_ok=True)

    def let_go(self) -> None:
        """Closes the file and gives up its lock; nothing happens the second time."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)
            self._lock.release()
