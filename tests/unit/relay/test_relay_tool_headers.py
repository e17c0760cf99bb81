"""Tools whose `x-mcp-header` breaks the rules are not offered; the others are, as they came (MCP 2026-07-28)."""

import json
from typing import Any

import pytest

from acp_stdio.catalogue.model import list_key
from acp_stdio.relay.commands import Post
from tests.kit.playbook import Playbook, only, told

GOOD = {"name": "good", "inputSchema": {"type": "object", "properties": {"a": {"type": "string", "x-mcp-header": "A"}}}}
BAD = {"name": "bad", "inputSchema": {"type": "object", "properties": {"a": {"type": "number", "x-mcp-header": "A"}}}}
ODD: dict[str, Any] = {"name": "odd", "outputSchema": 1.0}
"""No input schema: not our business."""


def listed(book: Playbook, *tools: dict[str, Any], modern: bool = True) -> list[str]:
    """The names that the host gets when the server lists these tools."""
    done = book.modern_call(1, "tools/list") if modern else book.host(id=1, method="tools/list")
    (answer,) = told(book.upstream(book.call_of(done), id=1, result={"tools": list(tools), "ttlMs": 5}))
    assert answer["result"]["ttlMs"] == 5
    return [tool["name"] for tool in answer["result"]["tools"]]


@pytest.mark.parametrize("helpers", [True, False])
def test_a_tool_that_breaks_the_rules_is_dropped_and_hides_no_other(helpers: bool) -> None:
    ours = ["acp_login", "acp_status"] if helpers else []
    book = Playbook(helpers=helpers)
    assert listed(book, GOOD, BAD, ODD) == ["good", "odd", *ours]
    (warning,) = book.warnings
    assert "'bad' is not offered" in warning, "the name and the reason are for the log (server/tools)"
    assert "a type other than" in warning


def test_what_a_server_calls_its_tools_makes_no_second_line_in_the_log() -> None:
    book = Playbook()
    listed(book, {**BAD, "name": "x\n2026-01-01 INFO all is well" * 9})
    (warning,) = book.warnings
    assert warning.isprintable()
    assert len(warning) < 400


def test_a_page_of_good_tools_goes_on_byte_for_byte() -> None:
    book = Playbook(helpers=False)
    raw = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"tools": [GOOD, ODD], "n": 1.0}}, indent=1).encode()
    book.upstream_raw(book.call_of(book.modern_call(1, "tools/list")), raw)
    assert raw in [getattr(command, "raw", None) for command in book.done]


def test_a_legacy_server_may_call_anything_so() -> None:
    book = Playbook()
    book.open_session()
    assert listed(book, GOOD, BAD, modern=False)[:2] == ["good", "bad"]


def test_a_tool_is_not_offered_from_memory_either() -> None:
    key = list_key("tools/list", "", modern=True)
    book = Playbook({key: json.dumps({"tools": [GOOD, BAD]}).encode()})
    book.modern_call(1, "tools/list")
    (answer,) = told(book.after(2.0))
    assert [tool["name"] for tool in answer["result"]["tools"]] == ["good", "acp_login", "acp_status"]


def test_an_annotation_that_is_gone_is_forgotten() -> None:
    book = Playbook()
    listed(book, GOOD)
    plain = {"name": "good", "inputSchema": {"type": "object"}}
    listed(book, plain, {**GOOD, "name": "other"})
    (post,) = only(book.modern_call(2, name="good", arguments={"a": "x"}), Post)
    assert "Mcp-Param-A" not in dict(post.headers)
