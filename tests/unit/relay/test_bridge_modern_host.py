"""A host of the modern era before an upstream of the legacy one: what passes, in whose words, and what does not."""

import json
from typing import Any

import pytest

from acp_stdio.catalogue.model import DISCOVER, NO_ERA, Catalogue
from acp_stdio.relay.bridge.modern_host import ModernHostBridge
from acp_stdio.relay.commands import Command, Post, Settle
from tests.kit.playbook import MODERN_META, SERVER_INFO, SIGNED_OUT, Playbook, hello, only, posts, streams, told

PREFIX = "io.modelcontextprotocol/"
SUBSCRIPTION = f"{PREFIX}subscriptionId"
CAPABILITIES: dict[str, Any] = {
    "tools": {"listChanged": True},
    "resources": {"subscribe": True, "listChanged": True},
    "logging": {},
    "tasks": {"list": {}},
}
WELCOME: dict[str, Any] = {
    "protocolVersion": "2025-11-25",
    "capabilities": CAPABILITIES,
    "serverInfo": SERVER_INFO,
    "instructions": "Ask about money.",
}
LEGACY: Catalogue = {DISCOVER: NO_ERA}
EVERYTHING: dict[str, Any] = {"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {}}
FORM: dict[str, Any] = {"mode": "form", "message": "Who?", "requestedSchema": {"type": "object", "properties": {}}}


def meta(capabilities: dict[str, Any] | None = None, *, level: str = "", **more: Any) -> dict[str, Any]:
    declared = EVERYTHING if capabilities is None else capabilities
    logs = {f"{PREFIX}logLevel": level} if level else {}
    return {**MODERN_META, f"{PREFIX}clientCapabilities": declared, **logs, **more}


class Stage(Playbook):
    """A host that knows no other era, and the server's session behind it."""

    def __init__(self, catalogue: Catalogue | None = None, **more: Any) -> None:
        super().__init__(dict(LEGACY if catalogue is None else catalogue), **more)
        self.rest: list[int] = []

    def ask(self, request_id: Any, method: str = "tools/call", **params: Any) -> list[Command]:
        """A request of the host's."""
        params = params or {"name": "pay", "arguments": {}}
        return self.host(id=request_id, method=method, params={"_meta": meta(), **params})

    def open(self, done: list[Command], welcome: dict[str, Any] | None = None) -> list[Command]:
        """The server takes the `initialize` that is among these, and what follows it."""
        (post,) = [post for post in only(done, Post) if json.loads(post.raw)["method"] == "initialize"]
        self.mind.upstream_opened(post.call, "S1")
        greeted = self.upstream(post.call, id=json.loads(post.raw)["id"], result=welcome or WELCOME)
        self.ended(post.call)
        (ready,) = [post for post in only(greeted, Post) if json.loads(post.raw)["method"].endswith("initialized")]
        opened = self.ended(ready.call, 202)
        self.stream = streams(opened)[0].call
        return [*greeted, *opened]

    def begin(self, request_id: Any = 1, method: str = "tools/call", **params: Any) -> tuple[int, Any]:
        """A first request, which opens the session; its exchange."""
        return exchange(self.open(self.ask(request_id, method, **params)), method)


def exchange(done: list[Command], method: str = "tools/call") -> tuple[int, Any]:
    (post,) = [post for post in only(done, Post) if json.loads(post.raw).get("method") == method]
    return post.call, json.loads(post.raw)


def answers(done: list[Command]) -> list[Any]:
    """The host's responses as they go to the server."""
    return [frame for frame in posts(done) if "method" not in frame]


def required(done: list[Command]) -> Any:
    (frame,) = told(done)
    assert frame["result"]["resultType"] == "input_required"
    return frame["result"]


# -- which host it is ----------------------------------------------------------------------------------


def test_a_host_that_goes_on_in_the_modern_era_after_it_was_refused_knows_no_other() -> None:
    book = Stage()
    assert told(book.ask(1, "server/discover", x=1))[0]["error"]["code"] == -32601
    assert not isinstance(book.mind, ModernHostBridge)
    assert posts(book.ask(2))[0]["method"] == "initialize"
    assert isinstance(book.mind, ModernHostBridge)


def test_a_host_that_asks_once_more_what_this_is_gets_an_answer() -> None:
    book = Stage()
    book.ask(1, "server/discover", x=1)
    done = book.open(book.ask(2, "server/discover", x=1))
    (frame,) = told(done)
    assert frame["id"] == 2
    assert frame["result"] == {
        "resultType": "complete",
        "supportedVersions": ["2026-07-28"],
        "capabilities": {key: value for key, value in CAPABILITIES.items() if key != "tasks"},
        "instructions": "Ask about money.",
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": {f"{PREFIX}serverInfo": SERVER_INFO},
    }


def test_a_host_of_both_eras_is_mirrored_and_nothing_is_translated() -> None:
    book = Stage()
    book.ask(1, "server/discover", x=1)
    book.host(id=2, method="initialize", params=hello())
    assert book.mind is book.relay


def test_a_bridged_host_that_falls_back_after_all_is_mirrored_from_then_on() -> None:
    book = Stage()
    number, _ = book.begin(1)
    done = book.host(id=2, method="initialize", params=hello())
    assert book.mind is book.relay
    assert [frame["id"] for frame in told(done)] == [1, 2]
    assert [settle.outcome for settle in only(done, Settle)] == ["cancelled"]
    assert book.upstream(number, id="acp-stdio-3", result={}) == []


def test_a_bridged_host_that_falls_back_hears_nothing_of_the_session_that_was_opening_for_it() -> None:
    book = Stage()
    (opening,) = only(book.ask(1), Post)
    (ours,) = only(book.host(id=2, method="initialize", params=hello()), Post)
    assert told(book.upstream(opening.call, id=json.loads(opening.raw)["id"], result=WELCOME)) == []
    assert [frame["id"] for frame in told(book.after(1))] == [2]
    assert told(book.upstream(ours.call, id=2, result=WELCOME)) == []


@pytest.mark.parametrize("status", [400, 406, 415, 422])
@pytest.mark.parametrize("body", [b"Bad Request", b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"?"}}'])
def test_a_first_call_that_a_server_never_seen_refuses_is_made_again_in_a_session(body: bytes, status: int) -> None:
    book = Stage({})
    refused = book.call_of(book.ask(1))
    done = book.ended(refused, status, body=body)
    assert told(done) == []
    probe = exchange(done, "server/discover")
    done = book.ended(probe[0], status, body=body)
    assert [(settle.outcome, settle.reason) for settle in only(done, Settle)] == [("error", "era_mismatch")]
    number, frame = exchange(book.open(done))
    (frame,) = told(book.upstream(number, id=frame["id"], result={"content": []}))
    assert (frame["id"], frame["result"]["resultType"]) == (1, "complete")


@pytest.mark.parametrize("status", [402, 409, 410, 412, 413, 451])
def test_a_first_call_that_may_have_done_something_is_not_made_again(status: int) -> None:
    book = Stage({})
    done = book.ended(book.call_of(book.ask(1)), status, body=b"Conflict")
    assert posts(done) == []
    assert [frame["id"] for frame in told(done)] == [1]


def test_a_first_call_that_a_modern_server_refuses_is_refused_in_its_words() -> None:
    book = Stage({})
    body = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "no such tool"}}
    done = book.ended(book.call_of(book.ask(1)), 400, body=json.dumps(body).encode())
    number, frame = exchange(done, "server/discover")
    discovered: dict[str, Any] = {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {}}
    assert told(book.upstream(number, id=frame["id"], result=discovered)) == [body]
    assert book.mind is book.relay


