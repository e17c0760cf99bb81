"""`[policy]`: from each file's table to one layer of rules, compiled once."""

from collections.abc import Iterable
from typing import Final, Literal

from acp_stdio.policy import values
from acp_stdio.policy.globs import any_of
from acp_stdio.policy.rules import (
    CHANGES,
    KINDS,
    PROMPT,
    RESOURCE,
    TOOL,
    Agents,
    Changes,
    Condition,
    Conditions,
    Effect,
    Facts,
    KnownAgent,
    Layer,
    Policy,
    Rate,
    Rule,
)
from acp_stdio.policy.values import Truth
from acp_stdio.settings import checks
from acp_stdio.settings.conditions import ask_arguments, asks, either, either_of, inner, is_table, listed, members
from acp_stdio.settings.durations import seconds
from acp_stdio.settings.signed_rules import KEYS
from acp_stdio.settings.sources import Entry, Problems
from acp_stdio.settings.table import Table

MOST_CALLS: Final = 1000
"""That a rate may count: the time of each is kept."""
_LONGEST: Final = 31 * 86_400.0

Labels = tuple[tuple[str, str, frozenset[str]], ...]
"""Upstream, pattern of tools, and what they are labelled."""


def read(layers: Iterable[tuple[str, Entry]], problems: Problems) -> Policy:
    """The policy that these `[policy]` tables make, strongest first; each is named for the trail."""
    read: list[Layer] = []
    said: list[tuple[str, object]] = []
    labels: Labels = ()
    agents: Agents = ()
    for name, entry in layers:
        if not is_table(entry.value):
            problems.at(entry, "must be a table, written [policy]")
            continue
        reader = _Reader(name, entry, labels, agents, problems)
        read.append(reader.layer())
        labels, agents = reader.labels, reader.agents
        said.append((name, entry.value))
    return Policy(tuple(read), _version(said) if said else "", agents)


def _version(said: list[tuple[str, object]]) -> str:
    import hashlib
    import json

    text = json.dumps(said, sort_keys=True, default=str, ensure_ascii=False)
    return f"sha256:{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:16]}"


