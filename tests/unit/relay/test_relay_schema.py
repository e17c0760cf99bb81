"""A call whose headers the server refuses: the tools are read again, and it is sent once more (MCP 2026-07-28)."""

from typing import Any

import pytest

from acp_stdio.relay.commands import Command, Post, Settle
from tests.kit.playbook import SIGNED_OUT, Playbook, only, posts, told

MISMATCH = {"code": -32020, "message": "Mcp-Param-Region is missing"}
BODY = b'{"jsonrpc":"2.0","id":1,"error":{"code":-32020,"message":"Mcp-Param-Region is missing"}}'
REGION = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
PAY: dict[str, Any] = {"name": "pay", "inputSchema": REGION}


def refused_call(book: Playbook, how: str = "status") -> tuple[int, list[Command]]:
    """A call of `pay` that the server refuses for its headers; the call, and what the relay does then."""
    call = book.call_of(book.modern_call(1, name="pay", arguments={"region": "eu"}))
    if how == "status":
        return call, book.ended(call, 400, body=BODY)
    return call, book.upstream(call, id=1, error=MISMATCH)


@pytest.mark.parametrize("how", ["status", "answer"])
def test_the_call_is_sent_again_with_the_headers_that_the_tools_ask_for_now(how: str) -> None:
    book = Playbook()
    call, asked = refused_call(book, how)
    assert told(asked) == []
    (reading,) = only(asked, Post)
    assert (posts(asked)[0]["method"], reading.record) == ("tools/list", None)
    assert ("Mcp-Method", "tools/list") in reading.headers
    again = book.upstream(reading.call, id=posts(asked)[0]["id"], result={"tools": [PAY]})
    (post,) = only(again, Post)
    assert (post.call, ("Mcp-Param-Region", "eu") in post.headers) == (call, True)
    done = book.upstream(call, id=1, result={"content": []})
    assert [frame["id"] for frame in told(done)] == [1]
    assert [settled.outcome for settled in only(book.done, Settle)] == ["ok"]


def test_the_tool_may_stand_on_a_later_page() -> None:
    book = Playbook()
    call, asked = refused_call(book)
    for cursor in ("two", "three"):
        asked = book.upstream(book.call_of(asked), id=posts(asked)[0]["id"], result={"tools": [], "nextCursor": cursor})
        assert posts(asked)[0]["params"]["cursor"] == cursor
    again = book.upstream(book.call_of(asked), id=posts(asked)[0]["id"], result={"tools": [PAY]})
    assert [post.call for post in only(again, Post)] == [call]


def test_a_second_refusal_reaches_the_host() -> None:
    book = Playbook()
    call, asked = refused_call(book)
    book.upstream(book.call_of(asked), id=posts(asked)[0]["id"], result={"tools": [PAY]})
    done = book.ended(call, 400, body=BODY)
    assert (posts(done), told(done)[0]["error"]["code"]) == ([], -32020)


def test_a_call_that_would_be_sent_as_it_was_is_not_sent_again() -> None:
    book = Playbook()
    _, asked = refused_call(book)
    done = book.upstream(book.call_of(asked), id=posts(asked)[0]["id"], result={"tools": []})
    assert (posts(done), told(done)[0]["error"]) == ([], MISMATCH)


@pytest.mark.parametrize("end", ["an error", "a status", "no network", "no token"])
def test_where_the_tools_cannot_be_read_the_host_gets_the_servers_own_words(end: str) -> None:
    book = Playbook()
    _, asked = refused_call(book)
    reading = book.call_of(asked)
    done = {
        "an error": lambda: book.upstream(reading, id=posts(asked)[0]["id"], error={"code": -32603, "message": "no"}),
        "a status": lambda: book.ended(reading, 500),
        "no network": lambda: book.ended(reading, None, sent=False, why="no network"),
        "no token": lambda: book.refused(reading, SIGNED_OUT),
    }[end]()
    assert [frame["error"] for frame in told(done)] == [MISMATCH]
    assert [settled.outcome for settled in only(done, Settle)] == ["error"]


def test_a_call_that_is_cancelled_meanwhile_is_not_sent_again() -> None:
    book = Playbook()
    _, asked = refused_call(book)
    book.host(method="notifications/cancelled", params={"requestId": 1})
    done = book.upstream(book.call_of(asked), id=posts(asked)[0]["id"], result={"tools": [PAY]})
    assert (posts(done), told(done)) == ([], [])
    assert [settled.outcome for settled in only(book.done, Settle)] == ["cancelled"]


def test_other_requests_are_not_repeated() -> None:
    book = Playbook()
    call = book.call_of(book.modern_call(1, "prompts/get", name="pay"))
    done = book.ended(call, 400, body=BODY)
    assert (posts(done), told(done)[0]["error"]) == ([], MISMATCH)


def test_a_sign_in_that_ends_meanwhile_leaves_a_call_that_was_sent_and_not_carried_out() -> None:
    book = Playbook()
    refused_call(book)
    (answer,) = told(book.relay.signed_out(SIGNED_OUT, book.now))
    assert answer["result"]["content"][0]["text"].startswith("Nothing was carried out.")