# -- envelope, results, errors -----------------------------------------------------------------------------


def test_the_session_is_opened_with_what_the_host_says_of_itself() -> None:
    book = Stage()
    (hello_frame,) = [frame for frame in posts(book.ask(1)) if frame["method"] == "initialize"]
    assert hello_frame["params"] == {
        "protocolVersion": "2025-11-25",
        "capabilities": EVERYTHING,
        "clientInfo": {"name": "claude-code", "version": "3"},
    }


def test_a_request_loses_its_envelope_and_keeps_its_own() -> None:
    book = Stage()
    _, frame = book.begin(name="pay", arguments={"big": 9007199254740993}, _meta=meta(progressToken="p"))
    assert frame["params"] == {"name": "pay", "arguments": {"big": 9007199254740993}, "_meta": {"progressToken": "p"}}
    (post,) = [post for post in only(book.done, Post) if post.record is not None]
    assert post.record is not None
    assert (post.record.tool, post.record.agent) == ("pay", "claude-code")


@pytest.mark.parametrize(
    ("without", "number"), [("protocolVersion", -32602), ("clientCapabilities", -32602), ("clientInfo", 0)]
)
def test_a_request_that_lacks_what_it_must_say_is_refused(without: str, number: int) -> None:
    book = Stage()
    book.begin(1)
    params = {"name": "pay", "_meta": {k: v for k, v in meta().items() if k != f"{PREFIX}{without}"}}
    done = book.host(id=2, method="tools/call", params=params)
    assert [frame["error"]["code"] for frame in told(done)] == ([number] if number else [])


