"""Decisions: may this request pass, may this thing be listed, and why."""

from dataclasses import replace
from typing import NamedTuple

from acp_stdio.policy.rules import UNKNOWN, Facts, Layer, Policy, Rate, Rule
from acp_stdio.policy.values import Truth


class Limit(NamedTuple):
    """A rate to be counted before the request may pass."""

    rule: Rule
    key: str
    """What is counted together."""
    rate: Rate


class Decision(NamedTuple):
    """What the layers say to one request."""

    allowed: bool
    rule: str
    """The rule that decided, or `<layer>/default`; empty where there is no policy."""
    message: str = ""
    limits: tuple[Limit, ...] = ()
    """Of an allowed request: each must have room, else its rule denies after all."""


class Step(NamedTuple):
    """What one rule had to do with a decision."""

    layer: str
    rule: Rule
    applies: Truth
    because: str
    """The words of the test that decided about it; empty where all of them held."""


def decide(policy: Policy, facts: Facts) -> Decision:
    """Whether the request may pass. What is not known counts against it."""
    limits: list[Limit] = []
    by = ""
    for layer in policy.layers:
        found = _of_layer(layer, facts, limits)
        if not found.allowed:
            return found
        by = by or found.rule
        if not found.rule.endswith("/default"):
            by = found.rule
    return Decision(True, by, limits=tuple(limits))


def _of_layer(layer: Layer, facts: Facts, limits: list[Limit]) -> Decision:
    allowing = ""
    for rule in layer.rules:
        if rule.effect == "allow":
            if not allowing and rule.applies(facts) is True:
                allowing = rule.id
        elif rule.applies(facts) is not False:
            if rule.rate is None:
                return Decision(False, rule.id, rule.message)
            limits.append(Limit(rule, _counted(rule, rule.rate, facts), rule.rate))
    if allowing:
        return Decision(True, allowing)
    return Decision(layer.default == "allow", f"{layer.name}/default")


def _counted(rule: Rule, rate: Rate, facts: Facts) -> str:
    return f"{rule.id} {facts.upstream}/{facts.name}" if rate.each == "tool" else rule.id


def could_pass(policy: Policy, facts: Facts) -> bool:
    """Whether the request may pass if all that is not known turns out well for it. Rates are not looked at."""
    for layer in policy.layers:
        if any(r.effect == "deny" and r.rate is None and r.applies(facts) is True for r in layer.rules):
            return False
        if layer.default == "deny" and not any(
            r.effect == "allow" and r.applies(facts) is not False for r in layer.rules
        ):
            return False
    return True


def may_be_listed(policy: Policy, facts: Facts) -> bool:
    """Whether somebody who lists things should see this one: it is hidden where every call of it would be denied.

    Arguments are not known yet, and a list outlives the hour and the rate at which it was made.
    """
    return could_pass(policy, replace(facts, arguments=UNKNOWN, clock=None))


def trace(policy: Policy, facts: Facts) -> list[Step]:
    """Each rule of each layer, and whether it applies to the request."""
    return [Step(layer.name, rule, *_looked_at(rule, facts)) for layer in policy.layers for rule in layer.rules]


def _looked_at(rule: Rule, facts: Facts) -> tuple[Truth, str]:
    applies = rule.applies(facts)
    if applies is True:
        return True, ""
    for test in rule.about:
        if test.holds(facts) is applies:
            return applies, _not_so(test.words, applies)
    for tests in rule.unless:
        words = " and ".join(test.words for test in tests)
        truths = [test.holds(facts) for test in tests]
        if all(truths):
            return applies, f"its exception holds: {words}"
        if applies is None and None in truths and False not in truths:
            return None, f"its exception is not known: {words}"
    wanted = [test.words for tests in rule.when for test in tests if test.holds(facts) is applies]
    return applies, _not_so(" or ".join(wanted), applies)


def _not_so(words: str, truth: Truth) -> str:
    return f"not so: {words}" if truth is False else f"not known: {words}"
