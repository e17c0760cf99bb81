"""Several upstreams: what servers ask the host, and what they tell it on a subscription, keeps its owner."""

from typing import Any

import pytest

from tests.kit.board import Board

SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"


@pytest.fixture
def board() -> Board:
    board = Board()
    board.shake_hands()
    return board


# -- questions ---------------------------------------------------------------------------------------


def test_two_servers_that_count_from_one_get_their_own_answers(board: Board) -> None:
    board.lane("crm", "sampling/createMessage", {"messages": []}, id=1)
    board.lane("finance", "elicitation/create", {"message": "?"}, id=1)
    first, second = board.to_host()
    assert first["id"] != second["id"]
    board.host(id=second["id"], result={"action": "accept"})
    board.host(id=first["id"], error={"code": -1, "message": "no"})
    assert board.to_lane("finance") == [{"jsonrpc": "2.0", "id": 1, "result": {"action": "accept"}}]
    assert board.to_lane("crm") == [{"jsonrpc": "2.0", "id": 1, "error": {"code": -1, "message": "no"}}]
    board.host(id=first["id"], result={})
    board.host(id="never asked", result={})
    assert board.to_lane("crm") == board.to_lane("finance") == []


def test_a_question_to_the_person_says_which_server_asks(board: Board) -> None:
    board.lane("finance", "elicitation/create", {"message": "Your password for crm?"}, id=1)
    (told,) = board.to_host()
    assert told["params"] == {"message": "finance: Your password for crm?"}
    form = {"method": "elicitation/create", "params": {"message": "Who?"}}
    roots = {"method": "roots/list", "params": {"message": "x"}}
    board.modern("tools/call", {"name": "crm__x"}, id=2)
    board.answers("crm", {"resultType": "input_required", "inputRequests": {"a": form, "b": roots}})
    asked = board.to_host()[0]["result"]["inputRequests"]
    assert asked == {"a": {**form, "params": {"message": "crm: Who?"}}, "b": roots}


def test_progress_with_a_question_reaches_who_asked_it(board: Board) -> None:
    for name in board.names:
        board.lane(name, "sampling/createMessage", {"_meta": {"progressToken": "t"}}, id=1)
    tokens = [each["params"]["_meta"]["progressToken"] for each in board.to_host()]
    assert len(set(tokens)) == 2
    board.host("notifications/progress", {"progressToken": tokens[1], "progress": 0.5})
    assert board.to_lane("finance")[0]["params"] == {"progressToken": "t", "progress": 0.5}
    assert board.to_lane("crm") == []


def test_a_server_that_gives_up_its_question_names_it_as_the_host_knows_it(board: Board) -> None:
    for name in board.names:
        board.lane(name, "roots/list", id=1)
    first, second = board.to_host()
    board.lane("finance", "notifications/cancelled", {"requestId": 1})
    (told,) = board.to_host()
    assert told["params"]["requestId"] == second["id"]
    board.host(id=second["id"], result={})
    board.host(id=first["id"], result={})
    assert board.to_lane("finance") == []
    assert len(board.to_lane("crm")) == 1


def test_a_server_in_a_loop_of_questions_is_told_at_once(board: Board) -> None:
    for number in range(513):
        board.lane("crm", "roots/list", id=number)
    assert len(board.to_host()) == 512
    (refused,) = board.to_lane("crm")
    assert (refused["id"], refused["error"]["code"]) == (512, -32603)


def test_a_task_that_the_host_runs_for_one_server_is_told_to_that_one(board: Board) -> None:
    board.lane("finance", "sampling/createMessage", {"task": {}}, id=1)
    (question,) = board.to_host()
    board.host(id=question["id"], result={"task": {"taskId": "h1"}})
    board.to_lane("finance")
    board.host("notifications/tasks/status", {"taskId": "h1", "status": "working"})
    board.lane("finance", "tasks/get", {"taskId": "h1"}, id=2)
    assert board.to_lane("finance")[0]["params"]["taskId"] == "h1"
    assert board.to_lane("crm") == []
    assert board.to_host()[0]["params"]["taskId"] == "h1"


# -- subscriptions of the modern era ------------------------------------------------------------------


def listen(board: Board, **wanted: Any) -> dict[str, dict[str, Any]]:
    """The host subscribes; what each lane is asked for."""
    board.modern("subscriptions/listen", {"notifications": wanted}, id="s")
    found: dict[str, dict[str, Any]] = {}
    for name in board.names:
        (found[name],) = board.to_lane(name)
    return found


def acknowledge(board: Board, name: str, asked: dict[str, Any], **honoured: Any) -> None:
    params = {"notifications": honoured, "_meta": {SUBSCRIPTION: asked["id"]}}
    board.lane(name, "notifications/subscriptions/acknowledged", params)