def test_another_version_is_refused_with_the_one_that_is_spoken() -> None:
    book = Stage()
    book.begin(1)
    done = book.ask(2, name="pay", _meta={**meta(), f"{PREFIX}protocolVersion": "2027-01-01"})
    (frame,) = told(done)
    assert frame["error"]["code"] == -32022
    assert frame["error"]["data"]["supported"] == ["2026-07-28"]


@pytest.mark.parametrize("method", ["ping", "logging/setLevel", "resources/subscribe", "tasks/get"])
def test_what_the_era_took_out_does_not_reach_the_server(method: str) -> None:
    book = Stage()
    book.begin(1)
    done = book.ask(2, method, x=1)
    assert (told(done)[0]["error"]["code"], posts(done)) == (-32601, [])


def test_results_say_that_they_are_complete_not_to_be_kept_and_whose() -> None:
    book = Stage(helpers=False)
    number, frame = book.begin(1, "tools/list", x=1)
    (listed,) = told(book.upstream(number, id=frame["id"], result={"tools": []}))
    assert listed["result"] == {
        "tools": [],
        "resultType": "complete",
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": {f"{PREFIX}serverInfo": SERVER_INFO},
    }
    number, frame = exchange(book.ask(2))
    (called,) = told(book.upstream(number, id=frame["id"], result={"content": [], "isError": False}))
    assert called["result"].keys() == {"content", "isError", "resultType", "_meta"}


def test_a_resource_that_is_not_there_has_its_new_number() -> None:
    book = Stage()
    number, frame = book.begin(1, "resources/read", uri="file:///a")
    (answer,) = told(book.upstream(number, id=frame["id"], error={"code": -32002, "message": "gone"}))
    assert answer["error"] == {"code": -32602, "message": "gone"}


def test_lists_that_were_learned_in_the_legacy_era_are_served_in_the_hosts() -> None:
    known = {**LEGACY, "legacy tools/list ": json.dumps({"tools": [{"name": "pay", "inputSchema": {}}]}).encode()}
    book = Stage(known)
    book.ask(1, "tools/list", x=1)
    (frame,) = told(book.after(2))
    assert [tool["name"] for tool in frame["result"]["tools"]] == ["pay", "acp_login", "acp_status"]
    assert frame["result"]["resultType"] == "complete"


def test_a_cancelled_request_is_told_to_the_server() -> None:
    book = Stage()
    _, frame = book.begin(1)
    (note,) = posts(book.host(method="notifications/cancelled", params={"requestId": 1}))
    assert (note["method"], note["params"]["requestId"]) == ("notifications/cancelled", frame["id"])


# -- capabilities --------------------------------------------------------------------------------------------


def test_a_request_that_declares_more_opens_another_session_if_nothing_is_on_its_way() -> None:
    book = Stage()
    number, frame = exchange(book.open(book.ask(1, name="pay", _meta=meta({}))))
    assert [f["method"] for f in posts(book.ask(2, name="pay"))] == ["tools/call"], "the first is on its way"
    book.upstream(number, id=frame["id"], result={"content": []})
    number, frame = _last_call(book)
    book.upstream(number, id=frame["id"], result={"content": []})
    (again,) = [f for f in posts(book.ask(3, name="pay")) if f["method"] == "initialize"]
    assert again["params"]["capabilities"] == EVERYTHING


