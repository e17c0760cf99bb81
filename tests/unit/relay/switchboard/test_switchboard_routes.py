"""Several upstreams: each request reaches the one it means, in that one's own words, and its answer the host."""

import json
from typing import Any

import pytest

from acp_stdio.relay.commands import Abort, RunHelper
from acp_stdio.relay.switchboard import resources
from acp_stdio.relay.switchboard.moves import ToLane
from acp_stdio.wire import frames
from tests.kit.board import Board


@pytest.fixture
def board() -> Board:
    board = Board()
    board.shake_hands(
        crm={"tools": {}, "prompts": {}, "resources": {"subscribe": True}},
        finance={"tools": {}, "prompts": {}, "resources": {"subscribe": True}},
    )
    return board


def list_resources(board: Board, crm: list[str], finance: list[str]) -> list[str]:
    """Has the host list the resources of both; what it sees."""
    board.host("resources/list", id="list")
    for name, uris in (("crm", crm), ("finance", finance)):
        board.answers(name, {"resources": [{"uri": uri, "name": uri} for uri in uris]})
    (shown,) = board.to_host()
    return [each["uri"] for each in shown["result"]["resources"]]


# -- names ------------------------------------------------------------------------------------------


def test_a_tool_is_called_by_its_own_name_at_its_own_upstream_and_nobody_else_hears_of_it(board: Board) -> None:
    board.host("tools/call", {"name": "finance__pay", "arguments": {"n": 1.0}, "_meta": {"progressToken": 7}}, id=5)
    (asked,) = board.to_lane("finance")
    assert asked["id"] == 5
    assert asked["params"] == {"name": "pay", "arguments": {"n": 1.0}, "_meta": {"progressToken": 7}}
    assert board.to_lane("crm") == []
    board.lane("finance", id=5, result={"content": []})
    assert board.to_host() == [{"jsonrpc": "2.0", "id": 5, "result": {"content": []}}]


def test_a_number_on_its_way_is_not_rounded(board: Board) -> None:
    arguments = b'{"n":1.10000000000000000001}'
    raw = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"crm__x","arguments":%b}}' % arguments
    (move,) = board.board.host_sent(frames.parse(raw), 0)
    assert isinstance(move, ToLane)
    assert arguments in move.raw


def test_a_prompt_and_its_completion_go_the_same_way(board: Board) -> None:
    board.host("prompts/get", {"name": "crm__greet"}, id=1)
    ref = {"type": "ref/prompt", "name": "crm__greet"}
    board.host("completion/complete", {"ref": ref, "argument": {"name": "who", "value": "A"}}, id=2)
    get, complete = board.to_lane("crm")
    assert get["params"] == {"name": "greet"}
    assert complete["params"]["ref"] == {"type": "ref/prompt", "name": "greet"}
    assert complete["params"]["argument"] == {"name": "who", "value": "A"}


@pytest.mark.parametrize("name", ["pay", "other__pay", "", "__pay", "crm_pay"])
def test_a_name_of_nobodys_is_refused_and_asked_of_nobody(board: Board, name: str) -> None:
    board.host("tools/call", {"name": name}, id=1)
    (told,) = board.to_host()
    assert told["id"] == 1
    assert told["error"]["code"] in (-32602, -32601)
    assert board.to_lane("crm") == board.to_lane("finance") == []


def test_an_answer_counts_only_from_the_one_who_was_asked(board: Board) -> None:
    board.host("tools/call", {"name": "crm__x"}, id=1)
    board.lane("finance", id=1, result={"content": [{"type": "text", "text": "stolen"}]})
    assert board.to_host() == []
    board.lane("crm", id=1, result={"content": []})
    board.lane("crm", id=1, result={"content": []})
    assert [each["id"] for each in board.to_host()] == [1]


def test_an_id_that_is_in_use_is_refused_also_where_it_is_one_of_ours(board: Board) -> None:
    board.host("tools/call", {"name": "crm__x"}, id=1)
    board.host("tools/call", {"name": "finance__x"}, id=1)
    board.host("tools/list", id=2)
    (ours,) = board.to_lane("finance")
    board.host("tools/call", {"name": "crm__x"}, id=ours["id"])
    assert [(each["id"], each["error"]["code"]) for each in board.to_host()] == [(1, -32600), (ours["id"], -32600)]


