"""Several upstreams: one list and one handshake from all of theirs, in time, whoever is slow or dead."""

import json
from typing import Any

import pytest

from acp_stdio.relay.commands import Learn
from acp_stdio.relay.desk import LIST_WAIT
from acp_stdio.relay.switchboard.names import Names
from tests.kit.board import Board
from tests.kit.playbook import hello, welcome

TOO_LATE = LIST_WAIT + 1


def tools(*names: str, **more: Any) -> dict[str, Any]:
    return {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in names], **more}


def names_of(told: dict[str, Any]) -> list[str]:
    return [each["name"] for each in told["result"]["tools"]]


@pytest.fixture
def board() -> Board:
    board = Board()
    board.shake_hands()
    return board


# -- lists --------------------------------------------------------------------------------------------


def test_a_list_is_everybodys_in_the_order_of_the_configuration_whoever_answers_first(board: Board) -> None:
    board.host("tools/list", {"_meta": {"progressToken": 1, "x": 2}}, id="l")
    asked = board.to_lane("crm")[0]
    assert asked["params"] == {"_meta": {"x": 2}}
    board.answers("finance", tools("pay"))
    assert board.to_host() == []
    board.lane("crm", id=asked["id"], result=tools("find", "note"))
    (told,) = board.to_host()
    assert told["id"] == "l"
    assert names_of(told) == ["crm__find", "crm__note", "finance__pay"]
    assert told["result"]["tools"][0]["inputSchema"] == {"type": "object"}


def test_our_own_tools_are_there_once_at_the_end() -> None:
    board = Board(helpers=True)
    board.shake_hands()
    board.host("tools/list", id=1)
    board.answers("crm", tools("a"))
    board.answers("finance", tools("b"))
    assert names_of(board.to_host()[0]) == ["crm__a", "finance__b", "acp_login", "acp_status"]


def test_pages_of_several_are_one_page_and_one_cursor(board: Board) -> None:
    board.host("tools/list", id=1)
    board.answers("crm", tools("a", nextCursor="c2"))
    board.answers("finance", tools("b"))
    cursor = board.to_host()[0]["result"]["nextCursor"]
    board.host("tools/list", {"cursor": cursor}, id=2)
    assert board.to_lane("finance") == []
    (asked,) = board.to_lane("crm")
    assert asked["params"]["cursor"] == "c2"
    board.lane("crm", id=asked["id"], result=tools("c", nextCursor=""))
    last = board.to_host()[0]["result"]
    board.host("tools/list", {"cursor": last["nextCursor"]}, id=3)
    assert board.to_lane("crm")[0]["params"]["cursor"] == ""


@pytest.mark.parametrize("cursor", ["", "c2", "e30", "W10", "W1sieCIsICIiXV0", "💥", 7])
def test_a_cursor_that_was_not_made_here_is_refused(board: Board, cursor: Any) -> None:
    board.host("tools/list", {"cursor": cursor}, id=1)
    assert board.to_host()[0]["error"]["code"] == -32602
    assert board.to_lane("crm") == []


def test_one_that_says_nothing_does_not_keep_the_host_waiting_and_is_announced_when_it_comes(board: Board) -> None:
    board.host("tools/list", id=1)
    board.answers("crm", tools("a"))
    (asked,) = board.to_lane("finance")
    board.later(TOO_LATE)
    assert names_of(board.to_host()[0]) == ["crm__a"]
    board.lane("finance", id=asked["id"], result=tools("b"))
    assert [each["method"] for each in board.to_host()] == ["notifications/tools/list_changed"]
    board.host("tools/list", id=2)
    board.answers("crm", tools("a"))
    (told,) = board.to_host()  # who is known to be slow is not waited for: what it said last counts
    assert names_of(told) == ["crm__a", "finance__b"]
    board.later(TOO_LATE)
    board.answers("finance", tools("b"))
    assert board.to_host() == [], "the same as before is no news, and a host would list for ever"


