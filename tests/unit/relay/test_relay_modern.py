"""A host and an upstream of the modern era (2026-07-28): stateless, with all its headers."""

import json
from typing import Any

import pytest

from acp_stdio.relay.commands import Abort, Learn, Post, Settle
from acp_stdio.wire import frames
from tests.kit.playbook import MODERN_META, Playbook, hello, only, posts, told

DISCOVERED: dict[str, Any] = {
    "resultType": "complete",
    "supportedVersions": ["2026-07-28"],
    "capabilities": {"tools": {}},
}


def test_a_request_carries_version_method_and_name() -> None:
    book = Playbook()
    (post,) = only(book.modern_call(name="pay é", arguments={}), Post)
    assert dict(post.headers) == {
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": "=?base64?cGF5IMOp?=",
    }


def test_arguments_that_the_server_wants_as_headers_are_sent_so() -> None:
    book = Playbook()
    schema = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
    listing = book.call_of(book.modern_call(1, "tools/list"))
    book.upstream(listing, id=1, result={"tools": [{"name": "pay", "inputSchema": schema}]})
    (post,) = only(book.modern_call(2, name="pay", arguments={"region": "eu"}), Post)
    assert ("Mcp-Param-Region", "eu") in post.headers


def test_the_agent_is_who_the_request_says() -> None:
    book = Playbook()
    (post,) = only(book.modern_call(name="pay"), Post)
    assert post.record is not None
    assert (post.record.agent, post.record.agent_version) == ("claude-code", "3")


def test_the_hosts_trace_is_kept() -> None:
    book = Playbook()
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    frame = {"id": 1, "method": "tools/call", "params": {"name": "a", "_meta": {**MODERN_META, "traceparent": trace}}}
    (post,) = only(book.host(**frame), Post)
    assert post.record is not None
    assert post.record.trace == trace


def test_parameters_of_an_unexpected_shape_do_not_change_the_era() -> None:
    book = Playbook()
    (post,) = only(book.modern_call(1, "future/thing", name={"an": "object"}, cursor=5), Post)
    assert dict(post.headers) == {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "future/thing"}


@pytest.mark.parametrize("odd", [{"uri": 7}, {"cursor": None}, {"arguments": {"a": "\ud83d"}}])
def test_an_odd_parameter_hides_no_other(odd: dict[str, Any]) -> None:
    book = Playbook()
    (post,) = only(book.modern_call(1, name="wipe", **odd), Post)
    assert ("Mcp-Name", "wipe") in post.headers
    assert post.record is not None
    assert post.record.tool == "wipe"


def test_cancelling_closes_the_exchange_and_sends_nothing() -> None:
    book = Playbook()
    posted = book.call_of(book.modern_call(name="pay"))
    done = book.host(method="notifications/cancelled", params={"requestId": 1})
    assert Abort(posted) in done
    assert posts(done) == []
    assert [s.outcome for s in only(done, Settle)] == ["cancelled"]


def test_a_subscription_has_no_deadline() -> None:
    book = Playbook()
    posted = book.call_of(book.modern_call(1, "subscriptions/listen", notifications={}))
    book.after(10_000)
    assert told(book.upstream(posted, method="notifications/tools/list_changed")) != []


def test_discover_passes_and_is_remembered() -> None:
    book = Playbook()
    posted = book.call_of(book.modern_call(1, "server/discover"))
    done = book.upstream(posted, id=1, result=DISCOVERED)
    assert told(done)[0]["result"] == DISCOVERED
    assert [learn.key for learn in only(done, Learn)] == ["server/discover"]


@pytest.mark.parametrize("status", [400, 404, 405])
def test_a_legacy_server_makes_a_dual_era_host_fall_back(status: int) -> None:
    book = Playbook()
    posted = book.call_of(book.modern_call(1, "server/discover"))
    (answer,) = told(book.ended(posted, status, body=b"Missing session ID"))
    assert answer["error"]["code"] == -32601
    assert book.catalogue["server/discover"] == b"null"
    assert posts(book.host(id=2, method="initialize", params=hello()))[0]["method"] == "initialize"


def test_a_legacy_server_that_advertises_itself_makes_it_fall_back_too() -> None:
    book = Playbook()
    posted = book.call_of(book.modern_call(1, "server/discover"))
    (answer,) = told(book.upstream(posted, id=1, result={**DISCOVERED, "supportedVersions": ["2025-11-25"]}))
    assert answer["error"]["code"] == -32601


def test_a_remembered_era_is_answered_at_once() -> None:
    known = Playbook({"server/discover": json.dumps(DISCOVERED).encode()})
    assert told(known.modern_call(1, "server/discover"))[0]["result"] == DISCOVERED
    legacy = Playbook({"server/discover": b"null"})
    assert told(legacy.modern_call(1, "server/discover"))[0]["error"]["code"] == -32601


def test_a_modern_error_with_a_status_reaches_the_host() -> None:
    book = Playbook()
    posted = book.call_of(book.modern_call(name="pay"))
    body = b'{"jsonrpc":"2.0","id":1,"error":{"code":-32021,"message":"needs elicitation"}}'
    (answer,) = told(book.ended(posted, 400, body=body))
    assert answer["error"]["code"] == -32021


def test_an_error_that_could_not_name_the_request_gets_its_id() -> None:
    book = Playbook({"server/discover": json.dumps(DISCOVERED).encode()})
    posted = book.call_of(book.modern_call("x", name="pay"))
    (answer,) = told(book.ended(posted, 400, body=b'{"jsonrpc":"2.0","error":{"code":-32602,"message":"no _meta"}}'))
    assert answer == {"jsonrpc": "2.0", "id": "x", "error": {"code": -32602, "message": "no _meta"}}


def test_a_server_that_has_become_legacy_is_told_apart_from_one_that_is_broken() -> None:
    book = Playbook({"server/discover": json.dumps(DISCOVERED).encode()})
    posted = book.call_of(book.modern_call(name="pay"))
    (answer,) = told(book.ended(posted, 400, body=b"Bad Request: Server not initialized"))
    assert answer["result"]["_meta"]["io.github.acp-stdio/reason"] == "era_mismatch"
    assert answer["result"]["resultType"] == "complete"


def test_signed_out_the_list_is_made_up_in_the_hosts_era() -> None:
    book = Playbook(signed_in=False)
    book.modern_call(1, "server/discover")
    posted = book.call_of(book.modern_call(2, "tools/list"))
    (answer,) = told(book.refused(posted))
    assert answer["result"]["resultType"] == "complete"
    assert [t["name"] for t in answer["result"]["tools"]] == ["acp_login", "acp_status"]


def test_a_prelude_can_have_answered_discover() -> None:
    book = Playbook({"server/discover": json.dumps(DISCOVERED).encode()})
    raw = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": MODERN_META}})
    book.relay.handshake_was_answered(frames.parse(raw.encode()))
    assert book.relay.agent.name == "claude-code"
    assert [json.loads(post.raw)["method"] for post in only(book.relay.reach_out(0), Post)] == ["server/discover"]


def test_who_has_to_sign_in_again_finds_the_tool_for_that_where_nothing_else_is_known() -> None:
    book = Playbook()
    posted = book.call_of(book.modern_call(1, "tools/list"))
    (answer,) = told(book.ended(posted, 401))
    assert [tool["name"] for tool in answer["result"]["tools"]] == ["acp_login", "acp_status"]
