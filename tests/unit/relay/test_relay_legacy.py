"""A host and an upstream of the legacy era cannot tell that something stands between them."""

import json

import pytest

from acp_stdio.relay.commands import Abort, EndSession, Learn, Post, RunHelper, Settle, ToHost, Wake, Withdraw
from acp_stdio.relay.session import STREAM_RETRY
from tests.kit.playbook import SIGNED_OUT, Playbook, hello, kinds, only, posts, streams, told, welcome

ECHO = {"name": "echo", "arguments": {"text": "hi"}}
TOOL = {"name": "echo", "inputSchema": {"type": "object"}}
SESSION = (("Mcp-Session-Id", "S1"), ("MCP-Protocol-Version", "2025-11-25"))


@pytest.fixture
def book() -> Playbook:
    book = Playbook()
    book.open_session()
    return book


def test_the_handshake_passes_byte_for_byte_in_both_directions() -> None:
    book = Playbook()
    raw = b'{ "jsonrpc":"2.0", "params":{"protocolVersion":"2025-11-25","x":1.0}, "method":"initialize","id":"a" }'
    (post,) = only(book.host_raw(raw), Post)
    assert (post.raw, post.headers, post.record) == (raw, (), None)
    answer = b'{"result": {"protocolVersion":"2025-11-25", "n": 1e3}, "id":"a","jsonrpc":"2.0"}'
    assert only(book.upstream_raw(post.call, answer), ToHost) == [ToHost(answer)]


def test_nothing_passes_before_the_server_took_initialized() -> None:
    book = Playbook()
    posted = book.call_of(book.host(id=0, method="initialize", params=hello()))
    book.upstream(posted, id=0, result=welcome())
    ready = book.call_of(book.host(method="notifications/initialized"))
    assert kinds(book.host(id=1, method="tools/call", params=ECHO)) == []
    released = book.ended(ready, 202)
    assert [frame["method"] for frame in posts(released)] == ["tools/call"]
    assert len(streams(released)) == 1


def test_every_frame_of_a_session_names_it_and_its_version(book: Playbook) -> None:
    (post,) = only(book.host(id=1, method="tools/call", params=ECHO), Post)
    assert post.headers == SESSION


def test_a_call_carries_what_the_trail_needs(book: Playbook) -> None:
    (post,) = only(book.host(id=1, method="tools/call", params=ECHO), Post)
    assert post.record is not None
    assert post.record[:4] == ("tools/call", "echo", "claude-ai", "0.1.0")


@pytest.mark.parametrize("method", ["tools/list", "ping", "logging/setLevel", "prompts/list"])
def test_looking_around_is_not_recorded(book: Playbook, method: str) -> None:
    assert all(post.record is None for post in only(book.host(id=1, method=method), Post))


def test_a_method_nobody_has_heard_of_passes_and_is_recorded(book: Playbook) -> None:
    (post,) = only(book.host(id=1, method="future/thing", params={"a": 1}), Post)
    assert post.record is not None
    answer = b'{"jsonrpc":"2.0","id":1,"result":{"n":9007199254740993,"f":1.0}}'
    assert ToHost(answer) in book.upstream_raw(post.call, answer)


def test_exactly_one_outcome_follows_each_answer(book: Playbook) -> None:
    posted = book.call_of(book.host(id=1, method="tools/call", params=ECHO))
    book.upstream(posted, method="notifications/progress", params={"progressToken": 1, "progress": 1})
    book.upstream(posted, id=1, result={"content": [], "isError": True})
    book.ended(posted)
    assert [(s.outcome, s.call) for s in only(book.done, Settle)] == [("tool_error", posted)]


@pytest.mark.parametrize("request_id", [0, 9007199254740993, 10**400, -1, "", "é\u2028", "1", 1.5, "x" * 1_000_000])
def test_ids_of_every_kind_come_back_as_they_were(book: Playbook, request_id: object) -> None:
    posted = book.call_of(book.host(id=request_id, method="tools/call", params=ECHO))
    (frame,) = told(book.upstream(posted, id=request_id, result={}))
    assert frame["id"] == request_id
    assert type(frame["id"]) is type(request_id)