# -- resources ---------------------------------------------------------------------------------------


def test_a_resource_is_read_subscribed_and_left_where_it_was_listed(board: Board) -> None:
    assert list_resources(board, ["crm://a"], ["file:///b"]) == ["crm://a", "file:///b"]
    for number, method in enumerate(("resources/read", "resources/subscribe", "resources/unsubscribe")):
        board.host(method, {"uri": "file:///b"}, id=number)
    assert [each["params"] for each in board.to_lane("finance")] == [{"uri": "file:///b"}] * 3
    assert board.to_lane("crm") == []


def test_a_resource_that_two_have_stays_the_firsts_and_the_others_gets_a_name_of_its_own(board: Board) -> None:
    shown = list_resources(board, ["config://app"], ["config://app"])
    assert shown == ["config://app", "acp-stdio:finance:config://app"]
    board.host("resources/read", {"uri": shown[1]}, id=1)
    board.answers("finance", {"contents": [{"uri": "config://app", "text": "f"}]})
    board.host("resources/read", {"uri": shown[0]}, id=2)
    board.answers("crm", {"contents": [{"uri": "config://app", "text": "c"}]})
    contents = [each["result"]["contents"][0] for each in board.to_host()]
    assert contents == [{"uri": shown[1], "text": "f"}, {"uri": shown[0], "text": "c"}]
    board.lane("finance", "notifications/resources/updated", {"uri": "config://app"})
    assert board.to_host()[0]["params"]["uri"] == shown[1]


def test_one_that_names_resources_without_end_takes_none_from_another(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "MAX_KNOWN", 10)
    list_resources(board, [], ["finance://1"])
    content = [{"type": "resource_link", "uri": f"crm://{number}", "name": "x"} for number in range(100)]
    content.append({"type": "resource_link", "uri": "finance://1", "name": "x"})
    board.host("tools/call", {"name": "crm__x"}, id=1)
    board.answers("crm", {"content": content})
    assert board.to_host()[0]["result"]["content"][-1]["uri"] == "acp-stdio:crm:finance://1"
    board.host("resources/read", {"uri": "finance://1"}, id=2)
    assert (board.to_lane("crm"), len(board.to_lane("finance"))) == ([], 1)
    for uri, lanes in (("crm://99", ["crm"]), ("crm://1", [])):
        board.host("resources/read", {"uri": uri}, id=uri)
        assert [name for name in board.names if board.to_lane(name)] == lanes


def test_links_in_results_lead_to_who_made_them(board: Board) -> None:
    list_resources(board, ["x://1"], [])
    board.host("tools/call", {"name": "finance__report"}, id=1)
    link = {"type": "resource_link", "uri": "x://1", "name": "mine too"}
    embedded = {"type": "resource", "resource": {"uri": "x://2", "text": "…"}}
    board.answers("finance", {"content": [link, embedded, {"type": "text", "text": '"uri"'}]})
    (told,) = board.to_host()
    assert told["result"]["content"][0]["uri"] == "acp-stdio:finance:x://1"
    assert told["result"]["content"][1:] == [embedded, {"type": "text", "text": '"uri"'}]
    board.host("resources/read", {"uri": "x://2"}, id=2)
    board.host("resources/read", {"uri": "acp-stdio:finance:x://1"}, id=3)
    assert [each["params"]["uri"] for each in board.to_lane("finance")] == ["x://2", "x://1"]


def test_a_link_in_a_prompts_message_and_a_tools_page_are_known_too(board: Board) -> None:
    board.host("tools/list", id=1)
    board.answers("crm", {"tools": [{"name": "a", "_meta": {"ui": {"resourceUri": "ui://page"}}}]})
    flat = {"name": "b", "_meta": {"ui/resourceUri": "ui://page", "other": 1}}
    board.answers("finance", {"tools": [flat]})
    tools = board.to_host()[0]["result"]["tools"]
    assert tools[0]["_meta"] == {"ui": {"resourceUri": "ui://page"}}
    assert tools[1]["_meta"] == {"ui/resourceUri": "acp-stdio:finance:ui://page", "other": 1}
    board.host("prompts/get", {"name": "crm__p"}, id=2)
    board.answers(
        "crm", {"messages": [{"role": "user", "content": {"type": "resource", "resource": {"uri": "q://1"}}}]}
    )
    board.host("resources/read", {"uri": "q://1"}, id=3)
    assert len(board.to_lane("crm")) == 1


