"""`acp-stdio policy`, as people and scripts use it."""

import json
from pathlib import Path
from typing import Any

import pytest

from acp_stdio.audit.record import Context, call_record
from acp_stdio.audit.trail import Trail
from acp_stdio.cli.main import main
from acp_stdio.settings import managed

CONFIG = """
[identity]
issuer = "http://127.0.0.1:1"
client_id = "acp-stdio"
[upstreams.finance]
url = "http://127.0.0.1:1/mcp"
[policy]
[[policy.rules]]
id = "big"
effect = "deny"
tool = "transfer"
when = { args = { amount = { gt = 1000 } } }
message = "Ask Finance."
[[policy.rules]]
id = "no-deletes"
effect = "deny"
tool = "delete_*"
unless = { groups = ["admins"] }
[[policy.rules]]
id = "slow"
effect = "deny"
tool = "report"
rate = "2/1h"
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(managed, "PLACE", tmp_path / "none")
    monkeypatch.setenv("ACP_STDIO_HOME", str(tmp_path))
    (tmp_path / "config").mkdir()
    write(tmp_path, CONFIG)
    return tmp_path


def write(home: Path, text: str) -> None:
    (home / "config" / "config.toml").write_text(text, encoding="utf-8")


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    """The exit code and the JSON answer."""
    code = main(["policy", *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_check_tells_what_holds_and_every_mistake_at_once(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = asked(capsys, "check")
    assert (code, told["layers"][0]["rules"]) == (0, ["user/big", "user/no-deletes", "user/slow"])
    write(home, CONFIG.replace("gt = 1000", "gt = 'x'").replace('effect = "deny"\ntool = "report"', 'effect = "dney"'))
    assert main(["policy", "check"]) == 3
    said = capsys.readouterr().err
    assert f"{home}/config/config.toml:12: policy.rules.1.when.args.amount.gt must be a number" in said
    assert ":21: policy.rules.3.effect must be one of allow, deny; did you mean deny?" in said


def test_check_warns_of_a_rule_about_an_upstream_that_is_not_there(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(home, f'{CONFIG}[[policy.rules]]\nid = "typo"\neffect = "deny"\nupstream = "finanec"\n')
    assert main(["policy", "check"]) == 0
    assert "user/typo is about none of the configured upstreams." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "decision", "rule"),
    [
        (["transfer", "--arg", "amount=1000"], 0, "allow", "user/default"),
        (["transfer", "--arg", "amount=1001"], 7, "deny", "user/big"),
        (["transfer"], 7, "depends", "user/big"),
        (["delete_x", "--as", "groups=admins"], 0, "allow", "user/default"),
        (["delete_x", "--as", "groups=a,b"], 7, "deny", "user/no-deletes"),
        (["delete_x"], 7, "depends", "user/no-deletes"),
        (["delete_x", "--kind", "prompt"], 0, "allow", "user/default"),
    ],
)
@pytest.mark.usefixtures("home")
def test_why_explains_a_decision_and_says_what_it_depends_on(
    capsys: pytest.CaptureFixture[str], words: list[str], code: int, decision: str, rule: str
) -> None:
    ended, told = asked(capsys, "why", "finance", *words)
    assert (ended, told["decision"], told["rule"]) == (code, decision, rule)
    assert [step["rule"] for step in told["trace"]] == ["user/big", "user/no-deletes", "user/slow"]


@pytest.mark.usefixtures("home")
def test_why_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "why", "finance", "transfer", "--arg", "amount=5000"]) == 7
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["Denied by user/big.", "Ask Finance."]
    assert lines[2].split() == ["user/big", "deny", "applies"]
    assert lines[3].endswith("not so: tool is delete_*")


def test_cases_are_a_table_and_a_wrong_one_is_told_with_its_line(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = home / "cases.toml"
    case = '[[cases]]\nupstream = "finance"\ntool = "%s"\nargs = { amount = 5000 }\nexpect = "%s"\n'
    cases.write_text(case % ("transfer", "deny") + case % ("pay", "allow"), encoding="utf-8")
    assert asked(capsys, "test", str(cases))[0] == 0
    cases.write_text(case % ("pay", "allow") + case % ("transfer", "allow"), encoding="utf-8")
    assert main(["policy", "test", str(cases)]) == 7
    assert capsys.readouterr().out.splitlines() == [
        f"{cases}:6: case 2: deny by user/big, expected allow",
        "1 of 2 cases came out as expected.",
    ]
    cases.write_text('[[cases]]\nupstream = "finance"\ntool = "x"\nexpct = "deny"\n', encoding="utf-8")
    assert main(["policy", "test", str(cases)]) == 3
    assert f"{cases}:4: cases.1.expct is not a known key; did you mean expect?" in capsys.readouterr().err


def remember(home: Path, *calls: tuple[str, str, float]) -> None:
    """Puts calls into the trail: event, tool, seconds since the epoch."""
    context = Context({"sub": "u-1", "label": "sarah"}, "laptop", "finance")
    with Trail(home / "state" / "default" / "audit") as trail:
        for event, tool, at in calls:
            trail.append(
                {
                    **call_record(
                        event,
                        context,
                        record=f"r{at}",
                        call=f"c{at}",
                        now=at,
                        method="tools/call",
                        tool=tool,
                        agent=("claude-ai", "1"),
                        arguments_bytes=2,
                        trace="",
                        token=None,
                    ),
                    "reason": "denied",
                }
            )


def test_a_replay_says_what_the_rules_of_today_had_denied(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = 1_700_000_000.0
    remember(
        home,
        ("call.intent", "report", at),
        ("call.outcome", "report", at + 1),
        ("call.intent", "report", at + 2),
        ("call.intent", "report", at + 3),
        ("call.intent", "transfer", at + 4),
        ("call.intent", "delete_a", at + 5),
        ("call.denied", "read", at + 6),
        ("call.intent", "report", at + 4000),
    )
    code, told = asked(capsys, "test", "--replay")
    assert (code, told["total"], told["by_rule"]) == (7, 7, {"user/slow": 1})
    assert [one["id"] for one in told["newly_denied"]] == [f"r{at + 3}"]
    assert (told["depends"], [one["id"] for one in told["newly_allowed"]]) == (2, [f"r{at + 6}"])
    code, told = asked(capsys, "test", "--replay", "--as", "groups=staff")
    assert told["by_rule"] == {"user/slow": 1, "user/no-deletes": 1}
    code, recent = asked(capsys, "test", "--replay", "--since", "7d")
    assert (code, recent["total"], recent["newly_denied"]) == (0, 0, [])
    assert main(["policy", "test", "--replay"]) == 7
    assert capsys.readouterr().out.splitlines()[:2] == ["1 of 7 calls that left would be denied now.", "  user/slow: 1"]
