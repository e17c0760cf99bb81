"""A host's configuration file, read and replaced so that nothing can be lost."""

import contextlib
import os
import secrets
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from acp_stdio.errors import Failure

MAX_BYTES: Final = 16 << 20
"""Far above any host's file; keeps us bounded when the path names something else."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a file held when we looked."""

    path: Path
    """As the host names it."""
    target: Path
    """The file itself, behind any links: links stay, their target is edited."""
    content: bytes | None
    """None where there is no file yet."""

    @property
    def text(self) -> str:
        """The content, with its byte order mark; an empty object for no file or an empty one.

        Raises `Failure` configuration_invalid where it is not UTF-8.
        """
        try:
            text = (self.content or b"").decode()
        except UnicodeDecodeError as error:
            line = (self.content or b"").count(b"\n", 0, error.start) + 1
            raise Failure(
                "configuration_invalid",
                f"{self.path}:{line}: is not UTF-8 text. The file was left as it is.",
                "Save it as UTF-8 and run the command again.",
            ) from None
        return text if text.strip("\ufeff \t\r\n") else "{}\n"


def read(path: Path) -> Snapshot:
    """The file as it is now. Raises `Failure` configuration_invalid where it cannot be read."""
    target = Path(os.path.realpath(path))
    return Snapshot(path, target, _content(path, target))


def replace(snapshot: Snapshot, text: str) -> Path | None:
    """Writes `text` in one step and reads it back; mode and owner stay. Returns the backup, None for a new file.

    Raises `Failure` configuration_invalid where the file has changed since `snapshot`, or cannot be written.
    """
    content = text.encode()
    target = snapshot.target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        facts = target.stat() if snapshot.content is not None else None
        draft = _write_new(target, f".{secrets.token_hex(4)}.tmp", content, facts)
        try:
            if _content(snapshot.path, target) != snapshot.content:
                raise Failure(
                    "configuration_invalid",
                    f"{snapshot.path} was changed by another program just now, so it was left as it is.",
                    "Quit the host and run the command again.",
                )
            backup = _back_up(target, snapshot.content, facts)
            os.replace(draft, target)
        finally:
            draft.unlink(missing_ok=True)
        _sync(target.parent)
    except OSError as error:
        raise Failure(
            "configuration_invalid",
            f"{snapshot.path} cannot be written: {error.strerror or 'I/O error'}. It was left as it is.",
            "See that the file and its folder belong to you, quit the host and run the command again.",
        ) from None
    if _content(snapshot.path, target) != content:
        raise Failure(
            "configuration_invalid",
            f"{snapshot.path} was changed by another program right after it was written.",
            "Quit the host and run the command again.",
        )
    return backup


def _content(path: Path, target: Path) -> bytes | None:
    try:
        if not stat.S_ISREG(target.stat().st_mode):
            raise Failure("configuration_invalid", f"{path} is not a file.", "Move it out of the way.")
        with target.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Failure(
            "configuration_invalid",
            f"{path} cannot be read: {error.strerror or 'I/O error'}.",
            "See that the file belongs to you.",
        ) from None
    if len(content) > MAX_BYTES:
        raise Failure("configuration_invalid", f"{path} is larger than 16 MiB.", "See whether it is the right file.")
    return content


def _back_up(target: Path, content: bytes | None, facts: os.stat_result | None) -> Path | None:
    if content is None:
        return None
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    for number in range(100):
        with contextlib.suppress(FileExistsError):
            return _write_new(target, f".bak-{stamp}{f'-{number}' * bool(number)}", content, facts)
    raise FileExistsError(0, "there are too many backups already")


def _write_new(target: Path, suffix: str, content: bytes, facts: os.stat_result | None) -> Path:
    """A new file beside `target`, safely on the disk, with the mode and owner of `facts` (None: 0600, ours)."""
    path = target.with_name(target.name + suffix)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if facts is not None and os.name == "posix":
                mine = os.fstat(descriptor)
                if (mine.st_uid, mine.st_gid) != (facts.st_uid, facts.st_gid):
                    os.fchown(descriptor, facts.st_uid, facts.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(facts.st_mode))
            os.fsync(descriptor)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return path


def _sync(directory: Path) -> None:
    """Makes the rename last over a power cut, where the system can."""
    if os.name == "posix":
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