def test_an_id_spelled_another_way_is_still_the_same() -> None:
    book = Playbook()
    book.open_session()
    posted = book.call_of(book.host_raw(b'{"jsonrpc":"2.0","id":"\\u00e9","method":"tools/call"}'))
    assert told(book.upstream_raw(posted, '{"jsonrpc":"2.0","id":"é","result":{}}'.encode())) != []


def test_an_answer_to_another_request_is_not_taken_for_this_one(book: Playbook) -> None:
    posted = book.call_of(book.host(id=1, method="tools/call", params=ECHO))
    assert book.upstream(posted, id=2, result={"stolen": True}) == []
    assert told(book.upstream(posted, id=1, result={})) != []


def test_an_id_in_use_is_refused_and_the_first_request_lives_on(book: Playbook) -> None:
    posted = book.call_of(book.host(id=1, method="tools/call", params=ECHO))
    (error,) = told(book.host(id=1, method="tools/call", params=ECHO))
    assert error["error"]["code"] == -32600
    assert told(book.upstream(posted, id=1, result={})) != []


def test_a_servers_own_requests_and_notifications_reach_the_host_and_its_answer_goes_back(book: Playbook) -> None:
    posted = book.call_of(book.host(id=1, method="tools/call", params=ECHO))
    assert (
        told(book.upstream(posted, id=7, method="elicitation/create", params={}))[0]["method"] == "elicitation/create"
    )
    (answer,) = posts(book.host(id=7, result={"action": "accept"}))
    assert answer == {"jsonrpc": "2.0", "id": 7, "result": {"action": "accept"}}


def test_ping_is_answered_here(book: Playbook) -> None:
    assert told(book.host(id=5, method="ping")) == [{"jsonrpc": "2.0", "id": 5, "result": {}}]


def test_a_cancelled_call_is_told_upstream_and_its_late_answer_is_dropped(book: Playbook) -> None:
    posted = book.call_of(book.host(id=1, method="tools/call", params=ECHO))
    done = book.host(method="notifications/cancelled", params={"requestId": 1, "reason": "bored"})
    (note,) = posts(done)
    assert note["params"] == {"requestId": 1, "reason": "bored"}
    assert Withdraw(posted) in done
    assert [s.outcome for s in only(done, Settle)] == ["cancelled"]
    assert told(book.upstream(posted, id=1, result={})) == []


def test_the_exchange_of_a_cancelled_call_is_closed_once_the_server_knows(book: Playbook) -> None:
    posted = book.call_of(book.host(id=1, method="tools/call", params=ECHO))
    note = book.call_of(book.host(method="notifications/cancelled", params={"requestId": 1}))
    assert book.ended(note, 202) == [Abort(posted)]


def test_cancelling_what_is_unknown_does_nothing(book: Playbook) -> None:
    assert book.host(method="notifications/cancelled", params={"requestId": 99}) == []
    assert book.host(method="notifications/cancelled", params={}) == []


def test_the_tools_list_gets_our_two_tools_and_keeps_the_servers_bytes(book: Playbook) -> None:
    posted = book.call_of(book.host(id=1, method="tools/list"))
    done = book.upstream_raw(posted, b'{"jsonrpc":"2.0","id":1,"result":{"tools":[ {"name":"a","n":1.0} ],"z":1e2}}')
    (frame,) = only(done, ToHost)
    assert b'{"name":"a","n":1.0}' in frame.raw
    assert b'"z":1e2' in frame.raw
    assert [t["name"] for t in json.loads(frame.raw)["result"]["tools"]] == ["a", "acp_login", "acp_status"]


def test_our_tools_stand_on_the_last_page_only(book: Playbook) -> None:
    posted = book.call_of(book.host(id=1, method="tools/list"))
    (page,) = told(book.upstream(posted, id=1, result={"tools": [TOOL], "nextCursor": "2"}))
    assert [t["name"] for t in page["result"]["tools"]] == ["echo"]


def test_a_server_that_has_a_tool_of_our_name_keeps_its_list(book: Playbook) -> None:
    posted = book.call_of(book.host(id=1, method="tools/list"))
    (page,) = told(book.upstream(posted, id=1, result={"tools": [{**TOOL, "name": "acp_login"}]}))
    assert [t["name"] for t in page["result"]["tools"]] == ["acp_login"]