def _last_call(book: Stage) -> tuple[int, Any]:
    post = [post for post in only(book.done, Post) if json.loads(post.raw).get("method") == "tools/call"][-1]
    return post.call, json.loads(post.raw)


def test_what_a_request_does_not_declare_is_refused_in_its_name() -> None:
    book = Stage()
    book.begin(1)
    number, _ = exchange(book.ask(2, name="pay", _meta=meta({"sampling": {}})))
    done = book.upstream(number, id="q1", method="elicitation/create", params=FORM)
    (refusal,) = answers(done)
    assert (refusal["id"], "error" in refusal, told(done)) == ("q1", True, [])


# -- questions -----------------------------------------------------------------------------------------------


def test_a_question_becomes_the_calls_answer_and_the_repeated_call_its_own() -> None:
    book = Stage()
    number, frame = book.begin(1, name="pay", arguments={"sum": 5})
    assert told(book.upstream(number, id="q1", method="elicitation/create", params=FORM)) == []
    result = required(book.after(0.1))
    ((key, question),) = result["inputRequests"].items()
    assert question == {"method": "elicitation/create", "params": FORM}
    given = {key: {"action": "accept", "content": {"name": "Ada"}}}
    done = book.ask(2, name="pay", arguments={"sum": 5}, inputResponses=given, requestState=result["requestState"])
    assert answers(done) == [{"jsonrpc": "2.0", "id": "q1", "result": given[key]}]
    (answer,) = told(book.upstream(number, id=frame["id"], result={"content": []}))
    assert (answer["id"], answer["result"]["resultType"]) == (2, "complete")
    assert [settle.outcome for settle in only(book.done, Settle)] == ["ok"], "one request upstream, one outcome"


def test_questions_that_come_together_are_put_together_and_answered_in_parts() -> None:
    book = Stage()
    number, _ = book.begin(1)
    for name, method in (("q1", "elicitation/create"), ("q2", "roots/list")):
        book.upstream(number, id=name, method=method, **({"params": FORM} if name == "q1" else {}))
    result = required(book.after(0.1))
    first, second = result["inputRequests"]
    done = book.ask(
        2, name="pay", arguments={}, inputResponses={second: {"roots": []}}, requestState=result["requestState"]
    )
    assert [answer["id"] for answer in answers(done)] == ["q2"]
    again = required(done)
    assert list(again["inputRequests"]) == [first]
    assert again["requestState"] != result["requestState"]


def test_a_state_fits_its_own_call_alone_and_once() -> None:
    book = Stage()
    number, _ = book.begin(1, name="pay", arguments={"sum": 5})
    book.upstream(number, id="q1", method="elicitation/create", params=FORM)
    state = required(book.after(0.1))["requestState"]
    others: list[dict[str, Any]] = [
        {"name": "pay", "arguments": {"sum": 6}},
        {"name": "wipe", "arguments": {"sum": 5}},
    ]
    for more in others:
        (frame,) = told(book.ask(2, **more, inputResponses={}, requestState=state))
        assert frame["error"]["code"] == -32602
    (frame,) = told(book.ask(2, name="pay", arguments={"sum": 5}, inputResponses={}, requestState=state + "x"))
    assert frame["error"]["code"] == -32602
    (frame,) = told(book.ask(2, name="pay", arguments={"sum": 5}, inputResponses=[1], requestState=state))
    assert frame["error"]["code"] == -32602
    given = {"question1": {"action": "decline"}, "nobody-asked": {"x": 1}}
    fits = book.ask(2, arguments={"sum": 5}, name="pay", inputResponses=given, requestState=state)
    assert [answer["result"] for answer in answers(fits)] == [{"action": "decline"}]
    (frame,) = told(book.ask(3, name="pay", arguments={"sum": 5}, inputResponses=given, requestState=state))
    assert frame["error"]["code"] == -32602


def test_an_answer_that_comes_while_the_host_is_asked_is_kept_for_it() -> None:
    book = Stage()
    number, frame = book.begin(1)
    book.upstream(number, id="q1", method="elicitation/create", params=FORM)
    state = required(book.after(0.1))["requestState"]
    assert told(book.upstream(number, id=frame["id"], result={"content": []})) == []
    done = book.ask(2, name="pay", arguments={}, inputResponses={"question1": {"action": "accept"}}, requestState=state)
    assert [frame["result"]["resultType"] for frame in told(done)] == ["complete"]