def test_one_that_answers_in_time_again_is_waited_for_again(board: Board) -> None:
    board.host("tools/list", id=1)
    board.later(TOO_LATE)
    assert names_of(board.to_host()[0]) == []
    for name in board.names:
        board.answers(name, tools(name))
    board.to_host()
    for number in (2, 3):
        board.host("tools/list", id=number)
        board.answers("crm", tools("crm"))
        told = len(board.to_host())
        board.answers("finance", tools("finance"))
        assert told + len(board.to_host()) == 1
    assert told == 0


def test_one_that_refuses_hides_no_other_and_all_that_refuse_are_one_refusal(board: Board) -> None:
    board.host("tools/list", id=1)
    board.refuses("crm")
    board.answers("finance", tools("b"))
    board.host("tools/list", id=2)
    board.refuses("crm", 4502)
    board.refuses("finance", 4401)
    first, second = board.to_host()
    assert names_of(first) == ["finance__b"]
    assert (second["id"], second["error"]["code"]) == (2, 4502)


def test_only_those_are_asked_that_have_such_a_list() -> None:
    board = Board()
    board.shake_hands(crm={"tools": {}, "prompts": {}}, finance={"tools": {}})
    board.host("prompts/list", id=1)
    assert board.to_lane("finance") == []
    board.answers("crm", {"prompts": [{"name": "p"}]})
    board.host("resources/list", id=2)
    first, second = board.to_host()
    assert [each["name"] for each in first["result"]["prompts"]] == ["crm__p"]
    assert second["result"]["resources"] == []


def test_a_list_that_the_host_gave_up_is_not_answered(board: Board) -> None:
    board.host("tools/list", id=1)
    board.host("notifications/cancelled", {"requestId": 1})
    for name in board.names:
        (asked, *_) = board.to_lane(name)
        board.lane(name, id=asked["id"], result=tools("a"))
    board.later(TOO_LATE)
    assert not [each for each in board.to_host() if "id" in each]


def test_a_modern_list_may_be_kept_as_long_as_the_shortest_lived_part_and_never_shared() -> None:
    board = Board()
    board.modern("tools/list", id=1)
    board.answers("crm", tools("a", resultType="complete", ttlMs=5000, cacheScope="public"))
    board.answers("finance", tools("b", resultType="complete", ttlMs=300, cacheScope="private"))
    result = board.to_host()[0]["result"]
    assert (result["ttlMs"], result["cacheScope"], result["resultType"]) == (300, "private", "complete")
    board.modern("tools/list", id=2)
    board.answers("crm", tools("a", ttlMs=5000))
    board.later(TOO_LATE)
    assert board.to_host()[0]["result"]["ttlMs"] == 0


def test_a_log_level_is_set_everywhere() -> None:
    board = Board()
    board.shake_hands(crm={"logging": {}}, finance={"logging": {}})
    board.host("logging/setLevel", {"level": "debug"}, id=1)
    board.refuses("crm")
    board.answers("finance", {})
    assert board.to_host() == [{"jsonrpc": "2.0", "id": 1, "result": {}}]


# -- names that are too long, or could be another's -------------------------------------------------


def test_a_long_name_is_shortened_the_same_way_every_time_and_finds_back() -> None:
    first, again = Names(["finance"]), Names(["crm", "finance"])
    long = "transfer_" * 10
    shown = first.shown(0, long)
    assert len(shown) == 64
    assert shown == again.shown(1, long)
    assert shown != first.shown(0, long + "x")
    assert again.route(shown) == (1, long)


def test_upstreams_whose_names_begin_alike_do_not_get_each_others_calls() -> None:
    names = Names(["a", "a__b"])
    shown = [names.shown(0, "b__c"), names.shown(1, "c")]
    assert len(set(shown)) == 2
    assert [names.route(each) for each in shown] == [(0, "b__c"), (1, "c")]


# -- handshakes ---------------------------------------------------------------------------------------


