"""Public documents of an identity provider, kept on disk between two short-lived processes.

Nothing in here is secret, and everything read from here passes the same checks as if it had just
been fetched. The files are the user's own all the same: 0600, replaced as a whole.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from acp_stdio.settings.paths import private_dir


class PublicCache:
    """JSON objects by the name they were asked for. Losing it costs a request, never a session."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def load(self, name: str, *, max_age: float, now: float) -> dict[str, Any] | None:
        """The document stored under `name` at most `max_age` seconds before `now`, or None.

        None too where the file is another user's, or the clock was put back.
        """
        try:
            with open(self._file(name), "rb") as file:
                if hasattr(os, "getuid") and os.fstat(file.fileno()).st_uid != os.getuid():
                    return None
                entry = json.load(file)
            at, document = float(entry["at"]), entry["document"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        if entry.get("name") != name or not isinstance(document, dict) or not 0 <= now - at <= max_age:
            return None
        return cast("dict[str, Any]", document)

    def store(self, name: str, document: Mapping[str, Any], *, now: float) -> None:
        """Keeps `document`; a full or read-only disk is no reason to fail."""
        with contextlib.suppress(OSError):
            directory = private_dir(self._directory)
            handle, temporary = tempfile.mkstemp(dir=directory, prefix=".public-")  # 0600
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump({"name": name, "at": now, "document": document}, file)
                os.replace(temporary, self._file(name))
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise

    def _file(self, name: str) -> Path:
        return self._directory / f"public-{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"
