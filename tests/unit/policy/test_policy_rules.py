"""Promises of the rules: what each of them asks, and that not knowing never helps."""

from decimal import Decimal
from typing import Any

import pytest

from acp_stdio.policy.decide import decide, may_be_listed, trace
from acp_stdio.policy.rules import Agent, evidence
from tests.unit.policy.reading import at, call, policy_of, problems_of

ADMINS = {"groups": ["finance-admins"]}
DELETES = """
[policy]
[[policy.rules]]
id = "no-deletes"
effect = "deny"
upstream = "finance"
tool = ["delete_*", "transfer"]
unless = { groups = ["finance-admins"] }
message = "Ask Finance."
"""


@pytest.mark.parametrize(
    ("facts", "allowed"),
    [
        (call("report"), True),
        (call("delete_invoice"), False),
        (call("transfer"), False),
        (call("transfers"), True),
        (call("Transfer"), True),
        (call("transfer", upstream="hr"), True),
        (call("transfer", claims=ADMINS), True),
        (call("transfer", claims={"groups": ["interns", "finance-admins"]}), True),
        (call("transfer", claims={"cognito:groups": ["finance-admins"]}), True),
        (call("transfer", claims={"groups": "finance-admins"}), True),
        (call("transfer", claims={"sub": "u"}), False),
        (call("transfer", claims=None), False),
        (call("transfer", method="prompts/get"), True),
    ],
)
def test_the_published_example_does_what_it_says(facts: Any, allowed: bool) -> None:
    decision = decide(policy_of(DELETES), facts)
    assert decision.allowed is allowed
    assert decision.rule == ("managed/default" if allowed else "managed/no-deletes")
    assert decision.message == ("" if allowed else "Ask Finance.")


def with_rule(rule: str, default: str = "allow") -> str:
    return f'[policy]\ndefault = "{default}"\n[[policy.rules]]\n{rule}\n'


@pytest.mark.parametrize(
    ("test", "value", "denied"),
    [
        ("{ gt = 1000 }", 1000, False),
        ("{ gt = 1000 }", 1001, True),
        ("{ gt = 1000 }", Decimal("1000.0000000000000000001"), True),
        ("{ gt = 1000 }", "1001", True),
        ("{ gt = 1000 }", "1", True),
        ("{ gt = 1000 }", True, True),
        ("{ gt = 1000 }", [5], True),
        ("{ gt = 1000 }", None, False),
        ("{ gte = 10, lt = 20 }", 15, True),
        ("{ gte = 10, lt = 20 }", 20, False),
        ("{ lte = 10 }", 10, True),
        ('"EUR"', "EUR", True),
        ('"EUR"', "eur", False),
        ('{ equals = "EUR" }', "EUR", True),
        ("5", "5", True),
        ("5", 6, False),
        ("true", False, False),
        ('["a", "b"]', "b", True),
        ('["a", "b"]', "c", False),
        ('{ in = ["a", "b"] }', "b", True),
        ('{ matches = "/etc/*" }', "/etc/passwd", True),
        ('{ matches = "/etc/*" }', "/home", False),
        ('{ matches = ["/etc/*", "*.key"] }', "x.key", True),
        ('{ matches = "/etc/*" }', ["/etc/passwd"], True),
        ("{ exists = true }", None, True),
    ],
)
def test_an_argument_is_judged_by_value_and_one_of_another_type_counts_against_the_call(
    test: str, value: Any, denied: bool
) -> None:
    policy = policy_of(with_rule(f'effect = "deny"\nwhen = {{ args = {{ x = {test} }} }}'))
    assert decide(policy, call("pay", x=value)).allowed is not denied


@pytest.mark.parametrize(
    ("path", "denied"),
    [
        ("to.iban", True),
        ("/to/iban", True),
        ("to.0", False),
        ("items.1.price", True),
        ("/items/1/price", True),
        ("items.*.price", True),
        ("*.iban", True),
        ("a~1b", False),
        ("/a~1b", True),
        ("missing", False),
        ("items.99.price", False),
        ("items.99999999999999999999.price", False),
    ],
)
def test_a_path_leads_to_a_value_by_dots_or_as_a_json_pointer(path: str, denied: bool) -> None:
    policy = policy_of(with_rule(f'effect = "deny"\nwhen = {{ args = {{ "{path}" = {{ exists = true }} }} }}'))
    arguments: dict[str, Any] = {"to": {"iban": "DE1"}, "items": [{"price": 1}, {"price": 2}], "a/b": 1}
    assert decide(policy, call("pay", **arguments)).allowed is not denied


