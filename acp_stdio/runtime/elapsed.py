"""How much time has really passed, which the wall clock does not tell once somebody has put it back."""

import sys
import time
from typing import Final

TOLERANCE: Final = 1.0
"""Seconds that the wall clock may be corrected by without anybody noticing: a token is given up long before its end."""


def elapsed() -> float:
    """Seconds since some moment; they also pass while the machine sleeps."""
    if sys.platform == "linux":  # its CLOCK_MONOTONIC stands still meanwhile (clock_gettime(2))
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    if sys.platform == "darwin":  # `time.monotonic` stands still meanwhile, this does not (clock_gettime(3))
        return time.clock_gettime(time.CLOCK_MONOTONIC)
    return time.monotonic()


class WallClock:
    """Notices that `time.time` was put back since the last look."""

    def __init__(self) -> None:
        self._ahead = time.time() - elapsed()

    def was_put_back(self) -> bool:
        """Since the last look."""
        ahead = time.time() - elapsed()
        back, self._ahead = ahead < self._ahead - TOLERANCE, ahead
        return back
