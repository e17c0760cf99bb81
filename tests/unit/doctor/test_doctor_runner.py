"""The examination runs on after a failure, is bounded, and ends in one step and one exit code."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from acp_stdio.doctor.check import Case, Check, examine
from acp_stdio.doctor.finding import Finding, ok, problem, redacted, skipped, warning
from acp_stdio.doctor.report import NOTHING_TO_DO, Report
from acp_stdio.errors import EXIT_KEYRING, EXIT_OK, EXIT_SIGN_IN_REQUIRED, EXIT_UNEXPECTED, REASONS, Failure
from tests.unit.doctor.conftest import MakeCase


def giving(finding: Finding) -> Callable[[Case], Finding]:
    return lambda _: finding


def raising(error: Exception) -> Callable[[Case], Finding]:
    def probe(_: Case) -> Finding:
        raise error

    return probe


def quiet(_: str) -> None:
    """No progress."""


def test_what_builds_on_a_failed_check_is_not_checked_and_the_rest_is(make_case: MakeCase) -> None:
    checks = [
        Check("network", giving(problem("idp_unreachable", "down", "Wait."))),
        Check("discovery", giving(ok("never asked")), ("network",)),
        Check("keys", giving(ok("never asked")), ("discovery",)),
        Check("keyring", giving(ok("fine"))),
    ]
    found = examine(checks, make_case(), quiet)
    assert [each.state for each in found.values()] == ["problem", "skipped", "skipped", "ok"]
    assert found["discovery"].message == "not checked: network has a problem"
    assert found["keys"].message == "not checked: discovery was not checked"


def test_a_warning_does_not_keep_others_from_being_checked(make_case: MakeCase) -> None:
    checks = [Check("a", giving(warning("odd", "Look."))), Check("b", giving(ok("fine")), ("a",))]
    assert examine(checks, make_case(), quiet)["b"].state == "ok"


@pytest.mark.parametrize("reason", REASONS)
def test_a_refusal_of_another_room_is_a_problem_in_its_own_words(make_case: MakeCase, reason: str) -> None:
    found = examine([Check("a", raising(Failure(reason, "It broke.", "Mend it.")))], make_case(), quiet)["a"]
    assert (found.state, found.message, found.next) == ("problem", "It broke.", "Mend it.")
    assert found.exit_code == REASONS[reason].exit_code


def test_a_check_that_is_broken_itself_hides_nothing(make_case: MakeCase) -> None:
    checks = [Check("a", raising(KeyError("secret thing"))), Check("b", giving(ok("fine")))]
    found = examine(checks, make_case(), quiet)
    assert (found["a"].state, found["a"].exit_code) == ("problem", EXIT_UNEXPECTED)
    assert "secret thing" not in str(found["a"])
    assert found["b"].state == "ok"


def test_a_check_that_hangs_is_left_behind_at_its_limit(make_case: MakeCase) -> None:
    never = threading.Event()

    def hang(_: Case) -> Finding:
        never.wait()
        return ok("too late")

    found = examine([Check("a", hang, limit=0.05), Check("b", giving(ok("fine")))], make_case(), quiet)
    never.set()
    assert "did not finish within 0.05 s" in found["a"].message
    assert found["b"].state == "ok"


def test_each_check_is_announced_before_its_turn(make_case: MakeCase) -> None:
    told: list[str] = []
    examine([Check("a", giving(ok("x"))), Check("b", giving(ok("x")))], make_case(), told.append)
    assert told == ["a", "b"]


@pytest.mark.parametrize(
    ("findings", "step", "code"),
    [
        ([ok("x")], NOTHING_TO_DO, EXIT_OK),
        ([ok("x"), skipped("y")], NOTHING_TO_DO, EXIT_OK),
        ([warning("x", "Look."), ok("y")], "Look.", EXIT_OK),
        (
            [warning("x", "Look."), problem("keyring_locked", "y", "Unlock."), problem("login_required", "z", "Go.")],
            "Unlock.",
            EXIT_KEYRING,
        ),
        ([problem("login_required", "z", "Go."), problem("keyring_locked", "y", "No.")], "Go.", EXIT_SIGN_IN_REQUIRED),
    ],
)
def test_the_first_problem_gives_the_step_and_the_exit_code(findings: list[Finding], step: str, code: int) -> None:
    report = Report({str(number): each for number, each in enumerate(findings)})
    assert (report.next, report.exit_code) == (step, code)


def test_the_published_fields_stay_as_they_are() -> None:
    report = Report({"keyring": problem("keyring_locked", "It is locked.", "Unlock it.", backend="macos")})
    data: dict[str, Any] = report.to_json()
    assert list(data) == ["version", "checks", "next"]
    assert data["checks"] == [
        {
            "name": "keyring",
            "state": "problem",
            "message": "It is locked.",
            "next": "Unlock it.",
            "details": {"backend": "macos"},
        }
    ]
    assert data["next"] == "Unlock it."


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("https://a.example/mcp?key=abc,def;x=1 answers", "https://a.example/mcp answers"),
        ("https://sarah:hidden@a.example/mcp", "https://a.example/mcp"),
        ("see https://a.example/cb#access_token=abc.", "see https://a.example/cb"),
        ("Bearer eyJhbGciOiJSUzI1NiJ9.x.y was sent", "Bearer … was sent"),
        ("is it there? yes", "is it there? yes"),
    ],
)
def test_what_is_printed_can_be_pasted_anywhere(text: str, safe: str) -> None:
    assert redacted(text) == safe
    shown = warning(text, text, deep={"list": [text]}).to_json()
    assert (shown["message"], shown["next"], shown["details"]) == (safe, safe, {"deep": {"list": [safe]}})