def test_an_argument_that_is_missing_can_be_demanded() -> None:
    policy = policy_of(with_rule('effect = "deny"\nwhen = { args = { ticket = { exists = false } } }'))
    assert not decide(policy, call("pay")).allowed
    assert decide(policy, call("pay", ticket="T-1")).allowed


def test_one_of_many_is_enough_for_a_star() -> None:
    policy = policy_of(with_rule('effect = "deny"\nwhen = { args = { "to.*" = { matches = "*@evil.example" } } }'))
    assert not decide(policy, call("mail", to=["a@x.example", "b@evil.example"])).allowed
    assert decide(policy, call("mail", to=["a@x.example"])).allowed


def test_claims_are_looked_up_by_name_or_path_and_a_list_by_its_members() -> None:
    rule = 'effect = "allow"\nwhen = { claims = { "%s" = "x" } }'
    for name, claims in (
        ("department", {"department": "x"}),
        ("realm_access.roles", {"realm_access": {"roles": ["y", "x"]}}),
        ("https://acme.example/role", {"https://acme.example/role": "x"}),
    ):
        policy = policy_of(with_rule(rule % name, "deny"))
        assert decide(policy, call("report", claims=claims)).allowed
        assert not decide(policy, call("report", claims={"sub": "u"})).allowed


def test_a_claim_that_the_token_does_not_have_denies_where_the_rule_denies() -> None:
    policy = policy_of(with_rule('effect = "deny"\nwhen = { claims = { department = "interns" } }'))
    assert not decide(policy, call("report", claims={"sub": "u"})).allowed
    assert decide(policy, call("report", claims={"department": "finance"})).allowed


@pytest.mark.parametrize(
    ("day", "minute", "allowed"),
    [(0, 9 * 60, True), (0, 9 * 60 - 1, False), (4, 17 * 60 - 1, True), (4, 17 * 60, False), (5, 600, False)],
)
def test_a_time_has_days_and_hours(day: int, minute: int, allowed: bool) -> None:
    policy = policy_of(
        with_rule('effect = "deny"\nunless = { time = { days = ["mon", "fri"], hours = "09:00-17:00" } }')
    )
    assert decide(policy, call("report", clock=at(day, minute))).allowed is allowed


@pytest.mark.parametrize(
    ("day", "minute", "inside"), [(0, 1380, True), (1, 60, True), (1, 1380, False), (0, 60, False)]
)
def test_hours_over_midnight_belong_to_the_day_on_which_they_began(day: int, minute: int, inside: bool) -> None:
    policy = policy_of(with_rule('effect = "deny"\nwhen = { time = { days = ["mon"], hours = "22:00-06:00" } }'))
    assert decide(policy, call("report", clock=at(day, minute))).allowed is not inside


def test_a_zone_is_asked_for_by_its_name() -> None:
    policy = policy_of(with_rule('effect = "deny"\nwhen = { time = { zone = "Asia/Tokyo" } }'))
    asked: list[str] = []

    def clock(zone: str) -> tuple[int, int]:
        asked.append(zone)
        return (0, 0)

    decide(policy, call("report", clock=clock))
    assert asked == ["Asia/Tokyo"]


KNOWN = '[policy.agents.claude-ai]\nexecutable = "/opt/Claude/*"\nact = ["agent:claude"]\n'


@pytest.mark.parametrize(
    ("agent", "level"),
    [
        (Agent("claude-ai", "1", "/usr/bin/python3"), "self_reported"),
        (Agent("claude-ai", "1", ""), "self_reported"),
        (Agent("cursor", "1", "/opt/Claude/claude"), "self_reported"),
        (Agent("", "", "/opt/Claude/claude"), "self_reported"),
        (Agent("claude-ai", "1", "/opt/Claude/claude"), "os_observed"),
        (Agent("claude-ai", "1", "/usr/bin/python3", "agent:claude"), "proven"),
        (Agent("claude-ai", "1", "", "agent:other"), "self_reported"),
    ],
)
def test_a_name_is_worth_what_there_is_for_it_besides_the_agents_word(agent: Agent, level: str) -> None:
    needs = "[[policy.rules]]\neffect = 'deny'\nunless = { agent = { evidence = 'os_observed' } }\n"
    policy = policy_of(f"{needs}{KNOWN}")
    assert evidence(policy.agents, agent) == level
    assert decide(policy, call("report", agent=agent)).allowed is (level != "self_reported")