class _Reader:
    """One layer. It sees the labels and agents of the layers above it, and they do not see its own."""

    def __init__(self, name: str, entry: Entry, labels: Labels, agents: Agents, problems: Problems) -> None:
        self._name = name
        self._reads_arguments = False
        self._problems = problems
        self._table = Table(members(entry), problems)
        self.labels = labels + self._labels(self._table.entry("labels"))
        self.agents = agents + self._agents(self._table.entry("agents"))

    def layer(self) -> Layer:
        default: Effect = self._table.word("default", "allow", ("allow", "deny"))
        changes: Changes = self._table.word("tool_changes", "ask", CHANGES)
        accepted = frozenset(self._table.texts("accepted_tools", (), _is_digest))
        rules = self._rules(self._table.entry("rules"))
        for key in KEYS:
            if (named := self._table.entry(key)) is not None:
                self._problems.at(named, "is the administrator's to say, in the managed file")
        self._table.finish()
        said = changes if "tool_changes" in self._table.written else None
        return Layer(self._name, rules, default, said, accepted, self._reads_arguments)

    def _labels(self, entry: Entry | None) -> Labels:
        found: list[tuple[str, str, frozenset[str]]] = []
        for upstream in inner(entry, "tables such as [policy.labels.finance]", self._problems):
            for tool in inner(upstream, 'tools and their labels, such as "delete_*" = ["destructive"]', self._problems):
                one = Table({"labels": tool}, self._problems)
                found.append(
                    (upstream.keys[-1], tool.keys[-1], frozenset(one.texts("labels", (), checks.filled, single=True)))
                )
        return tuple(found)

    def _agents(self, entry: Entry | None) -> Agents:
        found: list[KnownAgent] = []
        for agent in inner(entry, "tables such as [policy.agents.claude-ai]", self._problems):
            if not is_table(agent.value):
                self._problems.at(agent, "must be a table")
                continue
            table = Table(members(agent), self._problems)
            executable = table.texts("executable", (), checks.filled, single=True)
            act = table.texts("act", (), checks.filled, single=True)
            table.finish()
            found.append(KnownAgent(agent.keys[-1], executable, act))
        return tuple(found)

    # -- rules ----------------------------------------------------------------------------------

    def _rules(self, entry: Entry | None) -> tuple[Rule, ...]:
        if entry is None:
            return ()
        listing = listed(entry)
        if listing is None:
            self._problems.at(entry, "must be tables, each written [[policy.rules]]")
            return ()
        rules: list[Rule] = []
        for number, value in enumerate(listing, 1):
            one = Entry(value, entry.source, (*entry.keys, str(number)))
            if is_table(value):
                rules.append(self._rule(one, number))
            else:
                self._problems.at(one, "must be a table")
        names = [rule.id for rule in rules]
        for rule_id in {name for name in names if names.count(name) > 1}:
            self._problems.at(entry, f"has two rules with the id {rule_id.partition('/')[2]}")
        return tuple(rules)

    def _rule(self, entry: Entry, number: int) -> Rule:
        table = Table(members(entry), self._problems)
        if "effect" not in table.written:
            self._problems.at(entry, "needs effect: allow or deny")
        when, unless = table.entry("when"), table.entry("unless")
        self._reads_arguments |= any(ask_arguments(each) for each in (when, unless) if each is not None)
        name = table.text("id", f"rule-{number}", _is_id)
        effect: Effect = table.word("effect", "deny", ("allow", "deny"))
        rule = Rule(
            f"{self._name}/{name}",
            effect,
            self._about(table),
            either(when, self.agents, self._problems),
            either(unless, self.agents, self._problems),
            self._rate(table.entry("rate"), table.word("rate_each", "rule", ("rule", "tool"))),
            table.text("message", "", checks.filled),
        )
        if rule.rate is not None and effect == "allow":
            self._problems.at(entry, "has a rate, which only a rule that denies can have: it denies beyond the rate")
        if "rate_each" in table.written and rule.rate is None:
            self._problems.at(entry, "has rate_each, but no rate")
        table.finish()
        return rule

    def _about(self, table: Table) -> Conditions:
        found: list[Condition] = []
        if upstream := table.texts("upstream", (), checks.filled, single=True):
            found.append(Condition(f"upstream is {either_of(upstream)}", asks(any_of(upstream), lambda f: f.upstream)))
        if method := table.texts("method", (), checks.filled, single=True):
            found.append(Condition(f"method is {either_of(method)}", asks(any_of(method), lambda f: f.method)))
        named = [
            _named(kind, patterns)
            for kind in (TOOL, PROMPT, RESOURCE)
            if (patterns := table.texts(kind, (), checks.filled, single=True))
        ]
        if label := table.texts("label", (), checks.filled, single=True):
            named.append(_labelled(frozenset(label), self.labels))
        if len(named) == 1:
            found += named
        elif named:  # a request names one thing, so rules that list several kinds mean any of them
            words = " or ".join(one.words for one in named)
            found.append(Condition(words, lambda facts: values.some(one.holds(facts) for one in named)))
        return tuple(found)

    def _rate(self, entry: Entry | None, each: Literal["rule", "tool"]) -> Rate | None:
        if entry is None:
            return None
        calls, _, within = entry.value.partition("/") if isinstance(entry.value, str) else ("", "", "")
        try:
            rate = Rate(int(calls) if calls.isascii() and calls.isdigit() else 0, seconds(within), each)
        except ValueError:
            rate = Rate(0, 0, each)
        if not 1 <= rate.calls <= MOST_CALLS or not 1 <= rate.seconds <= _LONGEST:
            self._problems.at(entry, f'must be calls and a time, such as "20/1h", up to {MOST_CALLS} and 31d')
            return None
        return rate


def _named(kind: str, patterns: tuple[str, ...]) -> Condition:
    fits = any_of(patterns)
    return Condition(
        f"{kind} is {either_of(patterns)}", lambda facts: KINDS.get(facts.method) == kind and fits(facts.name)
    )


def _labelled(wanted: frozenset[str], labels: Labels) -> Condition:
    fitting = [(any_of((upstream,)), any_of((tool,))) for upstream, tool, has in labels if has & wanted]

    def holds(facts: Facts) -> Truth:
        if KINDS.get(facts.method) != TOOL:
            return False
        return any(at(facts.upstream) and fits(facts.name) for at, fits in fitting)

    return Condition(f"tool is labelled {either_of(sorted(wanted))}", holds)


def _is_digest(text: str) -> str:
    fine = text.startswith("sha256:") and len(text) == 71 and set(text[7:]) <= set("0123456789abcdef")
    return "" if fine else "must be digests as `acp-stdio tools diff --json` shows them"


def _is_id(text: str) -> str:
    fine = text.isascii() and text.replace("-", "").replace("_", "").replace(".", "").isalnum() and len(text) <= 64
    return "" if fine else "must be up to 64 letters, digits, -, _ and ."