def test_one_greeting_promises_what_any_of_them_does_and_names_whose_instructions_are_whose() -> None:
    board = Board()
    board.host("initialize", hello(), id=0)
    first = {"tools": {}, "resources": {"subscribe": True}, "experimental": {"x": {"a": 1}}}
    second = {"prompts": {"listChanged": False}, "resources": {"subscribe": False}, "experimental": {"x": {"a": 2}}}
    board.answers("crm", {**welcome("2025-06-18"), "capabilities": first, "instructions": "Be brief."})
    board.answers("finance", {**welcome(), "capabilities": second, "instructions": "Be exact."})
    result = board.to_host()[0]["result"]
    assert result["protocolVersion"] == "2025-11-25"
    assert result["serverInfo"]["name"] == "acp-stdio"
    assert result["instructions"] == "# crm\n\nBe brief.\n\n# finance\n\nBe exact."
    assert result["capabilities"] == {
        "tools": {"listChanged": True},
        "resources": {"subscribe": True, "listChanged": True},
        "prompts": {"listChanged": True},
        "experimental": {"x": {"a": 1}},
    }
    (learn,) = board.others
    assert isinstance(learn, Learn)
    assert (learn.key, json.loads(learn.result)) == ("initialize 2025-11-25", result)


def test_a_silent_one_does_not_hold_up_the_handshake_which_is_not_remembered_then() -> None:
    board = Board()
    board.host("initialize", hello(), id=0)
    board.answers("crm", {**welcome(), "capabilities": {"tools": {}, "prompts": {}}})
    board.later(0.4)
    assert board.to_host() == []
    board.later(0.2)
    assert board.to_host()[0]["result"]["capabilities"].keys() == {"tools", "prompts"}
    assert board.others == []


def test_where_all_are_silent_the_host_is_greeted_all_the_same() -> None:
    board = Board()
    board.host("initialize", hello("2025-06-18"), id=0)
    board.modern("server/discover", id=1)
    board.later(1)
    legacy, modern = board.to_host()
    assert legacy["result"]["protocolVersion"] == "2025-06-18"
    assert modern["result"]["supportedVersions"] == ["2026-07-28"]


def test_an_era_that_nobody_speaks_is_refused_and_one_that_somebody_speaks_is_spoken() -> None:
    board = Board()
    board.modern("server/discover", id=1)
    board.refuses("crm")
    board.refuses("finance")
    board.modern("server/discover", id=2)
    board.refuses("crm")
    discovered: dict[str, Any] = {
        "supportedVersions": ["2026-07-28"],
        "capabilities": {"prompts": {}},
        "ttlMs": 9,
        "instructions": "i",
    }
    board.answers("finance", discovered)
    board.refuses("crm")  # asked once more, now that the host stays with this era
    refused, spoken = board.to_host()
    assert refused["error"]["code"] == -32601
    assert spoken["result"]["capabilities"] == {"tools": {"listChanged": True}, "prompts": {"listChanged": True}}
    assert (spoken["result"]["ttlMs"], spoken["result"]["cacheScope"]) == (9, "private")
    assert spoken["result"]["instructions"] == "# finance\n\ni"


def test_one_that_would_rather_speak_the_other_era_is_asked_once_more_where_another_speaks_the_hosts() -> None:
    board = Board()
    board.modern("server/discover", id=1)
    board.answers("finance", {"supportedVersions": ["2026-07-28"], "capabilities": {"prompts": {}}})
    board.refuses("crm")
    assert board.to_host() == []
    board.answers("crm", {"supportedVersions": ["2026-07-28"], "capabilities": {"resources": {}}})
    assert board.to_host()[0]["result"]["capabilities"].keys() == {"tools", "prompts", "resources"}


def test_a_sign_in_announces_the_lists_of_that_upstream() -> None:
    board = Board()
    board.shake_hands(crm={"tools": {}}, finance={"tools": {}, "prompts": {}})
    board.signs_in("finance")
    assert [each["method"] for each in board.to_host()] == ["notifications/prompts/list_changed"]


def test_who_signs_in_is_not_shown_what_the_last_person_could_see(board: Board) -> None:
    board.host("tools/list", id=1)
    board.answers("crm", tools("a"))
    board.answers("finance", tools("adas"))
    board.signs_in("finance")
    board.to_host()
    board.host("tools/list", id=2)
    board.answers("crm", tools("a"))
    board.later(TOO_LATE)
    assert names_of(board.to_host()[0]) == ["crm__a"]


def test_ping_is_answered_here(board: Board) -> None:
    board.host("ping", id=1)
    assert board.to_host() == [{"jsonrpc": "2.0", "id": 1, "result": {}}]