def test_a_uri_that_comes_from_a_template_goes_to_whose_template_it_is(board: Board) -> None:
    board.host("resources/templates/list", id=1)
    board.answers("crm", {"resourceTemplates": [{"uriTemplate": "db://{table}/row", "name": "t"}]})
    board.answers("finance", {"resourceTemplates": [{"uriTemplate": "db://ledger/{+row}", "name": "t"}]})
    board.host("resources/read", {"uri": "db://people/row"}, id=2)
    board.host("resources/read", {"uri": "db://ledger/2026/7"}, id=3)
    ref = {"type": "ref/resource", "uri": "db://{table}/row"}
    board.host("completion/complete", {"ref": ref, "argument": {"name": "table", "value": "p"}}, id=4)
    assert [each["id"] for each in board.to_lane("crm")] == [2, 4]
    assert [each["id"] for each in board.to_lane("finance")] == [3]


def test_a_resource_that_nobody_named_is_asked_of_nobody(board: Board) -> None:
    board.to_host()
    board.host("resources/read", {"uri": "secret://of-one"}, id=1)
    (told,) = board.to_host()
    assert (told["error"]["code"], told["error"]["data"]["uri"]) == (-32002, "secret://of-one")
    assert board.to_lane("crm") == board.to_lane("finance") == []


def test_the_only_one_with_resources_is_asked_for_an_unknown_one() -> None:
    board = Board()
    board.shake_hands(crm={"tools": {}}, finance={"tools": {}, "resources": {}})
    board.host("resources/read", {"uri": "x://1"}, id=1)
    assert [each["params"]["uri"] for each in board.to_lane("finance")] == ["x://1"]


def test_what_was_listed_in_earlier_days_is_known_after_a_restart() -> None:
    listed = {"legacy resources/list ": json.dumps({"resources": [{"uri": "x://1"}]}).encode()}
    long = "t" * 70
    tools = {"legacy tools/list ": json.dumps({"tools": [{"name": long}]}).encode()}
    before = Board()
    before.shake_hands()
    before.host("tools/list", id=1)
    before.answers("crm", {"tools": [{"name": long}]})
    before.answers("finance", {"tools": []})
    shown = before.to_host()[0]["result"]["tools"][0]["name"]
    board = Board(catalogues={"crm": {**listed, **tools}, "finance": dict(listed)})
    board.host("resources/read", {"uri": "x://1"}, id=1)
    board.host("tools/call", {"name": shown}, id=2)
    read, called = board.to_lane("crm")
    assert (read["params"]["uri"], called["params"]["name"]) == ("x://1", long)


# -- tasks, and what is not known --------------------------------------------------------------------


def test_two_tasks_of_one_id_stay_two() -> None:
    board = Board()
    board.shake_hands(crm={"tools": {}, "tasks": {"list": {}}}, finance={"tools": {}, "tasks": {"list": {}}})
    shown: list[str] = []
    for name in ("crm", "finance"):
        board.host("tools/call", {"name": f"{name}__slow", "task": {"ttl": 1}}, id=1)
        board.answers(name, {"task": {"taskId": "1", "status": "working"}})
        shown.append(board.to_host()[0]["result"]["task"]["taskId"])
    assert len(set(shown)) == 2
    board.host("tasks/result", {"taskId": shown[1]}, id=2)
    (asked,) = board.to_lane("finance")
    assert asked["params"]["taskId"] == "1"
    related = "io.modelcontextprotocol/related-task"
    board.lane("finance", id=2, result={"content": [], "_meta": {related: {"taskId": "1"}}})
    assert board.to_host()[0]["result"]["_meta"][related]["taskId"] == shown[1]
    board.lane("crm", "notifications/tasks/status", {"taskId": "1", "status": "completed"})
    assert board.to_host()[0]["params"]["taskId"] == shown[0]
    board.host("tasks/list", id=3)
    for name in ("crm", "finance"):
        board.answers(name, {"tasks": [{"taskId": "1"}]})
    assert [each["taskId"] for each in board.to_host()[0]["result"]["tasks"]] == shown


