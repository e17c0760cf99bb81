"""Counts calls for the rules that have a rate, over all processes of this user: one small file under a lock."""

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

from acp_stdio.errors import Failure
from acp_stdio.policy.decide import Limit
from acp_stdio.vault.lock import FileLock

PATIENCE: Final = 1.0
"""Seconds for the lock, which is held for one reading and one writing of a few KB."""
AHEAD: Final = 60.0
"""Seconds by which a time in the file may be in the future; beyond, the clock was wrong when it was written."""

Counts = dict[str, list[float]]
"""What is counted together, to the times of the calls that passed (epoch seconds, oldest first)."""


class Rates:
    """`<state>/rates.json`. It keeps times and rules' names, nothing that was asked."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "rates.json"
        self._lock = FileLock(state_dir / "rates.lock")

    def take(self, limits: Sequence[Limit], person: str, now: float) -> Limit | None:
        """Counts one call for each limit if all have room; else counts nothing and returns the one that has none.

        `person`: whose calls are counted together. Raises `Failure("overloaded")` if the counts cannot be had.
        """
        with self._held():
            counts = self._read()
            keys = {f"{person} {limit.key}": limit for limit in limits}
            for key, limit in keys.items():
                recent = [time for time in counts.get(key, []) if now - limit.rate.seconds < time <= now + AHEAD]
                if len(recent) >= limit.rate.calls:
                    return limit
                counts[key] = [*recent, now]
            self._write(counts)
        return None

    def give_back(self, limits: Sequence[Limit], person: str, taken: float) -> None:
        """Undoes `take`: the call was refused after all, and what is refused is not counted."""
        with contextlib.suppress(Failure), self._held():
            counts = self._read()
            for limit in limits:
                with contextlib.suppress(ValueError):
                    counts.get(f"{person} {limit.key}", []).remove(taken)
            self._write(counts)

    @contextlib.contextmanager
    def _held(self) -> Any:
        try:
            self._lock.acquire(PATIENCE)
        except OSError as error:  # TimeoutError is one
            raise _uncounted(f"{self._path.parent}: {error.strerror or error}") from None
        try:
            yield
        finally:
            self._lock.release()

    def _read(self) -> Counts:
        """A file that cannot be understood counts nothing: whoever can damage it could delete it as well."""
        try:
            data: Any = json.loads(self._path.read_bytes())
            return {str(key): [float(time) for time in times] for key, times in cast("dict[str, Any]", data).items()}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, AttributeError):
            return {}
        except OSError as error:
            raise _uncounted(f"{self._path}: {error.strerror}") from None

    def _write(self, counts: Counts) -> None:
        draft = self._path.with_suffix(".tmp")
        try:
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                json.dump({key: times for key, times in counts.items() if times}, file)
            os.replace(draft, self._path)
        except OSError as error:
            raise _uncounted(f"{self._path}: {error.strerror}") from None


def _uncounted(why: str) -> Failure:
    return Failure(
        "overloaded",
        f"A rule limits how often this may be called, and the calls cannot be counted ({why}).",
        "Try again in a moment; if it stays so, run `acp-stdio doctor`.",
    )
