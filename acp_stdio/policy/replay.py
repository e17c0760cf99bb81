"""Judges what the trail tells: what today's rules would have said to the calls of the past."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from acp_stdio.policy.decide import could_pass, decide
from acp_stdio.policy.rules import UNKNOWN, Agent, Clock, Facts, Policy

JUDGED = ("call.intent", "call.denied")
"""The events that say that somebody wanted to call something; one of them for each call."""


class Past(NamedTuple):
    """One call of the trail."""

    record: Mapping[str, Any]
    at: float
    """When, in epoch seconds."""
    clock: Clock
    """The same as days and hours."""

    @property
    def passed(self) -> bool:
        """Whether it left, back then."""
        return self.record.get("event") == "call.intent"

    @property
    def denied_by_rule(self) -> bool:
        """Whether a rule refused it, back then."""
        return not self.passed and self.record.get("reason") == "denied"


class Found(NamedTuple):
    """What the rules say to it now."""

    past: Past
    rule: str


@dataclass(slots=True)
class Replay:
    """All calls, sorted by what the rules say to them now."""

    allowed: int = 0
    depends: list[Found] = field(default_factory=list["Found"])
    """On arguments or claims, which the trail does not keep."""
    denied: list[Found] = field(default_factory=list["Found"])
    newly_denied: list[Found] = field(default_factory=list["Found"])
    """Of `denied`: those that left back then."""
    newly_allowed: list[Found] = field(default_factory=list["Found"])
    """Refused by a rule back then, and it would leave now."""

    @property
    def total(self) -> int:
        return self.allowed + len(self.depends) + len(self.denied)


def replay(policy: Policy, calls: Iterable[Past], claims: Mapping[str, Any] | None) -> Replay:
    """Judges `calls`, oldest first. `claims`: what everybody's token is taken to have said, besides the trail's own."""
    found = Replay()
    counts: dict[str, list[float]] = {}
    for past in calls:
        facts = _facts(past, claims)
        decision = decide(policy, facts)
        rule = decision.rule
        allowed = decision.allowed
        if allowed:
            full = [limit for limit in decision.limits if not _has_room(counts, past, limit.key, *limit.rate[:2])]
            allowed, rule = (False, full[0].rule.id) if full else (True, rule)
            for limit in decision.limits if allowed else ():
                counts.setdefault(_key(past, limit.key), []).append(past.at)
        one = Found(past, rule)
        if allowed:
            found.allowed += 1
            if past.denied_by_rule:
                found.newly_allowed.append(one)
        elif not decision.allowed and could_pass(policy, facts):
            found.depends.append(one)
        else:
            found.denied.append(one)
            if past.passed:
                found.newly_denied.append(one)
    return found


def _key(past: Past, key: str) -> str:
    return f"{_member(past.record, 'user').get('sub', '')} {key}"


def _member(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] | None = record.get(name)
    return found if isinstance(found, dict) else {}


def _has_room(counts: dict[str, list[float]], past: Past, key: str, calls: int, seconds: float) -> bool:
    return sum(past.at - seconds < at for at in counts.get(_key(past, key), [])) < calls


def _facts(past: Past, claims: Mapping[str, Any] | None) -> Facts:
    record = past.record
    user, agent = _member(record, "user"), _member(record, "agent")
    known = {name: user[name] for name in ("sub", "email") if user.get(name)} | dict(claims or {})
    return Facts(
        str(record.get("upstream", "")),
        str(record.get("method", "")),
        str(record.get("tool", "")),
        UNKNOWN,
        known,
        Agent(str(agent.get("name", "")), str(agent.get("version", "")), str(agent.get("executable", ""))),
        past.clock,
    )
