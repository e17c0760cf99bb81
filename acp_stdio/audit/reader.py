"""Reads a trail's records as they stand, unchecked: `verify` says whether they are what was written."""

import contextlib
from collections.abc import Iterator
from typing import Any

from acp_stdio.audit import chain
from acp_stdio.audit.folder import Folder


class Reader:
    """Each look brings what is new since the last one; the first look brings all. Reads what was added, and no more."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._read: dict[str, int] = {}
        """Bytes of each chain that were read."""

    def new(self) -> Iterator[dict[str, Any]]:
        """Chain by chain, without the first record of each. Raises `OSError`."""
        for name in self._folder.chains():
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                yield from self._of(name)

    def _of(self, name: str) -> Iterator[dict[str, Any]]:
        path = self._folder.file(name)
        begin = self._read.get(name, 0)
        if path.stat().st_size == begin:
            return
        with path.open("rb") as file:
            file.seek(begin)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # being written
                begin += len(line)
                with contextlib.suppress(chain.NotALink):
                    record = chain.parse(line[:-1])
                    if record.get("event") != "trail.opened":
                        yield record
        self._read[name] = begin


def records(folder: Folder) -> Iterator[dict[str, Any]]:
    """All of them."""
    return Reader(folder).new()
