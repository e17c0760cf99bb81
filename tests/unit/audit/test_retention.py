"""Old chains go, and the index says what went; what is written, or was never settled, stays."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from acp_stdio.audit import chain
from acp_stdio.audit.folder import Folder
from acp_stdio.audit.record import event_record
from acp_stdio.audit.retention import remove_old
from acp_stdio.audit.trail import Trail
from acp_stdio.errors import Failure

DAY = 86_400.0


def written(folder: Path, *, close: bool = True) -> Trail:
    trail = Trail(folder)
    trail.append(event_record("login", user=None, now=1.0))
    if close:
        trail.close()
    return trail


def age(folder: Path) -> None:
    for path in folder.glob("*.jsonl"):
        os.utime(path, (time.time() - 2 * DAY, time.time() - 2 * DAY))


def removed(folder: Path) -> list[dict[str, Any]]:
    entries = [chain.read(line) for line in (folder / "chains.log").read_bytes().splitlines()]
    return [entry for entry in entries if entry["event"] == "removed"]


def test_what_is_old_and_ended_goes_and_the_index_keeps_its_end(tmp_path: Path) -> None:
    written(tmp_path)
    living = written(tmp_path, close=False)
    age(tmp_path)
    written(tmp_path)
    assert remove_old(Folder(tmp_path), DAY) == 1
    assert len(list(tmp_path.glob("*.jsonl"))) == 2
    (entry,) = removed(tmp_path)
    assert (entry["records"], entry["why"], len(entry["head"])) == (2, "retention", 64)
    assert Folder(tmp_path).file(living.head.chain).exists()
    assert remove_old(Folder(tmp_path), DAY) == 0


def test_a_crash_between_saying_and_doing_is_made_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path)
    age(tmp_path)

    def killed(_path: Path, missing_ok: bool = False) -> None:
        assert missing_ok
        raise OSError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", killed)
        with pytest.raises(OSError, match="killed"):
            remove_old(Folder(tmp_path), DAY)
    assert remove_old(Folder(tmp_path), DAY) == 1
    assert len(removed(tmp_path)) == 1


@pytest.mark.skipif(os.name != "posix", reason="sets a limit of POSIX systems")
def test_a_disk_that_is_full_in_the_middle_of_a_record_leaves_whole_records_and_refuses(tmp_path: Path) -> None:
    """The limit is the system's own (RLIMIT_FSIZE): `write` takes a part, then nothing."""
    program = """
import resource, sys
from pathlib import Path
from acp_stdio.audit.record import event_record
from acp_stdio.audit.trail import Trail
from acp_stdio.errors import Failure
trail = Trail(Path(sys.argv[1]))
trail.append(event_record("login", user=None, now=1.0))
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
count = 1
try:
    while True:
        trail.append({**event_record("call.intent", user=None, now=1.0), "call": str(count)})
        count += 1
except Failure as failure:
    assert failure.reason == "audit_unavailable"
    assert "No space left" in failure.message or "too large" in failure.message, failure.message
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
trail.append({**event_record("call.intent", user=None, now=1.0), "call": "last"})
print(trail.head.seq)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    (path,) = tmp_path.glob("*.jsonl")
    content = path.read_bytes()
    records = [chain.read(line) for line in content.splitlines()]
    assert content.endswith(b"\n")
    assert [r["seq"] for r in records] == list(range(1, int(ran.stdout) + 1))
    assert records[-1]["call"] == "last"


def test_an_intent_that_is_to_survive_a_power_loss_is_synced_before_append_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def noted(file: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{file}") if os.path.isdir("/proc/self/fd") else "")
        real(file)

    trail = Trail(tmp_path, sync=True)
    trail.append(event_record("login", user=None, now=1.0))
    monkeypatch.setattr(os, "fsync", noted)
    trail.append({**event_record("call.intent", user=None, now=1.0), "call": "a"})
    assert len(synced) == 1
    trail.append({**event_record("call.outcome", user=None, now=1.0), "call": "a"})
    assert len(synced) == 1


def test_an_intent_that_the_disk_does_not_keep_is_not_left_behind_without_an_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(file: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    intent = {**event_record("call.intent", user=None, now=1.0), "call": "a"}
    with Trail(tmp_path, sync=True) as trail:
        trail.append(event_record("login", user=None, now=1.0))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", broken)
            with pytest.raises(Failure, match="cannot be written"):
                trail.append(intent)
        trail.append({**event_record("call.denied", user=None, now=1.0), "call": "b"})
    (path,) = tmp_path.glob("*.jsonl")
    records = [chain.read(line) for line in path.read_bytes().splitlines()]
    assert [(r["seq"], r["event"]) for r in records] == [(1, "trail.opened"), (2, "login"), (3, "call.denied")]


def test_half_a_line_that_could_not_be_taken_back_is_gone_when_the_chain_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def full(file: int, text: bytes) -> int:
        return write(file, text[: len(text) // 2])

    def broken(file: int, size: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with Trail(tmp_path) as trail:
        trail.append(event_record("login", user=None, now=1.0))
        (path,) = tmp_path.glob("*.jsonl")
        whole = path.read_bytes()
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            patch.setattr(os, "ftruncate", broken)
            with pytest.raises(Failure, match="cannot be written"):
                trail.append(event_record("login", user=None, now=1.0))
        assert path.read_bytes() != whole
    assert path.read_bytes() == whole