def test_helper_tools_can_be_switched_off() -> None:
    book = Playbook(helpers=False)
    book.open_session()
    posted = book.call_of(book.host(id=1, method="tools/list"))
    raw = b'{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}'
    assert ToHost(raw) in book.upstream_raw(posted, raw)
    assert only(book.host(id=2, method="tools/call", params={"name": "acp_login"}), Post) != []


def test_our_own_tools_run_here(book: Playbook) -> None:
    (run,) = only(book.host(id=1, method="tools/call", params={"name": "acp_status"}), RunHelper)
    (frame,) = told(book.relay.helper_finished(run.call, "Signed in as sarah."))
    assert frame["result"]["content"][0]["text"] == "Signed in as sarah."


def test_live_lists_are_remembered_and_a_slow_server_is_covered_by_memory(book: Playbook) -> None:
    first = book.call_of(book.host(id=1, method="tools/list"))
    book.upstream(first, id=1, result={"tools": [TOOL]})
    slow = book.call_of(book.host(id=2, method="tools/list"))
    (served,) = told(book.after(1.5))
    assert served["id"] == 2
    assert served["result"]["tools"][0] == TOOL
    late = book.upstream(slow, id=2, result={"tools": []})
    assert told(late) == []
    assert [learn.key for learn in only(late, Learn)] == ["legacy tools/list "]


def test_a_list_without_memory_waits_for_the_server(book: Playbook) -> None:
    posted = book.call_of(book.host(id=1, method="tools/list"))
    assert told(book.after(2)) == []
    assert told(book.upstream(posted, id=1, result={"tools": []})) != []


def test_a_lost_session_is_opened_again_once_and_the_call_repeated(book: Playbook) -> None:
    posted = book.call_of(book.host(id=1, method="tools/call", params=ECHO))
    opening = book.call_of(book.ended(posted, 404))
    book.relay.upstream_opened(opening, "S2")
    ready = book.call_of(book.upstream(opening, id=0, result=welcome()))
    again = book.ended(ready, 202)
    (post,) = only(again, Post)
    assert (post.call, post.headers[0]) == (posted, ("Mcp-Session-Id", "S2"))
    assert "HTTP 404" in told(book.ended(posted, 404))[0]["result"]["content"][0]["text"]


def test_the_stream_is_opened_again_after_a_break_but_not_where_there_is_none(book: Playbook) -> None:
    (stream,) = streams(book.done)
    assert book.ended(stream.call) == [Wake(1.0)]
    (again,) = streams(book.after(1.0))
    book.ended(again.call, 405)
    assert streams(book.after(100)) == []


def test_all_calls_of_a_lost_session_are_repeated_in_the_new_one(book: Playbook) -> None:
    calls = [book.call_of(book.host(id=n, method="tools/call", params=ECHO)) for n in (1, 2)]
    opening = book.call_of(book.ended(calls[0], 404))
    assert kinds(book.ended(calls[1], 404)) == []
    book.relay.upstream_opened(opening, "S2")
    ready = book.call_of(book.upstream(opening, id=0, result=welcome()))
    assert [post.call for post in only(book.ended(ready, 202), Post)] == calls


def test_a_cancelled_call_of_a_lost_session_is_forgotten(book: Playbook) -> None:
    posted = book.call_of(book.host(id=1, method="tools/call", params=ECHO))
    book.host(method="notifications/cancelled", params={"requestId": 1})
    assert told(book.ended(posted, 404)) == []


def test_a_stream_that_the_server_closes_is_asked_to_go_on_where_it_was(book: Playbook) -> None:
    posted = book.call_of(book.host(id=1, method="tools/call", params=ECHO))
    assert book.ended(posted, last_event_id="e7", retry=0.2) == [Wake(0.2)]
    assert streams(book.after(0.1)) == []
    (resumed,) = streams(book.after(0.1))
    assert (resumed.call, resumed.headers) == (posted, (*SESSION, ("Last-Event-ID", "e7")))
    assert told(book.upstream(posted, id=1, result={}))[0]["id"] == 1