def test_a_person_cannot_make_an_agent_known_to_the_administrators_rules() -> None:
    managed = "[[policy.rules]]\neffect = 'deny'\nunless = { agent = { evidence = 'os_observed' } }\n"
    user = '[policy.agents.mine]\nexecutable = "*"\n'
    agent = Agent("mine", "1", "/usr/bin/python3")
    assert not decide(policy_of(managed, user), call("report", agent=agent)).allowed
    both = policy_of(f"{managed}{KNOWN}", '[policy.agents.claude-ai]\nexecutable = "*"\n')
    assert evidence(both.agents, Agent("claude-ai", "1", "/usr/bin/python3")) == "self_reported"


def test_a_label_is_the_administrators_word_and_a_person_cannot_add_tools_to_it() -> None:
    managed = (
        '[policy]\ndefault = "deny"\n[[policy.rules]]\neffect = "allow"\nlabel = "read"\n'
        '[policy.labels.finance]\n"read_*" = ["read"]\nreport = ["read", "quarterly"]\n'
    )
    user = '[policy.labels.finance]\n"delete_*" = ["read"]\n'
    policy = policy_of(managed, user)
    assert decide(policy, call("read_all")).allowed
    assert decide(policy, call("report")).allowed
    assert not decide(policy, call("delete_all")).allowed
    assert not decide(policy, call("read_all", upstream="hr")).allowed
    below = policy_of(managed, '[[policy.rules]]\neffect = "deny"\nlabel = "quarterly"\n[policy]\n')
    assert not decide(below, call("report")).allowed, "the layers below may use the administrator's labels"


def test_rules_about_prompts_resources_and_methods() -> None:
    policy = policy_of(
        '[policy]\ndefault = "deny"\n'
        '[[policy.rules]]\neffect = "allow"\nprompt = "summary"\nresource = "file:///public/*"\n'
        '[[policy.rules]]\neffect = "allow"\nmethod = "tasks/*"\n'
    )
    for name, method, allowed in (
        ("summary", "prompts/get", True),
        ("summary", "tools/call", False),
        ("file:///public/a", "resources/read", True),
        ("file:///private/a", "resources/read", False),
        ("", "tasks/result", True),
        ("", "something/new", False),
    ):
        assert decide(policy, call(name, method=method)).allowed is allowed, (name, method)


def test_a_rate_counts_by_rule_or_by_tool_and_only_what_its_rule_is_about() -> None:
    rates = (
        '[[policy.rules]]\nid = "all"\neffect = "deny"\nrate = "5/1h"\n'
        '[[policy.rules]]\nid = "each"\neffect = "deny"\ntool = "pay_*"\nrate = "2/1m"\nrate_each = "tool"\n'
    )
    policy = policy_of(f"[policy]\n{rates}")
    decision = decide(policy, call("report"))
    assert decision.allowed
    assert [limit.key for limit in decision.limits] == ["managed/all"]
    assert [limit.key for limit in decide(policy, call("pay_a")).limits] == [
        "managed/all",
        "managed/each finance/pay_a",
    ]


def test_a_denied_call_has_no_limits_to_count() -> None:
    policy = policy_of('[[policy.rules]]\neffect = "deny"\nrate = "5/1h"\n[[policy.rules]]\neffect = "deny"\n')
    assert decide(policy, call("report")).limits == ()


