"""`python -m acp_stdio.doctor.contender PATH`: tries a lock from a process of its own."""

import sys
from pathlib import Path
from typing import Final

from acp_stdio.vault.lock import FileLock

GOT_IT: Final = 10
REFUSED: Final = 11
"""Exit codes; no interpreter ends with these by itself."""


def main(path: Path) -> int:
    """Whether the lock could be taken. Raises `OSError` where it cannot be locked at all."""
    lock = FileLock(path)
    if not lock.try_acquire():
        return REFUSED
    lock.release()
    return GOT_IT


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