def test_going_on_is_tried_three_times_without_news_and_the_call_is_not_sent_again(book: Playbook) -> None:
    posted = book.call_of(book.host(id=1, method="tools/call", params=ECHO))
    for _ in range(3):
        book.ended(posted, last_event_id="e7", retry=0.1)
        assert len(streams(book.after(1))) == 1
    done = book.ended(posted, last_event_id="e7", retry=0.1)
    assert told(done)[0]["result"]["content"][0]["text"].startswith("This may have been carried out")
    assert [post["method"] for post in posts(book.done)].count("tools/call") == 1


def test_an_attempt_to_go_on_that_finds_no_network_does_not_forget_where(book: Playbook) -> None:
    posted = book.call_of(book.host(id=1, method="tools/call", params=ECHO))
    book.ended(posted, last_event_id="e7", retry=0.1)
    for wait in (1.0, 2.0):
        (again,) = streams(book.after(10))
        assert ("Last-Event-ID", "e7") in again.headers
        assert book.ended(posted, None) == [Wake(wait)], "later and later"
    assert len(streams(book.after(10))) == 1
    (answer,) = told(book.ended(posted, None))
    assert answer["result"]["content"][0]["text"].startswith("This may have been carried out")


def test_a_call_that_was_taken_is_not_repeated_where_going_on_finds_no_session(book: Playbook) -> None:
    posted = book.call_of(book.host(id=1, method="tools/call", params=ECHO))
    book.ended(posted, last_event_id="e7", retry=0.1)
    book.after(1)
    done = book.ended(posted, 404)
    assert told(done)[0]["result"]["content"][0]["text"].startswith("This may have been carried out")
    assert posts(done) == []


def test_a_list_served_from_memory_is_not_answered_again_when_its_session_was_lost(book: Playbook) -> None:
    first = book.call_of(book.host(id=1, method="tools/list"))
    book.upstream(first, id=1, result={"tools": [TOOL]})
    slow = book.call_of(book.host(id=2, method="tools/list"))
    assert told(book.after(1.5)) != []
    opening = book.call_of(book.ended(slow, 404))
    ready = book.call_of(book.upstream(opening, id=0, result=welcome()))
    assert kinds(book.ended(ready, 202)) == ["OpenStream"]
    assert told(book.upstream(slow, id=2, result={"tools": []})) == []


def test_going_on_is_not_tried_in_another_session(book: Playbook) -> None:
    posted = book.call_of(book.host(id=1, method="tools/call", params=ECHO))
    book.ended(posted, last_event_id="e7", retry=5)
    lost = book.call_of(book.host(id=2, method="tools/call", params=ECHO))
    opening = book.call_of(book.ended(lost, 404))
    book.relay.upstream_opened(opening, "S2")
    book.ended(book.call_of(book.upstream(opening, id=0, result=welcome())), 202)
    (answer,) = told(book.after(5))
    assert answer["id"] == 1
    assert answer["result"]["content"][0]["text"].startswith("This may have been carried out")


def test_a_late_answer_to_an_earlier_handshake_does_not_open_the_new_one(book: Playbook) -> None:
    first = book.call_of(book.host(id=8, method="initialize", params=hello("2025-06-18")))
    second = book.call_of(book.host(id=9, method="initialize", params=hello("2025-03-26")))
    book.relay.upstream_opened(first, "stale")
    assert told(book.upstream(first, id=8, result=welcome("2025-06-18")))[0]["id"] == 8
    book.relay.upstream_opened(second, "S3")
    book.upstream(second, id=9, result=welcome("2025-03-26"))
    (post,) = only(book.host(method="notifications/initialized"), Post)
    assert post.headers == (("Mcp-Session-Id", "S3"), ("MCP-Protocol-Version", "2025-03-26"))


def test_a_version_that_is_no_header_is_encoded() -> None:
    book = Playbook()
    posted = book.call_of(book.host(id=0, method="initialize", params=hello()))
    book.upstream(posted, id=0, result=welcome("2025\r\nX: y"))
    (post,) = only(book.host(method="notifications/initialized"), Post)
    assert "\n" not in dict(post.headers)["MCP-Protocol-Version"]


