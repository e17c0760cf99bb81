"""Lengths of time as people write them: `230s`, `15m`, `1h30m`, `7d`."""

import re

_UNITS = (86_400, 3_600, 60, 1)
_SHAPE = re.compile(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?", re.ASCII)


def seconds(text: str) -> float:
    """The length in seconds; units go from large to small and each appears at most once.

    Raises ValueError for anything else: a bare number would leave the unit to be guessed.
    """
    match = _SHAPE.fullmatch(text)
    if match is None or not text:
        raise ValueError(text)
    return float(sum(int(count or 0) * unit for count, unit in zip(match.groups(), _UNITS, strict=True)))


def spell(length: float) -> str:
    """The shortest text that `seconds` reads as `length`, which has no fraction of a second."""
    text = ""
    left = int(length)
    for unit, letter in zip(_UNITS, "dhms", strict=True):
        count, left = divmod(left, unit)
        text += f"{count}{letter}" if count else ""
    return text or "0s"