def test_lists_show_what_some_call_could_do_and_hide_what_none_could() -> None:
    policy = policy_of(
        '[[policy.rules]]\neffect = "deny"\ntool = "a"\n'
        '[[policy.rules]]\neffect = "deny"\ntool = "b"\nwhen = { args = { x = 1 } }\n'
        '[[policy.rules]]\neffect = "deny"\ntool = "c"\nunless = { time = { hours = "09:00-17:00" } }\n'
        '[[policy.rules]]\neffect = "deny"\ntool = "d"\nrate = "1/1h"\n'
        '[[policy.rules]]\neffect = "deny"\ntool = "e"\nunless = { groups = "admins" }\n'
    )
    shown = [tool for tool in "abcdef" if may_be_listed(policy, call(tool, clock=at(6, 0)))]
    assert shown == ["b", "c", "d", "f"]
    assert may_be_listed(policy, call("e", claims={"groups": ["admins"]}))
    assert may_be_listed(policy, call("e", claims=None)), "before there is a token nobody is turned away"


def test_the_trace_says_of_each_rule_why_it_did_not_apply() -> None:
    policy = policy_of(DELETES, with_rule('effect = "deny"\nid = "late"\nwhen = { args = { amount = { gt = 5 } } }'))
    steps = [
        (step.rule.id, step.applies, step.because) for step in trace(policy, call("transfer", claims=ADMINS, amount=1))
    ]
    assert steps == [
        ("managed/no-deletes", False, "its exception holds: person is in group finance-admins"),
        ("user/late", False, "not so: argument amount gt 5"),
    ]
    (first, _) = trace(policy, call("report"))
    assert first.because == "not so: tool is delete_* or transfer"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[policy]\ndefault = 'maybe'", "2: policy.default must be one of allow, deny"),
        ("[policy]\nrulse = []", "2: policy.rulse is not a known key; did you mean rules?"),
        ("[[policy.rules]]\ntool = 'x'", "1: policy.rules.1 needs effect: allow or deny"),
        ("[[policy.rules]]\neffect = 'deny'\n[[policy.rules]]\neffect = 'dney'", "4: policy.rules.2.effect must be"),
        ("[[policy.rules]]\neffect = 'allow'\nrate = '1/1h'", "1: policy.rules.1 has a rate, which only"),
        ("[[policy.rules]]\neffect = 'deny'\nrate = '1 per hour'", "3: policy.rules.1.rate must be calls and a time"),
        ("[[policy.rules]]\neffect = 'deny'\nrate = '0/1h'", "3: policy.rules.1.rate must be calls and a time"),
        ("[[policy.rules]]\neffect = 'deny'\nrate_each = 'tool'", "1: policy.rules.1 has rate_each, but no rate"),
        ("[[policy.rules]]\neffect = 'deny'\nwhen = {}", "3: policy.rules.1.when must be a table of conditions"),
        ("[[policy.rules]]\neffect = 'deny'\nwhen = { grups = 'x' }", "policy.rules.1.when.grups is not a known key"),
        ("[[policy.rules]]\neffect = 'deny'\nwhen = { args = { a = { gt = 'x' } } }", "args.a.gt must be a number"),
        ("[[policy.rules]]\neffect = 'deny'\nwhen = { args = { a = {} } }", "args.a must have a test"),
        ("[[policy.rules]]\neffect = 'deny'\nwhen = { time = { zone = 'Mars/Base' } }", "must be a time zone that"),
        ("[[policy.rules]]\neffect = 'deny'\nwhen = { time = { hours = '9-17' } }", 'must be such as "09:00-17:30"'),
        ("[[policy.rules]]\neffect = 'deny'\nwhen = { time = { days = ['monday'] } }", "must be of mon, tue"),
        ("[[policy.rules]]\neffect = 'deny'\nwhen = { agent = { evidence = 'sure' } }", "must be one of self_reported"),
        ("[[policy.rules]]\neffect='deny'\nid='a'\n[[policy.rules]]\neffect='deny'\nid='a'", "two rules with the id a"),
        ("[[policy.rules]]\neffect = 'deny'\nid = 'a b'", "id must be up to 64 letters"),
        ("[policy.labels.finance]\nx = 5\n", "2: policy.labels.finance.x must be a list of texts"),
        ("policy = 5", "1: policy must be a table, written [policy]"),
        ("[policy]\nrules = 5", "2: policy.rules must be tables, each written [[policy.rules]]"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_never_taken_for_a_rule(text: str, problem: str) -> None:
    assert any(problem in said for said in problems_of(text)), problems_of(text)


def test_all_mistakes_are_told_at_once() -> None:
    assert len(problems_of("[policy]\ndefault = 1\n[[policy.rules]]\nefect = 'deny'\nrate = 5")) >= 3