def test_the_servers_own_stream_goes_on_where_it_was(book: Playbook) -> None:
    (stream,) = streams(book.done)
    book.ended(stream.call, last_event_id="s1", retry=0.3)
    (again,) = streams(book.after(0.3))
    assert ("Last-Event-ID", "s1") in again.headers


@pytest.mark.parametrize("status", [None, 503])
def test_the_servers_own_stream_goes_on_there_also_behind_attempts_that_failed(
    book: Playbook, status: int | None
) -> None:
    (stream,) = streams(book.done)
    book.ended(stream.call, last_event_id="s1", retry=0.3)
    for wait in STREAM_RETRY[1:3]:
        (again,) = streams(book.after(60.0))
        assert ("Last-Event-ID", "s1") in again.headers
        assert book.ended(again.call, status) == [Wake(wait)]


def test_a_call_without_an_answer_in_time_is_answered_here_and_cancelled_there(book: Playbook) -> None:
    posted = book.call_of(book.host(id=1, method="tools/call", params=ECHO))
    done = book.after(230)
    (answer,) = told(done)
    assert answer["result"]["content"][0]["text"].startswith("This may have been carried out")
    assert answer["result"]["_meta"]["io.github.acp-stdio/reason"] == "timeout"
    assert posts(done)[0]["method"] == "notifications/cancelled"
    assert told(book.upstream(posted, id=1, result={})) == []


def test_signing_out_cancels_what_is_in_flight(book: Playbook) -> None:
    posted = book.call_of(book.host(id=1, method="tools/call", params=ECHO))
    done = book.relay.signed_out(SIGNED_OUT, book.now)
    assert Abort(posted) in done
    assert [s.outcome for s in only(done, Settle)] == ["cancelled"]
    assert told(done)[0]["result"]["_meta"]["io.github.acp-stdio/reason"] == "login_required"


