"""Patterns of names: `*` for any text, `?` for one character, all else for itself, upper and lower case told apart."""

import re
from collections.abc import Callable, Iterable
from functools import cache

Matcher = Callable[[str], bool]


@cache
def matcher(pattern: str) -> Matcher:
    """A test for one pattern, in time that grows with the text and not with what a model makes of it.

    Regular expressions are not offered: one that backtracks could be kept busy by an argument's value.
    """
    if "*" not in pattern and "?" not in pattern:
        return pattern.__eq__
    pieces = [re.escape(piece).replace(r"\?", ".") for piece in pattern.split("*")]
    if len(pieces) == 1:
        text = pieces[0]
    else:
        first, *middle, last = pieces
        # Atomic groups: the first place that fits is as good as any other, so nothing is tried twice.
        text = first + "".join(f"(?>.*?{piece})" for piece in middle if piece) + ".*" + last
    compiled = re.compile(text, re.DOTALL)
    return lambda name: compiled.fullmatch(name) is not None


def any_of(patterns: Iterable[str]) -> Matcher:
    """Whether a name fits one of the patterns at least."""
    tests = tuple(matcher(pattern) for pattern in patterns)
    if len(tests) == 1:
        return tests[0]

    def fits(name: str) -> bool:
        for test in tests:  # noqa: SIM110 - three times as fast as any(), and most of a decision is this
            if test(name):
                return True
        return False

    return fits
