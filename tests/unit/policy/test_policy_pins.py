"""Promises of the pins: first sight counts, a change is seen, and nothing unseen is shown."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acp_stdio.policy.pins import Pin, definition_of, diff, differing, digest, look, visible, without_unseen
from acp_stdio.runtime.pins import Pins

TOOL: dict[str, Any] = {"name": "pay", "description": "Pays.", "inputSchema": {"type": "object"}, "icons": ["a"]}
PAY = definition_of(TOOL)


@pytest.mark.parametrize("part", ["title", "description", "inputSchema", "outputSchema", "annotations"])
def test_a_change_of_what_models_and_hosts_act_on_is_seen(part: str) -> None:
    changed = definition_of({**TOOL, part: {"x": 1}})
    seen = look({"pay": Pin(PAY, "then")}, {"pay": changed}, "now")
    assert seen.news == ["pay"]
    assert differing(seen.pins["pay"]) == [part]
    again = look(seen.pins, {"pay": changed}, "later")
    assert (again.news, again.pins) == ([], seen.pins)
    back = look(seen.pins, {"pay": PAY}, "later")
    assert back.pins == {"pay": Pin(PAY, "then")}


def test_other_members_and_the_order_of_members_change_nothing() -> None:
    same = definition_of({"icons": ["b"], "_meta": {}, **dict(reversed(TOOL.items()))})
    assert look({"pay": Pin(PAY, "then")}, {"pay": same}, "now").news == []
    assert digest(same) == digest(PAY)


def test_a_tool_that_is_gone_and_comes_back_changed_is_not_new() -> None:
    pins = look({}, {"pay": PAY}, "then").pins
    pins = look(pins, {}, "later").pins
    assert look(pins, {"pay": definition_of({**TOOL, "description": "Evil."})}, "now").news == ["pay"]


def test_a_diff_shows_what_people_could_not_see() -> None:
    pin = Pin(PAY, "then", definition_of({**TOOL, "description": "Pays.\u202e\x1b[31m\U000e0041"}))
    assert "+  Pays.<U+202E><U+001B>[31m<U+E0041>" in diff(pin).splitlines()


def test_what_is_unseen_leaves_descriptions_and_titles_and_nothing_else() -> None:
    bad = "a\u202eb\x1b\U000e0041"
    tool = {
        "name": bad,
        "title": bad,
        "description": bad,
        "inputSchema": {"properties": {bad: {"description": bad, "enum": [bad]}}},
    }
    assert without_unseen(tool) == {
        "name": bad,
        "title": "ab",
        "description": "ab",
        "inputSchema": {"properties": {bad: {"description": "ab", "enum": [bad]}}},
    }
    assert without_unseen({"description": "\U0001f468\u200d\U0001f469 zw\u200cnj\n\tok"})["description"].endswith("ok")


@given(st.dictionaries(st.sampled_from("ab"), st.sampled_from([PAY, {"name": "x"}, {"description": "y"}]), max_size=2))
def test_whatever_is_seen_twice_is_no_news(tools: dict[str, Any]) -> None:
    once = look({}, tools, "then")
    assert once.news == []
    assert look(once.pins, tools, "now").pins == once.pins


def test_all_processes_see_a_change_and_its_acceptance(tmp_path: Path) -> None:
    mine, other = (Pins(tmp_path, "finance", "https://a.example/mcp") for _ in range(2))
    assert mine.observe({"pay": PAY}) == []
    changed = definition_of({**TOOL, "description": "Evil."})
    assert other.observe({"pay": changed}) == ["pay"]
    assert mine.changed == {"pay": digest(changed)}
    assert mine.observe({"pay": changed}) == [], "one of them tells the trail"
    assert other.accept(["pay", "report"]) == ["pay"]
    assert mine.changed == {}
    assert mine.observe({"pay": PAY}) == ["pay"], "the old words are a change now"
    (file,) = tmp_path.glob("tools/*.json")
    assert file.stat().st_mode & 0o077 == 0


def test_another_address_has_other_pins(tmp_path: Path) -> None:
    Pins(tmp_path, "finance", "https://a.example/mcp").observe({"pay": PAY})
    assert Pins(tmp_path, "finance", "https://b.example/mcp").current() == {}


def test_visible_keeps_lines_and_letters() -> None:
    assert visible("grüße\n\tja") == "grüße\n\tja"
