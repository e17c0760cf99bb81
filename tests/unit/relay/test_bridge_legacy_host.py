"""A host of the legacy era before an upstream of the modern one: what passes, in whose words, and what does not."""

import json
from typing import Any

import pytest

from acp_stdio.catalogue.model import DISCOVER, NO_ERA, Catalogue
from acp_stdio.relay.bridge.legacy_host import LegacyHostBridge
from acp_stdio.relay.commands import Abort, Command, Post, Settle, ToHost
from tests.kit.playbook import SERVER_INFO, SIGNED_OUT, Playbook, hello, kinds, only, posts, told

PREFIX = "io.modelcontextprotocol/"
EVERYTHING: dict[str, Any] = {"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {"listChanged": True}}
DISCOVERED: dict[str, Any] = {
    "resultType": "complete",
    "supportedVersions": ["2026-07-28"],
    "capabilities": {"tools": {"listChanged": True}, "resources": {"subscribe": True}, "logging": {}},
    "instructions": "Ask about money.",
    "ttlMs": 0,
    "cacheScope": "private",
    "_meta": {f"{PREFIX}serverInfo": SERVER_INFO},
}
MODERN_ONLY: Catalogue = {DISCOVER: json.dumps(DISCOVERED).encode(), "initialize 2025-11-25": NO_ERA}
FORM: dict[str, Any] = {
    "method": "elicitation/create",
    "params": {"mode": "form", "message": "Who?", "requestedSchema": {"type": "object", "properties": {}}},
}
SAMPLE: dict[str, Any] = {"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 5}}


def greeting(version: str = "2025-11-25", **capabilities: Any) -> dict[str, Any]:
    return {**hello(version), "capabilities": capabilities or EVERYTHING}


def bridged(
    version: str = "2025-11-25", *, signed_in: bool = True, jitter: float = 0.0, **capabilities: Any
) -> Playbook:
    """A host that has said hello, before a server that is remembered as modern alone."""
    book = Playbook(dict(MODERN_ONLY), signed_in=signed_in, jitter=jitter)
    book.catalogue[f"initialize {version}"] = NO_ERA
    book.host(id=0, method="initialize", params=greeting(version, **capabilities))
    assert isinstance(book.mind, LegacyHostBridge)
    return book


def call(book: Playbook, request_id: Any = 1, method: str = "tools/call", **params: Any) -> tuple[int, Any]:
    """A host's request; the exchange and the frame upstream."""
    (post,) = only(book.host(id=request_id, method=method, params=params or {"name": "pay", "arguments": {}}), Post)
    return post.call, json.loads(post.raw)


def answer(book: Playbook, exchange: tuple[int, Any], **outcome: Any) -> list[Command]:
    """The upstream's answer, and the end of its exchange."""
    number, frame = exchange
    done = book.upstream(number, id=frame["id"], **outcome)
    return [*done, *book.ended(number)]


def asks(state: str | None = "s1", **questions: Any) -> dict[str, Any]:
    more = {} if state is None else {"requestState": state}
    return {"resultType": "input_required", **({"inputRequests": questions} if questions else {}), **more}


def retried(done: list[Command]) -> tuple[int, Any]:
    (post,) = only(done, Post)
    return post.call, json.loads(post.raw)


# -- handshake and envelope ------------------------------------------------------------------------


def test_initialize_is_answered_from_what_the_server_said_to_discover() -> None:
    book = Playbook(dict(MODERN_ONLY))
    (result,) = told(book.host(id="a", method="initialize", params=greeting()))
    assert result["result"] == {
        "protocolVersion": "2025-11-25",
        "capabilities": DISCOVERED["capabilities"],
        "serverInfo": SERVER_INFO,
        "instructions": "Ask about money.",
    }


def test_a_server_never_seen_that_refuses_initialize_is_asked_what_it_is_before_the_host_is_answered() -> None:
    book = Playbook()
    posted = book.call_of(book.host(id=0, method="initialize", params=greeting()))
    error = {"code": -32022, "message": "no", "data": {"supported": ["2026-07-28"]}}
    done = book.upstream(posted, id=0, error=error)
    assert told(done) == []
    discover = retried(done)
    assert discover[1]["method"] == "server/discover"
    (result,) = told(answer(book, discover, result=DISCOVERED))
    assert (result["id"], result["result"]["serverInfo"]) == (0, SERVER_INFO)


def test_requests_that_waited_for_the_session_go_on_without_one() -> None:
    book = Playbook({"initialize 2025-11-25": json.dumps({"protocolVersion": "2025-11-25"}).encode()})
    posted = book.call_of(book.host(id=0, method="initialize", params=greeting()))
    book.host(method="notifications/initialized")
    assert posts(book.host(id=1, method="tools/call", params={"name": "pay"})) == []
    error = {"code": -32022, "message": "no", "data": {"supported": ["2026-07-28"]}}
    sent = posts(book.upstream(posted, id=0, error=error))
    assert [frame["method"] for frame in sent] == ["server/discover", "tools/call"]


def test_each_request_says_what_the_host_said_once() -> None:
    book = bridged()
    _, frame = call(book, name="pay", arguments={"big": 9007199254740993}, _meta={"progressToken": "p"})
    meta = frame["params"]["_meta"]
    assert meta[f"{PREFIX}protocolVersion"] == "2026-07-28"
    assert meta[f"{PREFIX}clientInfo"] == {"name": "claude-ai", "version": "0.1.0"}
    assert meta[f"{PREFIX}clientCapabilities"] == {**EVERYTHING, "roots": {}}
    assert meta["progressToken"] == "p"
    assert frame["params"]["arguments"] == {"big": 9007199254740993}
    (post,) = only(book.done[-1:], Post)
    assert ("Mcp-Name", "pay") in post.headers
    assert post.record is not None
    assert (post.record.tool, post.record.agent) == ("pay", "claude-ai")


def test_an_older_host_declares_forms_alone() -> None:
    _, frame = call(bridged("2025-06-18", elicitation={}))
    assert frame["params"]["_meta"][f"{PREFIX}clientCapabilities"] == {"elicitation": {}}


def test_extensions_stay_and_tasks_of_the_old_core_do_not() -> None:
    declared: dict[str, Any] = {
        "extensions": {"io.modelcontextprotocol/ui": {"mimeTypes": ["text/html"]}},
        "tasks": {"list": {}},
    }
    _, frame = call(bridged(**declared))
    assert frame["params"]["_meta"][f"{PREFIX}clientCapabilities"] == {"extensions": declared["extensions"]}


def test_ping_is_answered_here_and_what_the_modern_era_has_no_word_for_ends_here() -> None:
    book = bridged()
    done = book.host(id=1, method="ping")
    assert (told(done)[0]["result"], posts(done)) == ({}, [])
    assert book.host(method="notifications/roots/list_changed") == []
    for method in ("tasks/get", "server/discover"):
        assert told(book.host(id=2, method=method, params={}))[0]["error"]["code"] == -32601


def test_a_log_level_goes_with_every_later_request() -> None:
    book = bridged()
    assert f"{PREFIX}logLevel" not in call(book, 1)[1]["params"]["_meta"]
    assert told(book.host(id=2, method="logging/setLevel", params={"level": "info"}))[0]["result"] == {}
    assert call(book, 3)[1]["params"]["_meta"][f"{PREFIX}logLevel"] == "info"
    assert told(book.host(id=4, method="logging/setLevel", params={"level": "loud"}))[0]["error"]["code"] == -32602


def test_a_cancelled_request_is_closed_upstream() -> None:
    book = bridged()
    number, _ = call(book, "x")
    done = book.host(method="notifications/cancelled", params={"requestId": "x"})
    assert Abort(number) in done
    assert [settle.outcome for settle in only(done, Settle)] == ["cancelled"]


def test_two_requests_of_one_id_are_told_apart_as_everywhere() -> None:
    book = bridged()
    call(book, 1)
    assert told(book.host(id=1, method="tools/call", params={"name": "pay"}))[0]["error"]["code"] == -32600


def test_a_name_that_stands_twice_is_refused_before_it_is_written_anew() -> None:
    book = bridged()
    raw = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","name":"wipe"}}'
    assert told(book.host_raw(raw))[0]["error"]["code"] == -32600


# -- results and errors ----------------------------------------------------------------------------


def test_a_result_loses_what_only_the_modern_era_knows_and_nothing_else() -> None:
    book = bridged()
    result = {
        "content": [{"type": "text", "text": "42"}],
        "resultType": "complete",
        "extra": {"one": 1.0},
        "_meta": {f"{PREFIX}serverInfo": SERVER_INFO, "mine": 1},
    }
    (frame,) = told(answer(book, call(book, "z"), result=result))
    assert frame == {
        "jsonrpc": "2.0",
        "id": "z",
        "result": {"content": result["content"], "extra": {"one": 1.0}, "_meta": {"mine": 1}},
    }


def test_structured_content_that_is_no_object_is_left_out_and_its_text_stays() -> None:
    book = bridged()
    listed = {
        "tools": [
            {"name": "list", "inputSchema": {}, "outputSchema": {"type": "array"}},
            {"name": "one", "inputSchema": {}, "outputSchema": {"type": "object"}},
        ]
    }
    (tools,) = told(answer(book, call(book, 1, "tools/list", x=1), result={"resultType": "complete", **listed}))
    assert ["outputSchema" in tool for tool in tools["result"]["tools"]][:2] == [False, True]
    (frame,) = told(answer(book, call(book, 2), result={"structuredContent": [1, 2], "content": []}))
    assert frame["result"] == {"content": [{"type": "text", "text": "[1, 2]"}]}


def test_a_resource_that_is_not_there_has_its_old_number() -> None:
    book = bridged()
    error = {"code": -32602, "message": "not found", "data": {"uri": "file:///a"}}
    (frame,) = told(answer(book, call(book, 1, "resources/read", uri="file:///a"), error=error))
    assert frame["error"] == {**error, "code": -32002}
    (frame,) = told(answer(book, call(book, 2, "resources/read", uri="file:///b"), error=error))
    assert frame["error"] == error


def test_a_server_that_refuses_our_version_and_names_it_is_asked_once_more() -> None:
    book = bridged()
    refusal = {"code": -32022, "message": "no", "data": {"supported": ["2026-07-28"], "requested": "2026-07-28"}}
    again = retried(answer(book, call(book), error=refusal))
    assert told(answer(book, again, error=refusal))[0]["error"]["code"] == -32022


def test_a_capability_that_the_host_lacks_is_said_in_the_servers_words() -> None:
    book = bridged("2025-11-25", sampling={})
    error: dict[str, Any] = {
        "code": -32021,
        "message": "needs elicitation",
        "data": {"requiredCapabilities": {"elicitation": {}}},
    }
    assert told(answer(book, call(book), error=error))[0]["error"] == error


def test_a_result_of_an_unknown_kind_is_invalid() -> None:
    book = bridged()
    assert told(answer(book, call(book), result={"resultType": "riddle"}))[0]["error"]["code"] == -32603


def test_signed_out_the_host_hears_why_in_its_own_form() -> None:
    book = bridged()
    number, _ = call(book)
    (frame,) = told(book.refused(number))
    assert frame["result"]["_meta"]["io.github.acp-stdio/reason"] == "login_required"
    assert "resultType" not in frame["result"]


def test_lists_that_were_learned_in_the_modern_era_are_served_in_the_hosts() -> None:
    book = bridged()
    book.catalogue["modern tools/list "] = json.dumps(
        {"resultType": "complete", "ttlMs": 5, "cacheScope": "private", "tools": [{"name": "pay", "inputSchema": {}}]}
    ).encode()
    book.host(id=1, method="tools/list")
    (frame,) = told(book.after(2))
    assert frame["id"] == 1
    assert [tool["name"] for tool in frame["result"]["tools"]] == ["pay", "acp_login", "acp_status"]
    assert "ttlMs" not in frame["result"]


# -- questions ---------------------------------------------------------------------------------------


def test_a_question_becomes_a_request_and_its_answer_a_repeated_call() -> None:
    book = bridged()
    first = call(book, 7, name="pay", arguments={"sum": 5})
    (question,) = told(answer(book, first, result=asks(who=FORM)))
    assert (question["method"], question["params"]) == ("elicitation/create", FORM["params"])
    again = retried(book.host(id=question["id"], result={"action": "accept", "content": {"name": "Ada"}}))
    params = again[1]["params"]
    assert params["inputResponses"] == {"who": {"action": "accept", "content": {"name": "Ada"}}}
    assert (params["requestState"], params["arguments"]) == ("s1", {"sum": 5})
    assert again[1]["id"] != first[1]["id"]
    (frame,) = told(answer(book, again, result={"content": []}))
    assert frame == {"jsonrpc": "2.0", "id": 7, "result": {"content": []}}


def test_each_round_is_a_request_of_its_own_in_the_trail_and_one_trace_joins_them() -> None:
    book = bridged()
    (question,) = told(answer(book, call(book), result=asks(who=FORM)))
    answer(book, retried(book.host(id=question["id"], result={"action": "decline"})), result={"content": []})
    records = [post.record for post in only(book.done, Post) if post.record is not None]
    assert len(records) == 2
    assert len({record.trace for record in records}) == 1
    settled = only(book.done, Settle)
    assert [(settle.outcome, settle.reason) for settle in settled] == [("ok", "input_required"), ("ok", "")]


def test_several_questions_are_asked_at_once_and_all_answers_go_back_together() -> None:
    book = bridged()
    done = answer(book, call(book), result=asks(who=FORM, what=SAMPLE, where={"method": "roots/list"}))
    questions = {frame["method"]: frame["id"] for frame in told(done)}
    assert set(questions) == {"elicitation/create", "sampling/createMessage", "roots/list"}
    assert posts(book.host(id=questions["roots/list"], result={"roots": []})) == []
    assert posts(book.host(id=questions["elicitation/create"], result={"action": "cancel"})) == []
    _, frame = retried(book.host(id=questions["sampling/createMessage"], result={"model": "m"}))
    assert frame["params"]["inputResponses"] == {
        "who": {"action": "cancel"},
        "what": {"model": "m"},
        "where": {"roots": []},
    }


def test_a_state_is_given_back_only_where_one_was_given() -> None:
    book = bridged()
    (question,) = told(answer(book, call(book), result=asks(None, who=FORM)))
    _, frame = retried(book.host(id=question["id"], result={"action": "accept"}))
    assert "requestState" not in frame["params"]


def test_an_error_to_a_form_is_a_cancelled_form_and_to_anything_else_the_end_of_the_call() -> None:
    book = bridged()
    (question,) = told(answer(book, call(book, 1), result=asks(who=FORM)))
    _, frame = retried(book.host(id=question["id"], error={"code": -1, "message": "no"}))
    assert frame["params"]["inputResponses"] == {"who": {"action": "cancel"}}
    (question,) = told(answer(book, call(book, 2), result=asks(what=SAMPLE)))
    done = book.host(id=question["id"], error={"code": -1, "message": "not today"})
    assert posts(done) == []
    (frame,) = told(done)
    assert (frame["id"], frame["result"]["isError"]) == (2, True)
    assert "not today" in frame["result"]["content"][0]["text"]


def test_what_the_host_did_not_declare_is_not_asked() -> None:
    book = bridged("2025-11-25", elicitation={})
    (frame,) = told(answer(book, call(book, 1), result=asks(what=SAMPLE)))
    assert frame["result"]["_meta"]["io.github.acp-stdio/reason"] == "denied"
    page = {"method": "elicitation/create", "params": {"mode": "url", "url": "https://a.example", "message": "Open"}}
    assert told(answer(book, call(book, 2), result=asks(page=page)))[0]["result"]["isError"]


def test_an_older_host_is_asked_without_words_that_it_does_not_know() -> None:
    book = bridged("2025-06-18", elicitation={})
    (question,) = told(answer(book, call(book), result=asks(who=FORM)))
    assert "mode" not in question["params"]


def test_a_page_gets_an_id_is_not_shown_twice_and_is_done_with_at_the_end() -> None:
    book = bridged()
    page = {"method": "elicitation/create", "params": {"mode": "url", "url": "https://a.example", "message": "Open"}}
    (question,) = told(answer(book, call(book), result=asks(page=page)))
    shown = question["params"]["elicitationId"]
    again = retried(book.host(id=question["id"], result={"action": "accept"}))
    again = retried(answer(book, again, result=asks("s2", page=page)))  # at once: the page may be quick
    done = answer(book, again, result=asks("s3", page=page))
    assert (told(done), posts(done)) == ([], [])
    again = retried(book.after(1.0))
    assert again[1]["params"]["requestState"] == "s3"
    assert again[1]["params"]["inputResponses"] == {"page": {"action": "accept"}}
    final, complete = told(answer(book, again, result={"content": []}))
    assert final["id"] == 1
    assert complete["method"] == "notifications/elicitation/complete"
    assert complete["params"] == {"elicitationId": shown}


def test_a_page_is_not_waited_for_without_end() -> None:
    book = bridged()
    page = {"method": "elicitation/create", "params": {"mode": "url", "url": "https://a.example", "message": "Open"}}
    (question,) = told(answer(book, call(book), result=asks(page=page)))
    done = book.host(id=question["id"], result={"action": "accept"})
    for _ in range(100):
        sent = only(done, Post)
        done = answer(book, retried(done), result=asks(page=page)) if sent else book.after(5.0)
        if told(done):
            break
    (frame,) = told(done)
    assert frame["result"]["_meta"]["io.github.acp-stdio/reason"] == "timeout"


def test_a_server_that_sheds_load_is_asked_again_later_and_later() -> None:
    book = bridged()
    again = retried(answer(book, call(book), result=asks("busy")))
    assert again[1]["params"]["requestState"] == "busy"
    assert "inputResponses" not in again[1]["params"]
    assert posts(answer(book, again, result=asks("busy"))) == []
    assert len(posts(book.after(1.0))) == 1


def test_a_server_that_never_stops_asking_is_stopped() -> None:
    book = bridged()
    exchange, number, frame = call(book), 0, {}
    for number in range(20):
        (frame,) = told(answer(book, exchange, result=asks(f"s{number}", who=FORM)))
        if "method" not in frame:
            break
        exchange = retried(book.host(id=frame["id"], result={"action": "accept"}))
    assert number == 10
    assert "more than 10 times" in frame["result"]["content"][0]["text"]


def test_a_question_that_nobody_answers_ends_and_is_taken_back() -> None:
    book = bridged()
    (question,) = told(answer(book, call(book, 3), result=asks(who=FORM)))
    frames = told(book.after(231))
    assert {frame.get("method") for frame in frames} == {"notifications/cancelled", None}
    assert [frame["params"]["requestId"] for frame in frames if "method" in frame] == [question["id"]]
    assert [frame["id"] for frame in frames if "method" not in frame] == [3]
    assert book.host(id=question["id"], result={"action": "accept"}) == []


def test_a_server_that_asks_too_much_at_once_is_told_so() -> None:
    book = bridged()
    questions = {f"q{number}": FORM for number in range(1000)}
    (refusal,) = told(answer(book, call(book, 9), result={**asks(), "inputRequests": questions}))
    assert refusal["id"] == 9
    assert "1000 questions at once" in json.dumps(refusal)


def test_a_call_that_is_cancelled_takes_its_question_with_it() -> None:
    book = bridged()
    (question,) = told(answer(book, call(book, 3), result=asks(who=FORM)))
    (taken,) = told(book.host(method="notifications/cancelled", params={"requestId": 3}))
    assert (taken["method"], taken["params"]) == ("notifications/cancelled", {"requestId": question["id"]})


@pytest.mark.parametrize("method", ["tools/list", "completion/complete"])
def test_only_three_methods_may_ask(method: str) -> None:
    book = bridged()
    assert told(answer(book, call(book, 1, method, ref={}), result=asks(who=FORM)))[0]["error"]["code"] == -32603


# -- subscriptions -----------------------------------------------------------------------------------


def listened(book: Playbook) -> tuple[int, Any]:
    """The stream that is opened once the host is ready."""
    exchange = retried(book.host(method="notifications/initialized"))
    assert exchange[1]["method"] == "subscriptions/listen"
    return exchange


def acknowledge(book: Playbook, exchange: tuple[int, Any], **honoured: Any) -> list[Command]:
    params = {"_meta": {f"{PREFIX}subscriptionId": exchange[1]["id"]}, "notifications": honoured}
    return book.upstream(exchange[0], method="notifications/subscriptions/acknowledged", params=params)


def test_what_the_server_changes_is_listened_for_on_one_stream() -> None:
    book = bridged()
    stream = listened(book)
    assert stream[1]["params"]["notifications"] == {"toolsListChanged": True}
    assert told(acknowledge(book, stream, toolsListChanged=True)) == []
    tag = {"_meta": {f"{PREFIX}subscriptionId": stream[1]["id"]}}
    (frame,) = told(book.upstream(stream[0], method="notifications/tools/list_changed", params=tag))
    assert frame == {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}


def test_a_subscription_opens_a_new_stream_and_closes_the_old_one_behind_it() -> None:
    book = bridged()
    old = listened(book)
    acknowledge(book, old, toolsListChanged=True)
    done = book.host(id=5, method="resources/subscribe", params={"uri": "file:///a"})
    new = retried(done)
    assert new[1]["params"]["notifications"] == {"toolsListChanged": True, "resourceSubscriptions": ["file:///a"]}
    assert (told(done), kinds(done)) == ([], ["Post"])
    done = acknowledge(book, new, toolsListChanged=True, resourceSubscriptions=["file:///a"])
    assert told(done) == [{"jsonrpc": "2.0", "id": 5, "result": {}}]
    assert Abort(old[0]) in done
    params = {"uri": "file:///a", "_meta": {f"{PREFIX}subscriptionId": new[1]["id"]}}
    (frame,) = told(book.upstream(new[0], method="notifications/resources/updated", params=params))
    assert frame["params"] == {"uri": "file:///a"}
    done = book.host(id=6, method="resources/unsubscribe", params={"uri": "file:///a"})
    assert told(done)[0]["result"] == {}
    assert posts(done)[0]["params"]["notifications"] == {"toolsListChanged": True}


def test_a_subscription_that_the_server_does_not_honour_is_refused() -> None:
    book = bridged()
    acknowledge(book, listened(book), toolsListChanged=True)
    new = retried(book.host(id=5, method="resources/subscribe", params={"uri": "file:///a"}))
    assert told(acknowledge(book, new, toolsListChanged=True))[0]["error"]["code"] == -32602


def test_a_subscription_that_the_server_says_nothing_about_is_not_waited_for_without_end() -> None:
    book = bridged()
    book.host(id=1, method="resources/subscribe", params={"uri": "a:1"})
    (refusal,) = told(book.after(231))
    assert (refusal["id"], "error" in refusal) == (1, True)


def test_a_stream_that_breaks_is_opened_again_later_and_later() -> None:
    book = bridged()
    stream = listened(book)
    acknowledge(book, stream, toolsListChanged=True)
    assert posts(book.ended(stream[0], None, why="it broke")) == []
    stream = retried(book.after(1.0))
    assert posts(book.ended(stream[0], None, why="it broke")) == []
    assert posts(book.after(1.0)) == []
    assert posts(book.after(1.0))[0]["method"] == "subscriptions/listen"


def test_a_stream_is_not_opened_again_by_all_clients_at_once() -> None:
    book = bridged(jitter=1.0)
    assert posts(book.ended(listened(book)[0], None, why="it broke")) == []
    assert posts(book.after(1.5)) == []
    assert posts(book.after(0.5))[0]["method"] == "subscriptions/listen"


def test_a_server_that_knows_no_subscriptions_is_not_asked_again() -> None:
    book = bridged()
    stream = listened(book)
    answer(book, stream, error={"code": -32601, "message": "no"})
    assert posts(book.after(1000)) == []


def test_after_a_sign_in_the_host_reads_the_tools_again_and_is_told_of_changes() -> None:
    book = bridged(signed_in=False)
    stream = listened(book)
    book.refused(stream[0])
    assert posts(book.after(1000)) == []
    done = book.mind.signed_in(book.now)
    assert "notifications/tools/list_changed" in [frame.get("method") for frame in told(done)]
    assert "subscriptions/listen" in [frame["method"] for frame in posts(done)]


def test_a_modern_servers_cancellation_is_about_nothing_of_the_hosts() -> None:
    book = bridged()
    number, frame = call(book, 1)
    assert book.upstream(number, method="notifications/cancelled", params={"requestId": frame["id"]}) == []


def test_a_call_that_lost_its_session_to_a_server_that_became_modern_has_one_outcome_for_each_intent() -> None:
    book = Playbook()
    book.open_session()
    (first,) = only(book.host(id=1, method="tools/call", params={"name": "pay"}), Post)
    (hello_again,) = only(book.ended(first.call, 404), Post)
    error = {"code": -32022, "message": "no", "data": {"supported": ["2026-07-28"]}}
    done = book.upstream(hello_again.call, id=0, error=error)
    (again,) = [post for post in only(done, Post) if post.record is not None]
    assert [(settle.call, settle.reason) for settle in only(done, Settle)] == [(first.call, "era_mismatch")]
    assert again.call != first.call


def test_progress_and_log_lines_pass_as_they_came() -> None:
    book = bridged()
    number, _ = call(book)
    raw = b'{"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 1.0}}'
    assert book.upstream_raw(number, raw) == [ToHost(raw)]


# -- tasks ---------------------------------------------------------------------------------------------

TASKS: dict[str, Any] = {"io.modelcontextprotocol/tasks": {}}


def with_tasks() -> Playbook:
    book = Playbook(dict(MODERN_ONLY))
    capabilities: dict[str, Any] = {**DISCOVERED["capabilities"], "extensions": TASKS}
    book.catalogue[DISCOVER] = json.dumps({**DISCOVERED, "capabilities": capabilities}).encode()
    (result,) = told(book.host(id=0, method="initialize", params=greeting()))
    assert "extensions" not in result["result"]["capabilities"], "the host cannot use them"
    return book


def task(status: str, **more: Any) -> dict[str, Any]:
    return {"resultType": "complete", "taskId": "t1", "status": status, "pollIntervalMs": 500, **more}


def test_tasks_are_declared_for_calls_where_the_server_has_them() -> None:
    book = with_tasks()
    declared = call(book, 1)[1]["params"]["_meta"][f"{PREFIX}clientCapabilities"]
    assert declared["extensions"] == TASKS
    declared = call(book, 2, "prompts/get", name="a")[1]["params"]["_meta"][f"{PREFIX}clientCapabilities"]
    assert "extensions" not in declared


def test_a_task_is_waited_for_and_its_result_is_the_calls() -> None:
    book = with_tasks()
    done = answer(book, call(book, 9), result={**task("working"), "resultType": "task"})
    assert (told(done), posts(done)) == ([], [])
    look = retried(book.after(0.5))
    assert (look[1]["method"], look[1]["params"]["taskId"]) == ("tasks/get", "t1")
    assert told(answer(book, look, result=task("working"))) == []
    look = retried(book.after(0.5))
    (frame,) = told(answer(book, look, result=task("completed", result={"content": [], "isError": False})))
    assert frame == {"jsonrpc": "2.0", "id": 9, "result": {"content": [], "isError": False}}


def test_a_task_asks_each_question_once() -> None:
    book = with_tasks()
    answer(book, call(book, 9), result={**task("working"), "resultType": "task"})
    (question,) = told(answer(book, retried(book.after(0.5)), result=task("input_required", inputRequests={"q": FORM})))
    update = retried(book.host(id=question["id"], result={"action": "accept"}))
    assert update[1]["method"] == "tasks/update"
    assert update[1]["params"]["inputResponses"] == {"q": {"action": "accept"}}
    answer(book, update, result={"resultType": "complete"})
    look = retried(book.after(2.0))
    assert told(answer(book, look, result=task("input_required", inputRequests={"q": FORM}))) == []
    look = retried(book.after(0.5))
    error = {"code": -5, "message": "broken"}
    assert told(answer(book, look, result=task("failed", error=error)))[0]["error"] == error


def test_a_cancelled_call_cancels_its_task() -> None:
    book = with_tasks()
    answer(book, call(book, 9), result={**task("working"), "resultType": "task"})
    (cancel,) = posts(book.host(method="notifications/cancelled", params={"requestId": 9}))
    assert (cancel["method"], cancel["params"]["taskId"]) == ("tasks/cancel", "t1")
    assert posts(book.after(10)) == []


def test_a_task_that_asks_in_vain_is_cancelled_with_its_call() -> None:
    book = with_tasks()
    answer(book, call(book, 9), result={**task("working"), "resultType": "task"})
    look = retried(book.after(0.5))
    (question,) = told(answer(book, look, result=task("input_required", inputRequests={"q": SAMPLE})))
    done = book.host(id=question["id"], error={"code": -1, "message": "no"})
    assert [frame["id"] for frame in told(done) if "method" not in frame] == [9]
    assert [frame["method"] for frame in posts(done)] == ["tasks/cancel"]


def test_a_task_that_never_ends_is_given_up_within_the_longest_time_of_a_call() -> None:
    book = with_tasks()
    answer(book, call(book, 9), result={**task("working", pollIntervalMs=30_000), "resultType": "task"})
    done: list[Command] = []
    while not told(done):
        done = answer(book, retried(book.after(30)), result=task("working", pollIntervalMs=30_000))
    (refusal,) = told(done)
    assert (refusal["id"], book.now) == (9, 3600)
    assert [frame["method"] for frame in posts(done)] == ["tasks/cancel"]


# -- another person --------------------------------------------------------------------------------------------


def signed_out_and_in_again(book: Playbook) -> list[Command]:
    done = book.mind.signed_out(SIGNED_OUT, book.now)
    return [*done, *book.mind.signed_in(book.now)]


def test_what_one_person_was_asked_is_not_answered_in_the_next_ones_name() -> None:
    book = bridged()
    (question,) = told(answer(book, call(book, 9), result=asks(q=FORM)))
    withdrawn, refusal, *_ = told(signed_out_and_in_again(book))
    assert withdrawn["params"]["requestId"] == question["id"]
    assert (refusal["id"], "You signed out" in json.dumps(refusal)) == (9, True)
    assert book.host(id=question["id"], result={"action": "accept"}) == []


def test_what_waits_to_be_repeated_does_not_leave_in_the_next_persons_name() -> None:
    book = bridged()
    again = retried(answer(book, call(book, 9), result=asks()))
    answer(book, again, result=asks())
    assert [frame["id"] for frame in told(signed_out_and_in_again(book)) if "id" in frame] == [9]
    assert posts(book.after(5)) == []


def test_one_persons_task_is_not_looked_at_in_the_next_ones_name() -> None:
    book = with_tasks()
    answer(book, call(book, 9), result={**task("working"), "resultType": "task"})
    done = signed_out_and_in_again(book)
    assert [frame["id"] for frame in told(done) if "id" in frame] == [9]
    assert [frame["method"] for frame in posts([*done, *book.after(5)]) if frame["method"].startswith("tasks/")] == []
