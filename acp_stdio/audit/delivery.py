"""How far a collector has accepted the trail, and what may not happen before it has.

The trail's own files are the spool. The exporter (`audit.exporter`) keeps beside them how many bytes and lines of
each it got accepted; everybody else compares that with what is there.
"""

import contextlib
import importlib.util
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import urlsplit

from acp_stdio.audit import chain
from acp_stdio.audit.folder import Folder
from acp_stdio.errors import Failure
from acp_stdio.settings.model import AuditSettings

EVERY: Final = 1.0
"""Seconds for which a count may stand while records of other processes may be added to it."""
_STEP: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a collector has, and what keeps it from having more."""

    chains: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    """Each chain's bytes and lines from its beginning on."""
    trouble: str = ""
    """Why the last attempt failed, in a few words; empty where it did not."""


class CursorFile:
    """`otlp.json` beside the trail's files: written by the exporter alone, which holds `otlp.lock`."""

    def __init__(self, folder: Folder) -> None:
        self.path = folder.path / "otlp.json"
        self.lock_path = folder.path / "otlp.lock"

    def mark(self) -> tuple[int, int]:
        """Differs after each change; one `stat`."""
        try:
            facts = self.path.stat()
        except OSError:
            return 0, 0
        return facts.st_mtime_ns, facts.st_ino

    def read(self) -> Accepted:
        """Nothing accepted where there is no file or a damaged one: then all is sent once more."""
        try:
            data = json.loads(self.path.read_bytes())
            chains = {str(name): (int(size), int(count)) for name, (size, count) in data["chains"].items()}
            return Accepted(chains, str(data["trouble"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return Accepted()

    def write(self, accepted: Accepted) -> None:
        """Replaces it at once, and durably. Raises `OSError`."""
        draft = self.path.with_suffix(f".{os.getpid()}.tmp")
        text = json.dumps({"chains": accepted.chains, "trouble": accepted.trouble}, separators=(",", ":"))
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
        try:
            with os.fdopen(os.open(draft, flags, 0o600), "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, self.path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise


class Backlog:
    """What no collector has accepted yet. Counts what was added since its last look, and no more."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.cursor = CursorFile(folder)
        self._seen: dict[str, tuple[int, int]] = {}
        """Bytes and lines of each chain that were counted."""

    def any(self) -> bool:
        """Whether there is something to deliver; reads none of it."""
        accepted = self.cursor.read().chains
        return any(_size(self.folder, name) > accepted.get(name, (0, 0))[0] for name in self.folder.chains())

    def count(self, most: int) -> int:
        """How many records; stops where it has found `most`. Raises `OSError`."""
        accepted = self.cursor.read().chains
        total = 0
        for name in self.folder.chains():
            done = accepted.get(name, (0, 0))
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                total += max(0, self._lines(name, done, most - total) - done[1])
            if total >= most:
                break
        return total

    def since(self) -> str:
        """The time of the oldest record that is not delivered, as records say it; empty where all are."""
        accepted = self.cursor.read().chains
        oldest = ""
        for name in self.folder.chains():
            with contextlib.suppress(OSError, chain.NotALink), self.folder.file(name).open("rb") as file:
                file.seek(accepted.get(name, (0, 0))[0])
                line = file.readline()
                if line.endswith(b"\n"):
                    when = str(chain.parse(line[:-1]).get("time", ""))
                    oldest = min(oldest or when, when)
        return oldest

    def _lines(self, name: str, done: tuple[int, int], room: int) -> int:
        offset, count = max(self._seen.get(name, done), done)
        if _size(self.folder, name) <= offset:  # opened only where there is something new
            return count
        with self.folder.file(name).open("rb") as file:
            file.seek(offset)
            read = offset
            while count - done[1] < room and (part := file.read(_STEP)):
                read += len(part)
                if b"\n" in part:  # what stands behind the last one is being written
                    count += part.count(b"\n")
                    offset = read - len(part) + part.rindex(b"\n") + 1
        self._seen[name] = offset, count
        return count


class Required:
    """`deliver = "required"`: asked before each intent. One `stat` where nothing has changed."""

    def __init__(self, folder: Folder, settings: AuditSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._backlog = Backlog(folder)
        self._most = settings.max_backlog
        self._where = urlsplit(settings.otlp).netloc
        self._clock = clock
        self._mark = (-1, -1)
        self._known = 0
        self._own = 0
        """Records that our calls have added since then, or will."""
        self._looked = 0.0

    def admit(self) -> None:
        """Raises `Failure("audit_unavailable")` while `max_backlog` records wait to be delivered."""
        mark = self._backlog.cursor.mark()
        if mark == self._mark and self._known >= self._most:
            raise self._refusal()
        stale = self._clock() - self._looked >= EVERY
        if mark != self._mark or stale or self._known + self._own + 1 >= self._most:  # 1: what opens a file
            self._look(mark)
        self._own += 2  # the intent and its outcome

    def _look(self, mark: tuple[int, int]) -> None:
        try:
            self._known = self._backlog.count(self._most)
        except OSError as e:
            why = f"The audit trail in {self._backlog.folder.path} cannot be read: {e.strerror}."
            raise Failure("audit_unavailable", why, "Mend the folder's permissions, then try again.") from e
        self._mark, self._own, self._looked = mark, 0, self._clock()
        if self._known >= self._most:
            raise self._refusal()

    def _refusal(self) -> Failure:
        trouble = self._backlog.cursor.read().trouble
        last = f" The last attempt: {trouble}." if trouble else ""
        return Failure(
            "audit_unavailable",
            f"The collector at {self._where} has not accepted {self._most} or more records of the audit trail, "
            f"and without it no call is made.{last}",
            "Check the network to the collector, then try again; `acp-stdio doctor` says more.",
        )


def require_libraries(settings: AuditSettings) -> None:
    """Raises `Failure("configuration_invalid")` where a collector is named and nothing here could reach it."""
    if settings.otlp and not installed():
        raise Failure(
            "configuration_invalid",
            "[audit] otlp names a collector, and the OpenTelemetry SDK that would bring the trail there is missing.",
            "Install it with `pip install '.[otlp]'`, or remove the key.",
        )


def installed() -> bool:
    """Whether the extra `otlp` is there; imports nothing of it."""
    with contextlib.suppress(ImportError):
        return importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    return False


def undelivered(settings: AuditSettings, folder: Folder) -> dict[str, Any] | None:
    """For people: where to, how many, since when, and why; None where nothing is to be delivered.

    Raises `OSError`.
    """
    if not settings.otlp:
        return None
    backlog = Backlog(folder)
    count = backlog.count(1 << 62)
    return {
        "otlp": settings.otlp,
        "deliver": settings.deliver,
        "undelivered": count,
        "since": (backlog.since() or None) if count else None,
        "trouble": (backlog.cursor.read().trouble or None) if count else None,
    }


def undelivered_words(told: dict[str, Any]) -> str:
    """`undelivered` in a sentence without its end."""
    if not told["undelivered"]:
        return f"all records have reached {told['otlp']}"
    why = f" ({told['trouble']})" if told["trouble"] else ""
    return f"{told['undelivered']} records have not reached {told['otlp']}, the oldest of {told['since']}{why}"


def is_delivered(folder: Folder) -> Callable[[str], bool]:
    """Whether a chain was accepted as a whole; for those that end."""
    accepted = CursorFile(folder).read().chains
    return lambda name: accepted.get(name, (0, 0))[0] >= _size(folder, name)


def forget_gone(accepted: Accepted, folder: Folder) -> Accepted:
    """Without the chains that have no file any more."""
    there = set(folder.chains())
    return replace(accepted, chains={name: done for name, done in accepted.chains.items() if name in there})


def _size(folder: Folder, name: str) -> int:
    try:
        return folder.file(name).stat().st_size
    except OSError:
        return 0
