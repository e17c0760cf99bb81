"""The conditions of a rule, `when` and `unless`: from a table to tests of what is known of a request."""

import operator
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from acp_stdio.policy import values
from acp_stdio.policy.globs import any_of
from acp_stdio.policy.rules import EVIDENCE, KINDS, Agents, Condition, Conditions, Evidence, Facts, evidence
from acp_stdio.policy.values import Truth, ValueTest
from acp_stdio.settings import checks
from acp_stdio.settings.sources import Entry, Problems
from acp_stdio.settings.table import Table

GROUP_CLAIMS: Final = ("groups", "cognito:groups")
"""The claims that hold a person's groups; the first that the token has."""
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_COMPARED: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}


def members(entry: Entry) -> dict[str, Entry]:
    """The members of a table, each with its place."""
    table = cast("dict[str, object]", entry.value)
    return {key: Entry(value, entry.source, (*entry.keys, key)) for key, value in table.items()}


def is_table(value: object) -> bool:
    return isinstance(value, dict)


def listed(entry: Entry) -> "list[object] | None":
    """The items of a list; None where it is none."""
    value = entry.value
    return cast("list[object]", value) if isinstance(value, list) else None


def inner(entry: Entry | None, expected: str, problems: Problems) -> list[Entry]:
    """The members of a table that may be missing."""
    if entry is None:
        return []
    if not is_table(entry.value):
        problems.at(entry, f"must be {expected}")
        return []
    return list(members(entry).values())


def either_of(names: Sequence[str]) -> str:
    """Names in words."""
    return " or ".join(names)


def asks(fits: Callable[[str], bool], part: Callable[[Facts], str]) -> Callable[[Facts], Truth]:
    """A test of one text of the facts."""
    return lambda facts: fits(part(facts))


def ask_arguments(entry: Entry) -> bool:
    """Whether such conditions look at an argument's value."""
    return any(
        is_table(table) and "args" in cast("dict[str, object]", table) for table in listed(entry) or [entry.value]
    )


def either(entry: Entry | None, agents: Agents, problems: Problems) -> tuple[Conditions, ...]:
    """One table, or a list of tables of which one must hold."""
    if entry is None:
        return ()
    listing = listed(entry)
    tables = [entry.value] if listing is None else listing
    if not tables or not all(is_table(table) and table for table in tables):
        problems.at(entry, "must be a table of conditions, or a list of them")
        return ()
    return tuple(_conditions(Entry(table, entry.source, entry.keys), agents, problems) for table in tables)


def _conditions(entry: Entry, agents: Agents, problems: Problems) -> Conditions:
    table = Table(members(entry), problems)
    found: list[Condition] = []
    if "groups" in table.written:
        found.append(_in_groups(table.texts("groups", (), checks.filled, single=True)))
    claims = inner(table.entry("claims"), "claims and what each must be", problems)
    found += [_claim(claim, problems) for claim in claims]
    arguments = inner(table.entry("args"), "arguments and what each must be", problems)
    found += [_argument(argument, problems) for argument in arguments]
    found += _agent(table.entry("agent"), agents, problems)
    found += _time(table.entry("time"), problems)
    table.finish()
    return tuple(found)


def _claim(entry: Entry, problems: Problems) -> Condition:
    name = entry.keys[-1]
    words, test = _value(entry, problems)
    return Condition(f"claim {name} {words}", lambda facts: _claim_holds(facts, name, test))


def _argument(entry: Entry, problems: Problems) -> Condition:
    steps = values.parts(entry.keys[-1])
    words, test = _value(entry, problems)

    def holds(facts: Facts) -> Truth:
        if facts.method not in KINDS:
            return False
        if not is_table(facts.arguments):
            return None
        return values.some(test(found) for found in values.at(facts.arguments, steps))

    return Condition(f"argument {entry.keys[-1]} {words}", holds)


def _value(entry: Entry, problems: Problems) -> tuple[str, ValueTest]:
    """A value that it must equal, a list that it must be in, or a table of tests that must all hold."""
    choices = listed(entry)
    if choices is not None:
        return f"in {choices}", values.within(choices)
    if not is_table(entry.value):
        return f"equals {entry.value!r}", values.equals(entry.value)
    tests: list[ValueTest] = []
    written = members(entry)
    table = Table(written, problems)
    if equal := table.entry("equals"):
        tests.append(values.equals(equal.value))
    if one_of := table.entry("in"):
        if (choices := listed(one_of)) is not None:
            tests.append(values.within(choices))
        else:
            problems.at(one_of, "must be a list")
    if patterns := table.texts("matches", (), checks.filled, single=True):
        tests.append(values.matches(patterns))
    if "exists" in table.written:
        tests.append(values.exists(table.flag("exists", True)))
    for word, compare in _COMPARED.items():
        if limit := table.entry(word):
            if isinstance(limit.value, int | float) and not isinstance(limit.value, bool):
                tests.append(values.compared(compare, limit.value))
            else:
                problems.at(limit, "must be a number")
    table.finish()
    if not written:
        problems.at(entry, "must have a test, such as { gt = 1000 }")
    words = " and ".join(f"{word} {one.value}" for word, one in written.items())
    return words, lambda value: values.every(test(value) for test in tests)


