"""The lock excludes processes and threads, ends with its holder, and costs no import worth the name."""

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from acp_stdio.vault import lock as lock_module
from acp_stdio.vault.lock import FileLock

HOLDER = """
import sys
from pathlib import Path
from acp_stdio.vault.lock import FileLock
lock = FileLock(Path(sys.argv[1]))
lock.acquire(30)
print("held", flush=True)
sys.stdin.read()
"""
GENEROUS = 30.0


@contextmanager
def held_elsewhere(path: Path) -> Generator["subprocess.Popen[str]"]:
    """Another process holds the lock; it gives it back at the end of its stdin."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert line_of(process.stdout) == "held"
        yield process
    finally:
        process.kill()
        process.communicate(timeout=GENEROUS)


def line_of(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline().strip()


def test_another_process_waits_and_gets_its_turn_when_the_holder_is_killed(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "new folder" / "refresh.lock")
    with held_elsewhere(tmp_path / "new folder" / "refresh.lock") as holder:
        assert not lock.try_acquire()
        with pytest.raises(TimeoutError, match=r"refresh\.lock"):
            lock.acquire(0.05)
        holder.kill()
        lock.acquire(GENEROUS)
    lock.release()


def test_two_locks_on_one_file_exclude_each_other_within_a_process(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "x.lock"), FileLock(tmp_path / "x.lock")
    with first.held(timeout=GENEROUS):
        assert not second.try_acquire()
        assert not first.try_acquire(), "not a second time either"
    assert second.try_acquire()
    second.release()
    second.release()


def test_threads_never_hold_it_together(tmp_path: Path) -> None:
    inside, most, turns = 0, 0, 0

    def work() -> None:
        nonlocal inside, most, turns
        for _ in range(20):
            with FileLock(tmp_path / "x.lock").held(GENEROUS):
                inside += 1
                most = max(most, inside)
                turns += 1
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(GENEROUS)
    assert (most, turns) == (1, 80)


def test_it_is_given_back_when_the_block_fails(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "x.lock")
    with pytest.raises(ZeroDivisionError), lock.held(GENEROUS):
        raise ZeroDivisionError
    assert lock.try_acquire()
    lock.release()


def test_the_file_is_for_its_owner_alone_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "x.lock"
    with FileLock(path).held(GENEROUS):
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.exists()


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "x.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"x\.lock"):
        FileLock(tmp_path / "x.lock").try_acquire()
    assert not (tmp_path / "elsewhere").exists()


def test_a_disk_that_cannot_lock_is_said_and_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(_file: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(lock_module, "_lock", no_locks)
    with pytest.raises(OSError, match=os.strerror(errno.ENOLCK)) as caught:
        FileLock(tmp_path / "x.lock").acquire(GENEROUS)
    assert caught.value.errno == errno.ENOLCK


def test_taking_and_giving_back_leaks_no_descriptor(tmp_path: Path) -> None:
    lock, other = FileLock(tmp_path / "x.lock"), FileLock(tmp_path / "x.lock")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        with lock.held(GENEROUS):
            assert not other.try_acquire()
    assert len(os.listdir("/proc/self/fd")) == before


def test_importing_the_lock_loads_no_keyring_and_no_cryptography() -> None:
    code = "import sys, acp_stdio.vault.lock; print(*sorted(m.partition('.')[0] for m in sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=GENEROUS)
    assert not {"keyring", "secretstorage", "jeepney", "cryptography", "asyncio", "typing"} & set(ran.stdout.split())