def test_a_host_that_never_comes_back_leaves_no_call_behind() -> None:
    book = Stage()
    number, frame = book.begin(1)
    book.upstream(number, id="q1", method="elicitation/create", params=FORM)
    state = required(book.after(0.1))["requestState"]
    done = book.after(231)
    assert told(done) == []
    assert [(note["method"], note["params"]["requestId"]) for note in posts(done)] == [
        ("notifications/cancelled", frame["id"])
    ]
    assert [settle.outcome for settle in only(done, Settle)] == ["timeout"]
    book.after(231)
    (late,) = told(book.ask(2, name="pay", arguments={}, inputResponses={}, requestState=state))
    assert late["error"]["code"] == -32602


def test_a_host_that_comes_back_and_cancels_ends_the_call() -> None:
    book = Stage()
    number, frame = book.begin(1)
    book.upstream(number, id="q1", method="elicitation/create", params=FORM)
    state = required(book.after(0.1))["requestState"]
    book.ask(2, name="pay", arguments={}, inputResponses={"question1": {"action": "accept"}}, requestState=state)
    (note,) = posts(book.host(method="notifications/cancelled", params={"requestId": 2}))
    assert note["params"]["requestId"] == frame["id"]


def test_a_question_on_the_sessions_own_stream_belongs_to_the_one_call_on_its_way() -> None:
    book = Stage()
    number, frame = book.begin(1)
    assert book.upstream(book.stream, id="q1", method="elicitation/create", params=FORM) != []
    state = required(book.after(0.1))["requestState"]
    given = {"question1": {"action": "accept"}}
    done = book.ask(2, name="pay", arguments={}, inputResponses=given, requestState=state)
    assert [answer["id"] for answer in answers(done)] == ["q1"]
    book.ask(3)
    (refusal,) = answers(book.upstream(book.stream, id="q2", method="elicitation/create", params=FORM))
    assert "error" in refusal, "of two calls nobody can say which"
    assert told(book.upstream(number, id=frame["id"], result={"content": []}))[0]["id"] == 2


def test_questions_without_a_call_and_within_other_methods_cannot_be_carried() -> None:
    book = Stage()
    number, _ = book.begin(1, "completion/complete", ref={})
    for call, name in ((number, "q1"), (book.stream, "q2")):
        (refusal,) = answers(book.upstream(call, id=name, method="elicitation/create", params=FORM))
        assert "error" in refusal
    (pong,) = answers(book.upstream(book.stream, id="p", method="ping"))
    assert pong == {"jsonrpc": "2.0", "id": "p", "result": {}}


def test_a_question_of_a_call_that_was_given_up_is_not_put_to_another() -> None:
    book = Stage()
    number, _ = book.begin(1)
    exchange(book.ask(2))
    book.host(method="notifications/cancelled", params={"requestId": 1})
    (refusal,) = answers(book.upstream(number, id="q1", method="elicitation/create", params=FORM))
    assert ("error" in refusal, told(book.after(0.1))) == (True, [])


def test_a_server_that_asks_too_much_at_once_is_told_so() -> None:
    book = Stage()
    number, _ = book.begin(1)
    refused = [answers(book.upstream(number, id=n, method="elicitation/create", params=FORM)) for n in range(40)]
    assert [len(each) for each in refused] == [0] * 32 + [1] * 8
    assert len(required(book.after(0.1))["inputRequests"]) == 32


def must_open(book: Stage, sent: tuple[int, Any]) -> dict[str, Any]:
    """The server wants a page opened; what the host repeats its call with."""
    page = {"mode": "url", "url": "https://a.example", "message": "Open", "elicitationId": "e1"}
    error = {"code": -32042, "message": "open it", "data": {"elicitations": [page]}}
    result = required(book.upstream(sent[0], id=sent[1]["id"], error=error))
    given = {key: {"action": "accept"} for key in result["inputRequests"]}
    return {"name": "pay", "arguments": {}, "inputResponses": given, "requestState": result["requestState"]}


