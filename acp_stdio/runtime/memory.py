"""Remembers what the upstream answered, for the next start."""

import asyncio
from collections.abc import Callable
from typing import Final

from acp_stdio.catalogue.file import CatalogueFile
from acp_stdio.catalogue.model import Catalogue

SAVE_AFTER: Final = 0.2
"""Seconds between learning something and writing it down, so that a burst of lists is one write."""


class Memory:
    """The catalogue in memory, and when it goes to disk."""

    def __init__(self, catalogue: Catalogue, file: CatalogueFile, may_save: Callable[[], bool]) -> None:
        """`may_save`: whether anything may be remembered now; after a logout nothing may."""
        self._catalogue = catalogue
        self._file = file
        self._may_save = may_save
        self._saving: asyncio.TimerHandle | None = None

    def learned(self) -> None:
        """The relay put something new into the catalogue."""
        if self._saving is None:
            self._saving = asyncio.get_running_loop().call_later(SAVE_AFTER, self.flush)

    def flush(self) -> None:
        """Writes down what is not yet written."""
        saving, self._saving = self._saving, None
        if saving is not None:
            saving.cancel()
            if self._may_save():
                self._file.save(self._catalogue)

    def forget_if(self, logged_out: bool) -> None:
        """The last account's lists are served until a logout and no longer."""
        if logged_out:
            self._catalogue.clear()