def _agent(entry: Entry | None, agents: Agents, problems: Problems) -> list[Condition]:
    if entry is None:
        return []
    if not is_table(entry.value) or not entry.value:
        problems.at(entry, 'must be a table, such as { name = "claude-ai", evidence = "os_observed" }')
        return []
    table = Table(members(entry), problems)
    found: list[Condition] = []
    if names := table.texts("name", (), checks.filled, single=True):
        found.append(Condition(f"agent's name is {either_of(names)}", asks(any_of(names), lambda f: f.agent.name)))
    if programs := table.texts("executable", (), checks.filled, single=True):
        fits = any_of(programs)
        found.append(
            Condition(
                f"agent's program is {either_of(programs)}",
                lambda facts: fits(facts.agent.executable) if facts.agent.executable else None,
            )
        )
    if "evidence" in table.written:
        least: Evidence = table.word("evidence", "proven", EVIDENCE)
        enough = EVIDENCE[EVIDENCE.index(least) :]
        found.append(Condition(f"agent is {least} at least", lambda facts: evidence(agents, facts.agent) in enough))
    table.finish()
    return found


def _time(entry: Entry | None, problems: Problems) -> list[Condition]:
    if entry is None:
        return []
    if not is_table(entry.value) or not entry.value:
        problems.at(entry, 'must be a table, such as { days = ["mon", "fri"], hours = "09:00-17:00" }')
        return []
    table = Table(members(entry), problems)
    days = table.texts("days", DAYS, _is_day, single=True)
    hours = table.text("hours", "00:00-24:00", _are_hours)
    zone = table.text("zone", "", _is_zone)
    table.finish()
    start, _, end = hours.partition("-")
    begins, ends = _minute(start), _minute(end)
    numbers = frozenset(DAYS.index(day) for day in days if day in DAYS)

    def holds(facts: Facts) -> Truth:
        if facts.clock is None:
            return None
        day, minute = facts.clock(zone)
        if begins < ends:
            return day in numbers and begins <= minute < ends
        # over midnight: the hours after it belong to the day on which they began
        return (day in numbers and minute >= begins) or ((day - 1) % 7 in numbers and minute < ends)

    return [Condition(f"time is {' '.join(days)} {hours}{f' {zone}' * bool(zone)}", holds)]


def _in_groups(groups: tuple[str, ...]) -> Condition:
    test = values.within(groups)

    def holds(facts: Facts) -> Truth:
        claims = facts.claims or {}
        name = next((name for name in GROUP_CLAIMS if name in claims), GROUP_CLAIMS[0])
        return _claim_holds(facts, name, test)

    return Condition(f"person is in group {either_of(groups)}", holds)


def _claim_holds(facts: Facts, name: str, test: ValueTest) -> Truth:
    """A claim that is a list holds if one of its members does. What the token does not say is not known."""
    claims = facts.claims or {}
    found = [claims[name]] if name in claims else values.at(dict(claims), values.parts(name))
    if values.ABSENT in found:
        return test(values.ABSENT) or None if claims else None
    each = [member for value in found for member in values.members(value)]
    return values.some(test(member) for member in each)


def _minute(text: str) -> int:
    hour, _, minute = text.partition(":")
    return int(hour) * 60 + int(minute)


def _is_day(text: str) -> str:
    return "" if text in DAYS else f"must be of {', '.join(DAYS)}"


def _are_hours(text: str) -> str:
    try:
        times = [_minute(part) for part in text.split("-") if len(part) == 5 and part[2] == ":" and part[3:] < "60"]
    except ValueError:
        times = []
    return "" if len(times) == 2 and max(times) <= 1440 else 'must be such as "09:00-17:30"'


def _is_zone(text: str) -> str:
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(text)
    except (LookupError, ValueError, OSError):  # OSError: the name of a folder, such as "Europe"
        return 'must be a time zone that this computer knows, such as "Europe/Berlin"'
    return ""
