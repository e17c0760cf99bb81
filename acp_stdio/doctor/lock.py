"""The lock between processes, tried for real: taken here, refused to another process, given back."""

import subprocess
import sys
from pathlib import Path
from typing import Final

from acp_stdio.doctor import contender
from acp_stdio.doctor.check import Case
from acp_stdio.doctor.finding import Finding, ok, problem
from acp_stdio.vault.lock import FileLock

_WITHIN: Final = 10.0
"""Seconds for a fresh interpreter that tries the lock."""
_LOCAL: Final = "Keep the state on a local disk: set XDG_STATE_HOME or ACP_STDIO_HOME, for the host too."


def probe(case: Case) -> Finding:
    """A lock that two processes get at once would let them spend one refresh token twice."""
    path = case.settings.state_dir / "doctor.lock"
    lock = FileLock(path)
    try:
        if not lock.try_acquire():
            return ok("another doctor holds it right now, so it works", path=str(path))
    except OSError as error:
        return problem("configuration_invalid", f"{path} cannot be locked: {error.strerror}.", _LOCAL, path=str(path))
    try:
        refused = not _another_gets(path)
    finally:
        lock.release()
    if not refused:
        message = f"Two processes got the lock {path} at once: this file system does not lock."
        return problem("configuration_invalid", message, _LOCAL, path=str(path))
    if not _another_gets(path):
        message = f"The lock {path} was given back, but another process did not get it."
        return problem("configuration_invalid", message, _LOCAL, path=str(path))
    return ok("taken, refused to a second process, and given back", path=str(path))


def _another_gets(path: Path) -> bool:
    """Raises `TimeoutError` where the other process did not answer."""
    try:
        ran = subprocess.run(
            [sys.executable, "-P", "-m", contender.__name__, str(path)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_WITHIN,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    if ran.returncode not in (contender.GOT_IT, contender.REFUSED):
        raise ChildProcessError("the other process could not try")
    return ran.returncode == contender.GOT_IT
