"""The list of expected failures can neither hide a failure nor outlive one."""

import json
from pathlib import Path

import pytest

from tests.conformance import scorecard, suite
from tests.conformance.suite import Leg, Requirements, Verdict


def verdict(name: str, *complaints: str, required: bool = True) -> Verdict:
    return Verdict(name, required, complaints)


def test_a_failure_that_is_not_listed_is_a_surprise() -> None:
    assert suite.surprises({"ping": verdict("ping", "no pong")}, {}) == ["ping: no pong"]


def test_a_listed_scenario_that_passes_is_a_surprise() -> None:
    assert suite.surprises({"ping": verdict("ping")}, {"ping": "slow"}) == ["ping passes: take it off the list"]


def test_a_listed_scenario_that_nobody_knows_is_a_surprise() -> None:
    assert suite.surprises({}, {"pong": "slow"}) == ["pong is listed, and the suite has no such scenario"]


def test_what_is_listed_and_fails_is_none() -> None:
    assert suite.surprises({"ping": verdict("ping", "no pong")}, {"ping": "slow"}) == []


@pytest.mark.parametrize("status", ["FAILURE", "WARNING"])
def test_a_check_that_does_not_hold_fails_its_scenario(status: str) -> None:
    assert suite.complaints([{"id": "a", "status": status, "description": "holds"}]) == ("a: holds",)


def test_a_check_that_holds_was_skipped_or_only_informs_does_not() -> None:
    assert suite.complaints([{"id": "a", "status": status} for status in ("SUCCESS", "SKIPPED", "INFO")]) == ()


@pytest.mark.parametrize(("leg", "name"), [("server", "server-ping"), ("client", "auth/basic-cimd")])
def test_a_verdict_is_read_and_a_scenario_that_left_none_has_failed(tmp_path: Path, leg: Leg, name: str) -> None:
    folder = tmp_path / f"{name}-2026-07-28T10-11-12-345Z"
    folder.mkdir(parents=True)
    (folder / "checks.json").write_text(json.dumps([{"id": "a", "status": "SUCCESS"}]))
    scenario = name.removeprefix("server-") if leg == "server" else name
    found = suite.read(tmp_path, Requirements((scenario,), ("gone",)), leg)
    assert found[scenario] == Verdict(scenario, True, ())
    assert found["gone"] == Verdict("gone", False, ("it did not run",))


def test_the_score_counts_what_is_required() -> None:
    verdicts = {"a": verdict("a"), "b": verdict("b", "no"), "c": verdict("c", required=False)}
    table = scorecard.table({("server", revision): verdicts for revision in suite.REVISIONS})
    assert table.splitlines()[2].endswith("| 1 of 2 | 1 of 2 |")


def test_a_leg_that_was_not_run_keeps_its_line() -> None:
    former = "| As a client: a host reaches the suite's servers through `acp-stdio run` | 5 of 18 | 14 of 32 |"
    table = scorecard.table({}, f"| other | 1 of 1 |\n{former}\n")
    assert table.splitlines()[2:] == [former]


def test_the_table_takes_the_place_of_the_former() -> None:
    readme = f"above\n{scorecard.BEGIN}\nold\n{scorecard.END}\nbelow\n"
    assert scorecard.placed(readme, "new\n") == f"above\n{scorecard.BEGIN}\nnew\n{scorecard.END}\nbelow\n"
