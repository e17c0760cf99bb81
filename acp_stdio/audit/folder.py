"""What lies in a trail's folder: a file for each chain, the lock of whoever writes it, and the index of all."""

import os
import re
import time
from pathlib import Path
from typing import Final

CHAIN: Final = re.compile(r"\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{8}")
"""A chain's name: when it was opened, to the microsecond, and four random bytes. Names sort by time."""


class Folder:
    """The names of the files below `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def index(self) -> Path:
        """A hash chain itself: which chains were opened, closed, signed and removed."""
        return self.path / "chains.log"

    @property
    def index_lock(self) -> Path:
        """Held by whoever adds to the index."""
        return self.path / "chains.lock"

    def file(self, chain: str) -> Path:
        """The records of one chain, one a line."""
        return self.path / f"{chain}.jsonl"

    def lock(self, chain: str) -> Path:
        """Held for as long as its writer lives. Once the chain is settled there is no such file any more."""
        return self.path / f"{chain}.lock"

    def chains(self) -> list[str]:
        """All that have a file, oldest first."""
        return self._named("*.jsonl")

    def unsettled(self) -> list[str]:
        """All that are being written, or whose writer died."""
        return self._named("*.lock")

    def _named(self, pattern: str) -> list[str]:
        return sorted(path.stem for path in self.path.glob(pattern) if CHAIN.fullmatch(path.stem))


def new_chain(now: float) -> str:
    """A name that no other chain has."""
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime(now)) + f".{int(now % 1 * 1e6):06d}Z-{os.urandom(4).hex()}"
