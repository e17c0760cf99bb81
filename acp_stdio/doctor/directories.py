"""The directories: ours alone, writable, on a local disk."""

import os
import stat
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from acp_stdio.doctor.check import Case
from acp_stdio.doctor.finding import Finding, ok, problem, warning
from acp_stdio.settings.paths import private_dir

_REMOTE: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "9p", "fuse.sshfs", "fuse.glusterfs"}
)
"""Kinds of file systems whose locks may not be seen by another machine, or by this one after a hiccup."""


@dataclass(frozen=True, slots=True)
class Place:
    """What is the matter with one directory: nothing, a fault, or a doubt with what to do about it."""

    fault: str = ""
    doubt: str = ""
    next: str = ""


def probe(case: Case) -> Finding:
    """The profile's state and cache, and the log: made where they are missing, as `run` would."""
    settings = case.settings
    places = {"state": settings.state_dir, "cache": settings.cache_dir, "log": settings.paths.log}
    details = {"config": str(settings.paths.config), **{name: str(path) for name, path in places.items()}}
    looks = {name: look(path) for name, path in places.items()}
    for name, seen in looks.items():
        if seen.fault:
            message = f"The {name} directory {places[name]} {seen.fault}."
            return problem("configuration_invalid", message, seen.next, **details)
    for name, seen in looks.items():
        if seen.doubt:
            return warning(f"The {name} directory {places[name]} {seen.doubt}.", seen.next, **details)
    return ok(f"writable and yours alone; state in {settings.state_dir}", **details)


def look(path: Path) -> Place:
    """Writes and removes a file in `path`, and judges whom it belongs to and where it lies."""
    try:
        facts = private_dir(path).stat()
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(b"acp-stdio doctor\n")
            file.flush()
    except OSError as error:
        mend = f"Make room, and see that {path} is a directory that you may write to."
        return Place(fault=f"cannot be written: {error.strerror or type(error).__name__}", next=mend)
    if sys.platform != "win32":
        if facts.st_uid != os.getuid():
            return Place(fault="belongs to another user", next=f"Run `sudo chown -R {os.getuid()} {path}`.")
        if facts.st_mode & 0o022:
            return Place(fault="can be changed by other users", next=f"Run `chmod 700 {path}`.")
        if facts.st_mode & 0o077:
            mode = f"{stat.S_IMODE(facts.st_mode):04o}"
            return Place(doubt=f"can be read by other users (mode {mode})", next=f"Run `chmod 700 {path}`.")
    if kind := remote_kind(path):
        return Place(
            doubt=f"lies on a network file system ({kind}), where locks between processes may fail",
            next="Keep it on a local disk: set XDG_STATE_HOME and XDG_CACHE_HOME, or ACP_STDIO_HOME, for the host too.",
        )
    return Place()


def remote_kind(path: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """The kind of network file system that `path` lies on; empty for a local one, and where nobody tells."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
        place = path.resolve()
    except OSError:
        return ""
    best, kind = Path("/"), ""
    for point, fstype in _mounts(lines):
        if place.is_relative_to(point) and len(point.parts) >= len(best.parts):
            best, kind = point, fstype
    return kind if kind in _REMOTE else ""


def _mounts(lines: Iterable[str]) -> Iterable[tuple[Path, str]]:
    for line in lines:
        fields = line.split(" ")
        if len(fields) >= 3:  # proc(5): blanks in a name are written as octal numbers
            yield Path(fields[1].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")), fields[2]