def test_the_time_for_one_page_does_not_end_the_next_ones() -> None:
    book = Stage()
    again = must_open(book, book.begin(1))
    book.after(200)
    again = must_open(book, exchange(book.ask(2, **again)))
    book.after(100)
    assert posts(book.ask(3, **again))[0]["method"] == "tools/call"


def test_what_one_person_left_half_done_is_not_gone_on_with_by_the_next() -> None:
    book = Stage()
    again = must_open(book, book.begin(1))
    number, frame = exchange(book.ask(2))
    book.upstream(number, id="q1", method="elicitation/create", params=FORM)
    state = required(book.after(0.1))["requestState"]
    book.upstream(number, id=frame["id"], result={"content": [{"type": "text", "text": "Ada's"}]})
    book.mind.signed_out(SIGNED_OUT, book.now)
    book.mind.signed_in(book.now)
    for request_id, its_state in ((3, again["requestState"]), (4, state)):
        (refusal,) = told(book.ask(request_id, **{**again, "requestState": its_state}))
        assert (refusal["id"], refusal["error"]["code"]) == (request_id, -32602)


def test_a_page_that_must_be_opened_first_is_asked_for_and_the_call_sent_again() -> None:
    book = Stage()
    number, frame = book.begin(1)
    page = {"mode": "url", "url": "https://a.example", "message": "Open", "elicitationId": "e1"}
    error = {"code": -32042, "message": "open it", "data": {"elicitations": [page]}}
    result = required(book.upstream(number, id=frame["id"], error=error))
    ((key, question),) = result["inputRequests"].items()
    assert question["params"] == {"mode": "url", "url": "https://a.example", "message": "Open"}
    given = {key: {"action": "accept"}}
    done = book.ask(2, name="pay", arguments={}, inputResponses=given, requestState=result["requestState"])
    number, frame = exchange(done)
    assert told(book.upstream(number, id=frame["id"], result={"content": []}))[0]["id"] == 2
    assert [settle.outcome for settle in only(book.done, Settle)] == ["error", "ok"], "two requests, two outcomes"


def test_a_page_that_the_host_cannot_open_or_the_person_does_not_is_said_so() -> None:
    error = {
        "code": -32042,
        "message": "open it",
        "data": {"elicitations": [{"mode": "url", "url": "https://a.example"}]},
    }
    book = Stage()
    number, frame = exchange(book.open(book.ask(1, name="pay", _meta=meta({}))))
    (refused,) = told(book.upstream(number, id=frame["id"], error=error))
    assert refused["error"]["code"] == -32021
    book = Stage()
    number, frame = book.begin(1)
    state = required(book.upstream(number, id=frame["id"], error=error))["requestState"]
    given = {"page1": {"action": "decline"}}
    (declined,) = told(book.ask(2, name="pay", arguments={}, inputResponses=given, requestState=state))
    assert declined["result"]["isError"]


def test_progress_comes_under_the_token_of_the_round_that_waits() -> None:
    book = Stage()
    number, _ = book.begin(1, name="pay", arguments={}, _meta=meta(progressToken="first"))
    progress: dict[str, Any] = {"method": "notifications/progress", "params": {"progressToken": "first", "progress": 1}}
    assert told(book.upstream(number, **progress))[0]["params"]["progressToken"] == "first"
    book.upstream(number, id="q1", method="elicitation/create", params=FORM)
    state = required(book.after(0.1))["requestState"]
    assert told(book.upstream(number, **progress)) == []
    given = {"question1": {"action": "accept"}}
    again: dict[str, Any] = {"name": "pay", "arguments": {}, "inputResponses": given, "requestState": state}
    book.ask(2, **again, _meta=meta(progressToken="second"))
    assert told(book.upstream(number, **progress))[0]["params"]["progressToken"] == "second"


# -- subscriptions and logs -----------------------------------------------------------------------------------