def test_a_subscription_is_everybodys_acknowledged_once_and_each_message_bears_the_hosts_mark() -> None:
    board = Board()
    board.modern("resources/list", id=1)
    board.answers("crm", {"resources": [{"uri": "x://1"}]})
    board.answers("finance", {"resources": [{"uri": "x://1"}, {"uri": "x://2"}]})
    uris = [each["uri"] for each in board.to_host()[0]["result"]["resources"]]
    asked = listen(board, toolsListChanged=True, resourceSubscriptions=uris)
    assert [each["params"]["notifications"]["resourceSubscriptions"] for each in asked.values()] == [
        ["x://1"],
        ["x://1", "x://2"],
    ]
    acknowledge(board, "crm", asked["crm"], toolsListChanged=True, resourceSubscriptions=["x://1"])
    assert board.to_host() == []
    acknowledge(board, "finance", asked["finance"], resourceSubscriptions=["x://1", "x://2"])
    (told,) = board.to_host()
    assert told["params"]["_meta"] == {SUBSCRIPTION: "s"}
    assert told["params"]["notifications"] == {"toolsListChanged": True, "resourceSubscriptions": uris}
    updated = {"uri": "x://1", "_meta": {SUBSCRIPTION: asked["finance"]["id"]}}
    board.lane("finance", "notifications/resources/updated", updated)
    assert board.to_host()[0]["params"] == {"uri": uris[1], "_meta": {SUBSCRIPTION: "s"}}
    board.lane("crm", "notifications/resources/updated", updated)
    assert board.to_host() == [], "a mark of another's"


def test_one_that_acknowledges_without_end_counts_once() -> None:
    board = Board()
    board.modern("resources/list", id=1)
    for name in board.names:
        board.answers(name, {"resources": [{"uri": f"{name}://1"}]})
    uris = [each["uri"] for each in board.to_host()[0]["result"]["resources"]]
    asked = listen(board, resourceSubscriptions=uris)
    for _ in range(3):
        acknowledge(board, "crm", asked["crm"], resourceSubscriptions=["crm://1"])
    acknowledge(board, "finance", asked["finance"], resourceSubscriptions=["finance://1"])
    (told,) = board.to_host()
    assert told["params"]["notifications"] == {"resourceSubscriptions": uris}


def test_one_that_does_not_acknowledge_does_not_hold_up_the_subscription() -> None:
    board = Board()
    asked = listen(board, promptsListChanged=True)
    acknowledge(board, "crm", asked["crm"], promptsListChanged=True)
    board.later(2)
    (told,) = board.to_host()
    assert told["params"]["notifications"] == {"promptsListChanged": True}


def test_a_part_that_ends_is_asked_for_again_and_the_host_does_not_notice() -> None:
    board = Board()
    asked = listen(board, toolsListChanged=True)
    for name in board.names:
        acknowledge(board, name, asked[name], toolsListChanged=True)
    board.to_host()
    board.lane("crm", id=asked["crm"]["id"], result={"resultType": "complete"})
    assert board.to_lane("crm") == []
    board.later(1.5)
    (again,) = board.to_lane("crm")
    assert again["id"] != asked["crm"]["id"]
    board.lane("crm", "notifications/tools/list_changed", {"_meta": {SUBSCRIPTION: again["id"]}})
    (told,) = board.to_host()
    assert told == {
        "jsonrpc": "2.0",
        "method": "notifications/tools/list_changed",
        "params": {"_meta": {SUBSCRIPTION: "s"}},
    }


def test_a_part_is_not_asked_for_by_all_clients_at_once() -> None:
    board = Board(jitter=1.0)
    asked = listen(board, toolsListChanged=True)
    board.lane("crm", id=asked["crm"]["id"], result={"resultType": "complete"})
    board.later(1.5)
    assert board.to_lane("crm") == []
    board.later(0.5)
    assert [frame["method"] for frame in board.to_lane("crm")] == ["subscriptions/listen"]


def test_one_that_cannot_listen_is_not_asked_again_and_a_sign_in_asks_at_once() -> None:
    board = Board()
    asked = listen(board, toolsListChanged=True)
    board.lane("crm", id=asked["crm"]["id"], error={"code": -32601, "message": "no"})
    board.lane("finance", id=asked["finance"]["id"], error={"code": 4401, "message": "sign in"})
    (told,) = board.to_host()
    assert told["method"] == "notifications/subscriptions/acknowledged"
    board.signs_in("finance")
    (changed,) = board.to_host()
    assert changed["method"] == "notifications/tools/list_changed"
    assert len(board.to_lane("finance")) == 1
    board.later(100)
    assert board.to_lane("crm") == []


def test_the_end_of_a_subscription_is_told_to_all_who_have_a_part_of_it() -> None:
    board = Board()
    asked = listen(board, toolsListChanged=True)
    board.host("notifications/cancelled", {"requestId": "s"})
    for name in board.names:
        (told,) = board.to_lane(name)
        assert told["params"] == {"requestId": asked[name]["id"]}
        acknowledge(board, name, asked[name], toolsListChanged=True)
    board.later(100)
    assert board.to_host() == []
    board.later(100)
    assert board.to_lane("crm") == board.to_lane("finance") == []


def test_a_late_list_is_announced_to_the_subscriptions_that_want_to_know() -> None:
    board = Board()
    asked = listen(board, toolsListChanged=True)
    for name in board.names:
        acknowledge(board, name, asked[name])
    board.to_host()
    board.modern("tools/list", id=1)
    board.answers("crm", {"tools": []})
    board.later(2)
    board.answers("finance", {"tools": [{"name": "b"}]})
    _, changed = board.to_host()
    assert changed["params"]["_meta"] == {SUBSCRIPTION: "s"}
