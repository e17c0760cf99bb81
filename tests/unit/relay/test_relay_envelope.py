"""A request that fits no era is refused here, and changes nothing (MCP 2026-07-28, basic)."""

import json
from typing import Any

import pytest

from acp_stdio.relay.commands import Post
from tests.kit.playbook import MODERN_META, Playbook, hello, only, posts, told

VERSION = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
DISCOVERED: dict[str, Any] = {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {}}


def knowing() -> Playbook:
    return Playbook({"server/discover": json.dumps(DISCOVERED).encode()})


def without(key: str) -> dict[str, Any]:
    return {"_meta": {name: value for name, value in MODERN_META.items() if name != key}}


@pytest.mark.parametrize("params", [{}, {"_meta": 5}, without(VERSION), without(CAPABILITIES)])
def test_a_discover_that_does_not_say_what_it_must_is_refused_though_its_answer_is_remembered(params: Any) -> None:
    (answer,) = told(knowing().host(id="a", method="server/discover", params=params))
    assert (answer["id"], answer["error"]["code"]) == ("a", -32602)


def test_a_discover_without_a_client_info_is_answered() -> None:
    (answer,) = told(
        knowing().host(id=1, method="server/discover", params=without("io.modelcontextprotocol/clientInfo"))
    )
    assert answer["result"] == DISCOVERED


def test_a_version_that_nobody_knows_is_told_which_are_spoken() -> None:
    meta = {**MODERN_META, VERSION: "v999.0.0"}
    (answer,) = told(knowing().host(id=1, method="server/discover", params={"_meta": meta}))
    assert answer["error"]["code"] == -32022
    assert answer["error"]["data"] == {"supported": ["2026-07-28"], "requested": "v999.0.0"}


def test_a_request_without_a_version_does_not_reach_the_server_as_one_of_the_other_era() -> None:
    book = knowing()
    book.modern_call(1, "server/discover")
    done = book.host(id=2, method="tools/call", params={"name": "pay"})
    assert told(done)[0]["error"]["code"] == -32602
    assert posts(done) == []


def test_an_initialize_of_the_modern_era_is_unknown_and_forgets_nothing() -> None:
    book = Playbook()
    book.open_session()
    done = book.host(id=2, method="initialize", params={**hello(), "_meta": MODERN_META})
    assert told(done)[0]["error"]["code"] == -32601
    (post,) = only(book.host(id=3, method="tools/call", params={"name": "pay"}), Post)
    assert ("Mcp-Session-Id", "S1") in post.headers


def test_a_host_that_said_initialize_needs_no_version_in_its_requests() -> None:
    book = Playbook()
    book.modern_call(1, "server/discover")
    book.open_session()
    assert len(only(book.host(id=2, method="tools/call", params={"name": "pay"}), Post)) == 1


@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_a_request_that_can_be_read_in_two_ways_is_not_sent(era: str) -> None:
    book = Playbook()
    meta = b""
    if era == "legacy":
        book.open_session()
    else:
        meta = b',"_meta":' + json.dumps(MODERN_META).encode()
    done = book.host_raw(
        b'{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"read","name":"wipe","arguments":{}%b}}' % meta
    )
    assert only(done, Post) == []
    (answer,) = told(done)
    assert (answer["id"], answer["error"]["code"]) == (9, -32600)
    assert "'name' stands twice" in answer["error"]["message"]