def test_after_a_sign_in_the_same_process_opens_a_session_and_says_that_lists_changed(book: Playbook) -> None:
    book.relay.signed_out(SIGNED_OUT, book.now)
    done = book.relay.signed_in(book.now)
    assert told(done) == [{"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}]
    assert posts(done)[0]["method"] == "initialize"


def test_a_host_that_leaves_ends_its_session_and_every_call(book: Playbook) -> None:
    posted = book.call_of(book.host(id=1, method="tools/call", params=ECHO))
    done = book.relay.host_left()
    assert Abort(posted) in done
    assert EndSession(SESSION) in done
    assert [s.outcome for s in only(done, Settle)] == ["cancelled"]


def test_a_remembered_handshake_is_answered_before_anything_is_sent() -> None:
    book = Playbook({"initialize 2025-11-25": json.dumps(welcome()).encode()})
    done = book.host(id=0, method="initialize", params=hello())
    assert kinds(done) == ["ToHost", "Post"]
    posted = book.call_of(done)
    assert told(book.upstream(posted, id=0, result=welcome())) == []


def test_a_version_never_asked_for_is_answered_from_what_the_server_said_for_another() -> None:
    book = Playbook({"initialize 2025-11-25": json.dumps(welcome()).encode()}, signed_in=False)
    (answer,) = told(book.host(id=0, method="initialize", params=hello("2025-06-18")))
    assert answer["result"] == {**welcome(), "protocolVersion": "2025-06-18"}


def test_a_handshake_waits_400_ms_for_a_server_never_seen_and_no_longer() -> None:
    book = Playbook()
    done = book.host(id=0, method="initialize", params=hello())
    assert only(done, Wake) == [Wake(0.4)]
    (answer,) = told(book.after(0.4))
    assert answer["result"]["serverInfo"]["name"] == "acp-stdio"
    assert told(book.upstream(book.call_of(done), id=0, result=welcome())) == []


def test_the_most_requests_a_host_may_have_waiting_is_bounded(book: Playbook) -> None:
    for number in range(1, 513):
        book.host(id=number, method="tools/call", params=ECHO)
    (answer,) = told(book.host(id=513, method="tools/call", params=ECHO))
    assert answer["result"]["_meta"]["io.github.acp-stdio/reason"] == "overloaded"


class TestSignedOut:
    """The handshake and the lists answer at once; a call says what to do."""

    def test_with_nothing_remembered_the_list_holds_our_two_tools(self) -> None:
        book = Playbook(signed_in=False)
        (answer,) = told(book.host(id=0, method="initialize", params=hello()))
        assert answer["result"]["protocolVersion"] == "2025-11-25"
        opening = book.call_of(book.host(id=1, method="tools/list"))
        (listed,) = told(book.refused(opening))
        assert [t["name"] for t in listed["result"]["tools"]] == ["acp_login", "acp_status"]

    def test_the_last_lists_are_served(self) -> None:
        known = {
            "initialize 2025-11-25": json.dumps(welcome()).encode(),
            "legacy tools/list ": json.dumps({"tools": [TOOL]}).encode(),
        }
        book = Playbook(known, signed_in=False)
        opening = book.call_of(book.host(id=0, method="initialize", params=hello()))
        book.refused(opening)
        again = book.call_of(book.host(id=1, method="tools/list"))
        (listed,) = told(book.refused(again))
        assert [t["name"] for t in listed["result"]["tools"]] == ["echo", "acp_login", "acp_status"]

    def test_a_call_gets_a_readable_result_and_one_denial_in_the_trail(self) -> None:
        book = Playbook(signed_in=False)
        book.host(id=0, method="initialize", params=hello())
        opening = book.call_of(book.host(id=1, method="tools/call", params=ECHO))
        done = book.refused(opening)
        (answer,) = told(done)
        text = answer["result"]["content"][0]["text"]
        assert text == "Nothing was sent. You signed out. Run `acp-stdio login`, then ask again."
        assert answer["result"]["isError"] is True
        assert [s.outcome for s in only(done, Settle)] == ["denied"]

    def test_other_requests_get_an_error_with_the_same_word(self) -> None:
        book = Playbook(signed_in=False)
        book.host(id=0, method="initialize", params=hello())
        opening = book.call_of(book.host(id=1, method="resources/read", params={"uri": "a:b"}))
        (answer,) = told(book.refused(opening))
        assert (answer["error"]["code"], answer["error"]["data"]) == (4401, {"reason": "login_required"})


@pytest.mark.parametrize("end", ["lost", "signed out", "never asked", "answered"])
def test_an_answer_reaches_the_session_that_asked_and_no_other(end: str) -> None:
    book = Playbook()
    book.open_session()
    call = book.call_of(book.host(id=1, method="tools/call", params={"name": "a"}))
    if end != "never asked":
        book.upstream(call, id=7, method="elicitation/create", params={})
    match end:
        case "lost":
            opening = book.call_of(book.ended(call, 404))
            book.relay.upstream_opened(opening, "S2")
            ready = book.call_of(book.upstream(opening, id=0, result=welcome()))
            book.ended(ready, 202)
        case "signed out":
            book.relay.signed_out(SIGNED_OUT, book.now)
        case "answered":
            assert posts(book.host(id=7, result={"action": "accept"})) != []
        case _:
            pass
    assert posts(book.host(id=7, result={"action": "accept"})) == []


def test_an_answer_that_meets_a_lost_session_is_not_given_to_the_next() -> None:
    book = Playbook()
    book.open_session()
    call = book.call_of(book.host(id=1, method="tools/call", params={"name": "a"}))
    book.upstream(call, id=7, method="elicitation/create", params={})
    answer = book.call_of(book.host(id=7, result={"action": "accept"}))
    opening = book.call_of(book.ended(answer, 404))
    book.relay.upstream_opened(opening, "S2")
    ready = book.call_of(book.upstream(opening, id=0, result=welcome()))
    assert all("action" not in str(post) for post in posts(book.ended(ready, 202)))


def test_of_a_list_that_gives_new_cursors_each_time_only_the_last_pages_are_kept(book: Playbook) -> None:
    for turn in "abc":
        first = book.call_of(book.host(id=1, method="tools/list", params={}))
        book.upstream(first, id=1, result={"tools": [TOOL], "nextCursor": turn})
        second = book.call_of(book.host(id=2, method="tools/list", params={"cursor": turn}))
        book.upstream(second, id=2, result={"tools": [TOOL]})
    assert [key for key in book.catalogue if "tools/list" in key] == ["legacy tools/list ", "legacy tools/list c"]
