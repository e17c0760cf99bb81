"""Tests of values, with three answers: yes, no, and not known.

What is not known never helps the caller: a rule that denies applies unless it surely does not, a rule
that allows applies only if it surely does (`policy.rules`). A value of another type than the rule's
is not known, since a server may read "5000" as the number.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, cast

from acp_stdio.policy.globs import any_of

Truth = bool | None
"""None: not known."""

ValueTest = Callable[[Any], Truth]


class _Absent:
    def __repr__(self) -> str:
        return "absent"


ABSENT: Final = _Absent()
"""In place of a value that is not there."""


def every(truths: Iterable[Truth]) -> Truth:
    """And: no as soon as one is no; yes if there are none."""
    known: Truth = True
    for truth in truths:
        if truth is False:
            return False
        if truth is None:
            known = None
    return known


def some(truths: Iterable[Truth]) -> Truth:
    """Or: yes as soon as one is yes; no if there are none."""
    known: Truth = False
    for truth in truths:
        if truth is True:
            return True
        if truth is None:
            known = None
    return known


def negated(truth: Truth) -> Truth:
    return None if truth is None else not truth


def _number(value: object) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _same(value: Any, wanted: Any) -> Truth:
    if value is ABSENT or value is None:
        return False
    if (_number(value) and _number(wanted)) or type(value) is type(wanted):
        return bool(value == wanted)
    return None


def equals(wanted: Any) -> ValueTest:
    return lambda value: _same(value, wanted)


def within(choices: Sequence[Any]) -> ValueTest:
    """Whether it is one of `choices`."""
    return lambda value: some(_same(value, choice) for choice in choices)


def matches(patterns: Sequence[str]) -> ValueTest:
    """Whether it is a text that fits one of the patterns."""
    fits = any_of(patterns)

    def test(value: Any) -> Truth:
        if value is ABSENT or value is None:
            return False
        return fits(value) if isinstance(value, str) else None

    return test


def compared(holds: Callable[[Any, Any], bool], limit: Any) -> ValueTest:
    """Whether it is a number for which `holds(value, limit)`."""

    def test(value: Any) -> Truth:
        if value is ABSENT or value is None:
            return False
        return holds(value, limit) if _number(value) and value == value else None  # NaN is none

    return test


def exists(wanted: bool) -> ValueTest:
    return lambda value: (value is not ABSENT) is wanted


def parts(path: str) -> tuple[str, ...]:
    """The steps of a JSON pointer (`/a/0`, RFC 6901) or a dotted path (`a.0`); `*` is every member."""
    if path.startswith("/"):
        return tuple(step.replace("~1", "/").replace("~0", "~") for step in path[1:].split("/"))
    return tuple(path.split("."))


def at(value: Any, steps: tuple[str, ...]) -> list[Any]:
    """What is found there: one value, `ABSENT`, or one for each member that a `*` stands for."""
    if not steps:
        return [value]
    step, rest = steps[0], steps[1:]
    if isinstance(value, Mapping):
        members = cast("Mapping[str, Any]", value)
        if step == "*" and "*" not in members:
            return [found for member in members.values() for found in at(member, rest)] or [ABSENT]
        return at(members[step], rest) if step in members else [ABSENT]
    if isinstance(value, list):
        items = cast("list[Any]", value)
        if step == "*":
            return [found for item in items for found in at(item, rest)] or [ABSENT]
        if step.isascii() and step.isdigit() and int(step[:9]) < len(items) and len(step) < 10:
            return at(items[int(step)], rest)
    return [ABSENT]


def members(value: Any) -> list[Any]:
    """The members of a list; anything else by itself."""
    return cast("list[Any]", value) if isinstance(value, list) else [value]
