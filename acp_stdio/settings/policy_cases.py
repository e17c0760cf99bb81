"""A table of cases for the rules: `[[cases]]` in a TOML file, each a request and what is expected of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from acp_stdio.policy.rules import KINDS, Agent, Clock, Facts
from acp_stdio.settings import checks
from acp_stdio.settings.conditions import DAYS, inner, is_table, listed, members
from acp_stdio.settings.sources import Entry, Problems, parse
from acp_stdio.settings.table import Table

METHODS = {kind: method for method, kind in KINDS.items()}


@dataclass(frozen=True, slots=True)
class Case:
    """One request and what the rules must say to it."""

    name: str
    line: int
    facts: Facts
    allowed: bool
    rule: str
    """The rule that must decide; empty: any."""


def moment(text: str) -> Clock | None:
    """A clock that stands at a text such as `mon 09:30`, whatever the zone; None where it is no such text."""
    day, _, time = text.partition(" ")
    hour, _, minute = time.partition(":")
    if day not in DAYS or not (hour.isdigit() and minute.isdigit() and int(hour) < 24 and int(minute) < 60):
        return None
    now = DAYS.index(day), int(hour) * 60 + int(minute)
    return lambda _zone: now


def read_cases(path: Path) -> list[Case]:
    """The cases of a file. Raises `Failure("configuration_invalid")` with all problems, and `OSError`."""
    problems = Problems()
    source = parse(path, path.read_bytes(), problems)
    for key in source.data.keys() - {"cases"}:
        problems.at(Entry(None, source, (key,)), "is not a known key; did you mean cases?")
    top = Entry(source.data.get("cases", []), source, ("cases",))
    cases = [
        _case(Entry(value, source, ("cases", str(number))), number, problems)
        for number, value in enumerate(listed(top) or [], 1)
        if is_table(value)
    ]
    if not cases:
        problems.at(top, "must be tables, each written [[cases]]")
    problems.stop_if_any()
    return cases


def _case(entry: Entry, number: int, problems: Problems) -> Case:
    table = Table(members(entry), problems)
    named = [kind for kind in ("tool", "prompt", "resource", "method") if kind in table.written]
    if len(named) != 1 or not {"upstream", "expect"} <= table.written:
        problems.at(entry, "needs upstream, expect, and one of tool, prompt, resource and method")
    texts = {kind: table.text(kind, "", checks.filled) for kind in ("tool", "prompt", "resource", "method")}
    kind = named[0] if named else "tool"
    arguments = _data(table.entry("args"), "arguments", problems)
    claims = _data(table.entry("as"), "claims", problems)
    agent = Table(members(one) if (one := table.entry("agent")) and is_table(one.value) else {}, problems)
    who = Agent(*(agent.text(key, "", checks.filled) for key in ("name", "version", "executable", "act")))
    agent.finish()
    at = table.text("at", "", lambda text: "" if moment(text) else 'must be such as "mon 09:30"')
    facts = Facts(
        table.text("upstream", "", checks.filled),
        texts["method"] or METHODS.get(kind, ""),
        "" if kind == "method" else texts[kind],
        arguments,
        claims,
        who,
        moment(at) if at else None,
    )
    name = table.text("name", f"case {number}", checks.filled)
    allowed = table.word("expect", "allow", ("allow", "deny")) == "allow"
    rule = table.text("rule", "", checks.filled)
    table.finish()
    return Case(name, entry.source.line(entry.keys), facts, allowed, rule)


def _data(entry: Entry | None, what: str, problems: Problems) -> Mapping[str, Any]:
    inner(entry, f"a table of {what}", problems)
    return cast("dict[str, Any]", entry.value) if entry is not None and is_table(entry.value) else {}