def test_a_task_of_the_modern_era_keeps_its_upstream_too() -> None:
    board = Board()
    board.modern("tools/call", {"name": "crm__slow"}, id=1)
    board.answers("crm", {"resultType": "task", "taskId": "7", "ttlMs": 1, "pollIntervalMs": 5})
    shown = board.to_host()[0]["result"]["taskId"]
    board.modern("tasks/get", {"taskId": shown}, id=2)
    (asked,) = board.to_lane("crm")
    assert asked["params"]["taskId"] == "7"


def test_a_method_of_a_later_revision_finds_its_upstream_by_what_it_names(board: Board) -> None:
    board.host("future/thing", {"name": "crm__x", "more": 1}, id=1)
    assert board.to_lane("crm")[0]["params"] == {"name": "x", "more": 1}


def test_a_method_of_an_extension_goes_to_the_only_one_that_has_it() -> None:
    board = Board()
    board.shake_hands(crm={"tools": {}, "extensions": {"io.modelcontextprotocol/skills": {}}}, finance={"tools": {}})
    board.host("skills/list", {"page": 1}, id=1)
    assert board.to_lane("crm")[0]["params"] == {"page": 1}
    board.host("other/list", id=2)
    (told,) = board.to_host()
    assert told["error"]["code"] == -32601
    assert "crm, finance" in told["error"]["message"]


# -- giving up, and our own tools ------------------------------------------------------------------


def test_a_cancellation_goes_to_who_was_asked_and_a_late_answer_is_dropped(board: Board) -> None:
    board.host("tools/call", {"name": "crm__x"}, id=1)
    board.to_lane("crm")
    board.host("notifications/cancelled", {"requestId": 1, "reason": "no"})
    assert board.to_lane("crm")[0]["params"] == {"requestId": 1, "reason": "no"}
    assert board.to_lane("finance") == []
    board.lane("crm", id=1, result={})
    board.host("notifications/cancelled", {"requestId": 99})
    assert board.to_host() == board.to_lane("crm") == []


def test_progress_with_anothers_call_is_not_shown(board: Board) -> None:
    board.host("tools/call", {"name": "crm__x", "_meta": {"progressToken": "p"}}, id=1)
    for name, progress in (("finance", 99), ("crm", 1)):
        board.lane(name, "notifications/progress", {"progressToken": "p", "progress": progress})
    assert [each["params"]["progress"] for each in board.to_host()] == [1]


def test_what_all_must_know_reaches_all(board: Board) -> None:
    board.host("notifications/roots/list_changed")
    board.host("notifications/of/a/later/revision", {"a": 1})
    for name in board.names:
        assert [each["method"].rpartition("/")[2] for each in board.to_lane(name)] == ["list_changed", "revision"]


def test_our_own_tools_are_ours_and_end_when_the_host_gives_up() -> None:
    board = Board(helpers=True)
    board.host("tools/call", {"name": "acp_status"}, id=1)
    board.host("tools/call", {"name": "acp_login"}, id=2)
    assert board.others == [RunHelper(1, "acp_status"), RunHelper(2, "acp_login")]
    board.host("notifications/cancelled", {"requestId": 2})
    assert board.others[2:] == [Abort(2)]
    for call in (1, 2):
        for move in board.board.helper_finished(call, "done"):
            told: dict[str, Any] = json.loads(move.raw)  # type: ignore[union-attr]
            assert (told["id"], told["result"]["content"][0]["text"]) == (1, "done")


def test_a_host_in_a_loop_is_told_at_once() -> None:
    board = Board()
    for number in range(513):
        board.host("tools/call", {"name": "crm__x"}, id=number)
    (told,) = board.to_host()
    assert told["result"]["_meta"]["io.github.acp-stdio/reason"] == "overloaded"


def test_a_host_in_a_loop_of_subscriptions_is_told_at_once() -> None:
    board = Board()
    for number in range(513):
        board.modern("subscriptions/listen", {"notifications": {}}, id=number)
    (told,) = [each for each in board.to_host() if "error" in each]
    assert told["id"] == 512
