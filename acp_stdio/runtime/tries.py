"""How often each upstream was given the sign-in that it asked for, over all processes of this user and their restarts.

Hosts start a server twice, and one that is never content would then ask its person twice as often.
"""

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, cast

TRIES: Final = 3
"""Sign-ins that one upstream may ask for within `WITHIN` (MCP 2026-07-28, scope challenge handling: a few)."""
WITHIN: Final = 3600.0
"""Seconds."""


class Tries:
    """A small file: names of upstreams, and when (epoch seconds). Whoever writes holds the turn to open a page."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def exhausted(self, upstreams: Iterable[str]) -> list[str]:
        """Those that were given what they asked for often enough. Raises `OSError`."""
        known = self._read()
        return [each for each in upstreams if len(known.get(each, ())) >= TRIES]

    def count(self, upstreams: Iterable[str]) -> None:
        """A sign-in with all that these want begins. Raises `OSError`."""
        known, now = self._read(), time.time()
        known |= {each: [*known.get(each, ()), now] for each in upstreams}
        draft = self._path.with_suffix(".tmp")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(known, file)
        os.replace(draft, self._path)

    def _read(self) -> dict[str, list[float]]:
        """What still counts. A damaged file counts nothing: whoever can damage it could delete it as well."""
        now = time.time()
        try:
            data: Any = json.loads(self._path.read_bytes())
            known = {str(name): [float(each) for each in times] for name, times in cast("dict[str, Any]", data).items()}
        except (FileNotFoundError, ValueError, TypeError, AttributeError):
            return {}
        recent = {name: [each for each in times if now - WITHIN < each <= now] for name, times in known.items()}
        return {name: times for name, times in recent.items() if times}