def test_who_listens_is_acknowledged_what_the_server_tells_of_and_told_under_its_own_id() -> None:
    book = Stage()
    wanted = {"toolsListChanged": True, "promptsListChanged": True, "resourceSubscriptions": ["file:///a"]}
    number, frame = exchange(
        book.open(book.ask("L", "subscriptions/listen", notifications=wanted)), "resources/subscribe"
    )
    (acknowledged,) = told(book.upstream(number, id=frame["id"], result={}))
    assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
    assert acknowledged["params"] == {
        "notifications": {"toolsListChanged": True, "resourceSubscriptions": ["file:///a"]},
        "_meta": {SUBSCRIPTION: "L"},
    }
    updated = {"method": "notifications/resources/updated", "params": {"uri": "file:///a"}}
    (told_of,) = told(book.upstream(book.stream, **updated))
    assert told_of["params"] == {"uri": "file:///a", "_meta": {SUBSCRIPTION: "L"}}
    assert told(book.upstream(book.stream, method="notifications/prompts/list_changed")) == []
    (changed,) = told(book.upstream(book.stream, method="notifications/tools/list_changed"))
    assert changed["params"] == {"_meta": {SUBSCRIPTION: "L"}}


def test_a_resource_is_subscribed_to_once_until_nobody_listens() -> None:
    book = Stage()
    wanted = {"resourceSubscriptions": ["file:///a"]}
    number, frame = exchange(
        book.open(book.ask(1, "subscriptions/listen", notifications=wanted)), "resources/subscribe"
    )
    book.upstream(number, id=frame["id"], result={})
    assert posts(book.ask(2, "subscriptions/listen", notifications=wanted)) == []
    assert posts(book.host(method="notifications/cancelled", params={"requestId": 1})) == []
    (gone,) = posts(book.host(method="notifications/cancelled", params={"requestId": 2}))
    assert (gone["method"], gone["params"]) == ("resources/unsubscribe", {"uri": "file:///a"})
    assert told(book.upstream(book.stream, method="notifications/resources/updated", params={"uri": "file:///a"})) == []


def test_a_subscription_that_comes_about_when_nobody_listens_any_more_is_ended() -> None:
    book = Stage()
    wanted = {"resourceSubscriptions": ["file:///a"]}
    number, frame = exchange(
        book.open(book.ask(1, "subscriptions/listen", notifications=wanted)), "resources/subscribe"
    )
    book.host(method="notifications/cancelled", params={"requestId": 1})
    (gone,) = posts(book.upstream(number, id=frame["id"], result={}))
    assert (gone["method"], gone["params"]) == ("resources/unsubscribe", {"uri": "file:///a"})


def test_a_session_that_the_server_forgot_is_told_again_what_it_tells_of() -> None:
    book = Stage()
    wanted = {"resourceSubscriptions": ["file:///a"]}
    number, frame = exchange(
        book.open(book.ask(1, "subscriptions/listen", notifications=wanted)), "resources/subscribe"
    )
    book.upstream(number, id=frame["id"], result={})
    number, _ = exchange(book.ask(2))
    done = book.open(book.ended(number, 404))
    assert exchange(done, "resources/subscribe")[1]["params"] == {"uri": "file:///a"}


def test_logs_come_while_a_request_that_asked_for_them_is_on_its_way() -> None:
    book = Stage()
    done = book.open(book.ask(1, name="pay", arguments={}, _meta=meta(level="warning")))
    number, frame = exchange(done, "logging/setLevel")
    assert frame["params"] == {"level": "warning"}
    number, frame = exchange(book.upstream(number, id=frame["id"], result={}))
    line: dict[str, Any] = {"method": "notifications/message", "params": {"level": "error", "data": "x"}}
    quiet: dict[str, Any] = {"method": "notifications/message", "params": {"level": "info", "data": "x"}}
    assert len(told(book.upstream(number, **line))) == 1
    assert told(book.upstream(number, **quiet)) == []
    book.upstream(number, id=frame["id"], result={"content": []})
    number, _ = exchange(book.ask(2))
    assert told(book.upstream(number, **line)) == []
    assert posts(book.ask(3, name="pay", _meta=meta(level="debug")))[0]["params"] == {"level": "debug"}


def test_signed_out_a_bridged_host_can_sign_in_from_the_list() -> None:
    book = Stage(signed_in=False)
    done = book.ask(1, "tools/list", x=1)
    refused = book.call_of([command for command in done if isinstance(command, Post)])
    (frame,) = told(book.refused(refused))
    assert [tool["name"] for tool in frame["result"]["tools"]] == ["acp_login", "acp_status"]
    assert frame["result"]["resultType"] == "complete"
