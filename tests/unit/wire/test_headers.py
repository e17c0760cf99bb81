"""MCP's header rules, also as the MCP SDK's server reads them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared.inbound import decode_header_value, find_invalid_x_mcp_header, validate_mcp_param_headers

from acp_stdio.wire.headers import (
    InvalidAnnotation,
    encode_value,
    header_annotations,
    header_block,
    param_headers,
    request_headers,
)

NASTY = st.text(
    st.one_of(st.sampled_from("\r\n\0\t \x7f:=?ab64\u2028é"), st.characters(exclude_categories=["Cs"])), max_size=30
)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        ("get_weather", "get_weather"),
        ("a b\tc", "a b\tc"),
        ("", ""),
        (" a", "=?base64?IGE=?="),
        ("a ", "=?base64?YSA=?="),
        ("café", "=?base64?Y2Fmw6k=?="),
        ("a\r\nEvil: 1", "=?base64?YQ0KRXZpbDogMQ==?="),
        ("=?base64?YQ==?=", "=?base64?PT9iYXNlNjQ/WVE9PT89?="),
        ("=?BASE64?YQ==?=", "=?BASE64?YQ==?="),
        ("=?base64?", "=?base64?"),
        ("a\x7f", "=?base64?YX8=?="),
        ("\ud800", "=?base64?7aCA?="),
    ],
)
def test_a_value_is_plain_where_http_carries_it_and_encoded_elsewhere(value: str, encoded: str) -> None:
    assert encode_value(value) == encoded


@given(NASTY)
def test_a_server_reads_back_the_value_that_was_meant(value: str) -> None:
    assert decode_header_value(encode_value(value)) == value


@given(method=NASTY, version=NASTY, name=NASTY, argument=NASTY)
def test_no_value_can_begin_another_header(method: str, version: str, name: str, argument: str) -> None:
    headers = request_headers("tools/call", version, {"name": name})
    headers += request_headers(method, version, {"name": name, "uri": name, "taskId": name})
    headers += param_headers({("a",): "Region"}, {"a": argument})
    block = header_block(headers)
    lines = block.split(b"\r\n")
    assert len(lines) == len(headers) + 1
    assert lines[-1] == b""
    assert block.count(b"\n") == block.count(b"\r") == len(headers)
    assert [line.split(b": ", 1)[0].decode() for line in lines[:-1]] == [name for name, _ in headers]


@given(st.lists(st.tuples(NASTY, NASTY), max_size=3))
def test_a_block_is_one_line_a_header_or_nothing(headers: list[tuple[str, str]]) -> None:
    try:
        block = header_block(headers)
    except ValueError:
        return
    assert block.count(b"\n") == block.count(b"\r\n") == block.count(b"\r") == len(headers)
    assert b"\0" not in block
    assert not block.startswith((b" ", b"\t"))


@pytest.mark.parametrize(
    ("name", "value"),
    [("A", "b\r\nC: d"), ("A", "b\nC: d"), ("A\r\nB", "c"), ("A B", "c"), ("", "c"), ("A", "\0"), ("A", "€")],
)
def test_what_would_not_be_one_header_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="HTTP does not carry"):
        header_block([("Before", "1"), (name, value)])


@pytest.mark.parametrize(
    ("method", "params", "name"),
    [
        ("tools/call", {"name": "report", "arguments": {}}, "report"),
        ("prompts/get", {"name": "sum"}, "sum"),
        ("resources/read", {"uri": "file:///a%20b", "name": "no"}, "file:///a%20b"),
        ("tasks/get", {"taskId": "t1"}, "t1"),
        ("tasks/update", {"taskId": "t1"}, "t1"),
        ("tasks/cancel", {"taskId": "tä"}, "=?base64?dMOk?="),
        ("tools/list", {"name": "no"}, None),
        ("tools/call", {"name": 7}, None),
        ("tools/call", None, None),
        ("x/unknown", {"name": "no"}, None),
    ],
)
def test_a_request_says_its_method_and_what_it_names(
    method: str, params: dict[str, Any] | None, name: str | None
) -> None:
    expected = [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", method)]
    assert request_headers(method, "2026-07-28", params) == expected + ([("Mcp-Name", name)] if name else [])


def prop(token: object, kind: object = "string", **more: object) -> dict[str, Any]:
    return {"type": kind, "x-mcp-header": token, **more}


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "region": prop("Region"),
        "limit": prop("Limit", "integer"),
        "plain": {"type": "string", "default": {"x-mcp-header": "data, not a schema"}},
        "x-mcp-header": {"type": "string"},
        "where": {"type": "object", "properties": {"dry": prop("dry-run", "boolean")}},
    },
    "enum": [{"x-mcp-header": "data"}],
}


def test_annotations_are_found_along_properties() -> None:
    assert header_annotations(SCHEMA) == {
        ("region",): "Region",
        ("limit",): "Limit",
        ("where", "dry"): "dry-run",
    }
    assert header_annotations({}) == {}


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": prop("")}},
        {"properties": {"a": prop("a b")}},
        {"properties": {"a": prop("a\r\nb")}},
        {"properties": {"a": prop("a\n")}},
        {"properties": {"a": prop("é")}},
        {"properties": {"a": prop(7)}},
        {"properties": {"a": prop(None)}},
        {"properties": {"a": prop("a", "number")}},
        {"properties": {"a": prop("a", "object")}},
        {"properties": {"a": prop("a", ["string", "null"])}},
        {"properties": {"a": {"x-mcp-header": "a"}}},
        {"properties": {"a": prop("Same"), "b": prop("sAME")}},
        {"properties": {"a": prop("Same"), "b": {"properties": {"c": prop("same")}}}},
        {"type": "string", "x-mcp-header": "root"},
        {"properties": {"a": {"items": prop("a")}}},
        {"properties": {"a": {"items": [prop("a")]}}},
        {"properties": {"a": {"items": {"properties": {"b": prop("a")}}}}},
        {"allOf": [{"properties": {"a": prop("a")}}]},
        {"anyOf": [{"properties": {"a": prop("a")}}]},
        {"oneOf": [{"oneOf": [prop("a")]}]},
        {"not": prop("a")},
        {"if": {"properties": {"a": prop("a")}}},
        {"then": {"properties": {"a": prop("a")}}},
        {"else": {"properties": {"a": prop("a")}}},
        {"additionalProperties": prop("a")},
        {"patternProperties": {"^a": prop("a")}},
        {"dependentSchemas": {"a": {"properties": {"b": prop("a")}}}},
        {"$defs": {"a": prop("a")}},
        {"definitions": {"a": prop("a")}},
        {"prefixItems": [prop("a")]},
        {"propertyNames": prop("a")},
        {"properties": {"good": prop("good"), "bad": prop("a b")}},
    ],
)
def test_one_annotation_that_breaks_a_rule_makes_the_tool_unfit(schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidAnnotation) as error:
        header_annotations(schema)
    assert "x-mcp-header" in str(error.value)
    if schema.get("properties", {}).get("a", {}).get("items") != [prop("a")]:  # draft-07; the SDK reads 2020-12
        assert find_invalid_x_mcp_header(schema) is not None


def test_a_schema_nested_without_end_is_read() -> None:
    schema: dict[str, Any] = {"properties": {"a": prop("deep")}}
    for _ in range(100_000):
        schema = {"properties": {"a": schema}}
    assert list(header_annotations(schema).values()) == ["deep"]
    while schema:  # taken apart by hand: not every interpreter frees such depth by itself
        schema = schema.get("properties", {}).get("a", {})


def test_arguments_travel_as_text_and_absent_or_null_ones_not_at_all() -> None:
    annotations = header_annotations(SCHEMA)
    assert param_headers(annotations, {"region": "eu", "limit": 9007199254740991, "where": {"dry": True}}) == [
        ("Mcp-Param-Region", "eu"),
        ("Mcp-Param-Limit", "9007199254740991"),
        ("Mcp-Param-dry-run", "true"),
    ]
    assert param_headers(annotations, {"region": None, "limit": 42.0, "where": "text"}) == [("Mcp-Param-Limit", "42")]
    assert param_headers(annotations, {"region": " é", "where": {"dry": False}}) == [
        ("Mcp-Param-Region", "=?base64?IMOp?="),
        ("Mcp-Param-dry-run", "false"),
    ]
    assert param_headers(annotations, {"region": ["a"], "limit": {}, "where": []}) == []
    assert param_headers(annotations, {"limit": 10**5000}) == []
    assert param_headers(annotations, {"limit": float("inf")}) == [("Mcp-Param-Limit", "inf")]


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "region": st.none() | NASTY | st.integers() | st.booleans(),
            "limit": st.none() | st.integers() | st.integers(-(2**53), 2**53).map(float) | NASTY,
            "where": st.none() | st.fixed_dictionaries({}, optional={"dry": st.none() | st.booleans()}),
        },
    )
)
def test_the_sdks_server_agrees_with_our_headers(arguments: dict[str, Any]) -> None:
    headers = dict(param_headers(header_annotations(SCHEMA), arguments))
    assert validate_mcp_param_headers(SCHEMA, arguments, headers) is None
