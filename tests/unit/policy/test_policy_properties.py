"""Whatever the rules: a lower layer only tightens, order means nothing, lists hide nothing that may be called."""

import random
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from acp_stdio.policy.decide import decide, may_be_listed, trace
from acp_stdio.policy.globs import matcher
from acp_stdio.policy.rules import UNKNOWN, Agent, Facts
from tests.unit.policy.reading import from_data

tools = st.sampled_from(["read", "read_all", "delete", "delete_all", ""])
globs = st.sampled_from(["read", "read*", "*", "delete_?ll", "*_all", "finance"])
groups = st.sampled_from(["admins", "staff"])
numbers = st.integers(-2, 2)
value_tests = st.one_of(
    numbers, st.lists(numbers, max_size=2), st.fixed_dictionaries({"gt": numbers}), st.just({"exists": False})
)
conditions = st.fixed_dictionaries(
    {},
    optional={
        "groups": st.lists(groups, min_size=1, max_size=2),
        "claims": st.dictionaries(st.sampled_from(["level", "dept"]), value_tests, min_size=1, max_size=2),
        "args": st.dictionaries(st.sampled_from(["x", "y.0"]), value_tests, min_size=1, max_size=2),
        "agent": st.sampled_from([{"name": "a*"}, {"evidence": "os_observed"}, {"executable": "/opt/*"}]),
        "time": st.sampled_from([{"days": ["mon"]}, {"hours": "22:00-06:00"}]),
    },
).filter(bool)
rules = st.fixed_dictionaries(
    {"effect": st.sampled_from(["allow", "deny"])},
    optional={
        "upstream": globs,
        "tool": globs,
        "label": st.sampled_from(["l", "m"]),
        "method": st.sampled_from(["tools/*", "prompts/get"]),
        "when": conditions | st.lists(conditions, min_size=1, max_size=2),
        "unless": conditions,
    },
)
layers = st.fixed_dictionaries(
    {"rules": st.lists(rules, max_size=5), "default": st.sampled_from(["allow", "deny"])},
    optional={
        "labels": st.just({"finance": {"read*": ["l"], "delete": ["m"]}}),
        "agents": st.just({"agent": {"executable": ["/opt/*"]}}),
    },
)
values = st.none() | numbers | st.text(max_size=2) | st.lists(numbers, max_size=2)
facts = st.builds(
    Facts,
    st.sampled_from(["finance", "hr"]),
    st.sampled_from(["tools/call", "prompts/get", "resources/read", "x/y"]),
    tools,
    st.just(UNKNOWN) | st.dictionaries(st.sampled_from(["x", "y"]), values),
    st.none() | st.dictionaries(st.sampled_from(["groups", "level", "dept"]), values | st.lists(groups, max_size=2)),
    st.builds(Agent, st.sampled_from(["agent", "other", ""]), st.just("1"), st.sampled_from(["", "/opt/a", "/bin/b"])),
    st.none() | st.tuples(st.integers(0, 6), st.integers(0, 1439)).map(lambda now: lambda _zone: now),  # pyright: ignore[reportUnknownLambdaType]
)


@given(layers, layers, facts)
def test_a_lower_layer_never_loosens_a_higher_one(above: dict[str, Any], below: dict[str, Any], asked: Facts) -> None:
    alone, both = from_data(above), from_data(above, below)
    if not decide(alone, asked).allowed:
        assert not decide(both, asked).allowed
    if not may_be_listed(alone, asked):
        assert not may_be_listed(both, asked)


@given(layers, layers, facts)
def test_the_weaker_layer_counts_too(above: dict[str, Any], below: dict[str, Any], asked: Facts) -> None:
    if not decide(from_data(below), asked).allowed and "labels" not in above and "agents" not in above:
        assert not decide(from_data(above, below), asked).allowed


@given(layers, rules, facts)
def test_one_more_rule_that_denies_can_only_tighten(layer: dict[str, Any], rule: dict[str, Any], asked: Facts) -> None:
    more = {**layer, "rules": [*layer["rules"], {**rule, "effect": "deny"}]}
    if not decide(from_data(layer), asked).allowed:
        assert not decide(from_data(more), asked).allowed


@given(layers, facts, st.randoms(use_true_random=False))
def test_the_order_of_rules_means_nothing(layer: dict[str, Any], asked: Facts, chance: random.Random) -> None:
    shuffled = {**layer, "rules": chance.sample(layer["rules"], len(layer["rules"]))}
    assert decide(from_data(layer), asked).allowed is decide(from_data(shuffled), asked).allowed


@given(layers, facts)
def test_what_may_be_called_is_listed(layer: dict[str, Any], asked: Facts) -> None:
    policy = from_data(layer)
    if decide(policy, asked).allowed:
        assert may_be_listed(policy, asked)


@given(layers, facts, st.dictionaries(st.sampled_from(["groups", "level", "dept"]), values))
def test_a_claim_that_is_held_back_opens_nothing(layer: dict[str, Any], asked: Facts, claims: dict[str, Any]) -> None:
    """Whoever is let in without a claim is let in whatever the claim would have said."""
    policy = from_data(layer)
    less = Facts(asked.upstream, asked.method, asked.name, asked.arguments, None, asked.agent, asked.clock)
    more = Facts(asked.upstream, asked.method, asked.name, asked.arguments, claims, asked.agent, asked.clock)
    if decide(policy, less).allowed:
        assert decide(policy, more).allowed


@given(layers, facts)
def test_the_trace_agrees_with_the_decision(layer: dict[str, Any], asked: Facts) -> None:
    policy = from_data(layer)
    denied = any(step.rule.effect == "deny" and step.applies is not False for step in trace(policy, asked))
    decision = decide(policy, asked)
    assert denied is (not decision.allowed and not decision.rule.endswith("/default"))


@given(st.text("ab*?.\n", max_size=8), st.text("ab.\n", max_size=8))
def test_a_pattern_means_what_its_stars_and_marks_say(pattern: str, name: str) -> None:
    plain = "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    assert matcher(pattern)(name) is (re.fullmatch(plain, name, re.DOTALL) is not None)


def test_a_pattern_of_many_stars_is_not_kept_busy_by_a_long_value() -> None:
    assert not matcher("*a*a*a*a*a*a*a*b")("a" * 100_000)  # a search that backtracks would take years
