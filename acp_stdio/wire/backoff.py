"""How long to wait before the next attempt, so that many clients of one server do not come back as one."""

from typing import Final

LONGEST: Final = 60.0
"""Seconds."""


def delay(failures: int, jitter: float, first: float = 1.0) -> float:
    """Seconds after this many failures before: doubled each time up to a minute, and spread over as much again.

    `jitter` is random, from 0 to 1; it is given, since nothing here is.
    """
    return min(LONGEST, first * 2.0 ** min(failures, 10)) * (1.0 + jitter)
