"""An edit changes one value, and every other byte of a person's file stays as it was."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acp_stdio.hosts.edit import drop, put
from acp_stdio.hosts.jsonc import NotJson, Number, parse

NEW = {"command": "/opt/acp-stdio", "args": ["run", "finance"]}
PATH = ("mcpServers", "finance")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
OBJECT = st.dictionaries(st.text(max_size=8), JSON, max_size=5)
LAYOUT = st.sampled_from([None, 0, 1, 2, 4, "\t"])


def _plain(value: Any) -> Any:
    """The reader's value as `json` would have it."""
    if isinstance(value, Number):
        return json.loads(value.text)
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}  # pyright: ignore[reportUnknownVariableType]  # JSON
    if isinstance(value, list):
        return [_plain(inner) for inner in value]  # pyright: ignore[reportUnknownVariableType]  # JSON
    return value


@given(value=JSON, indent=LAYOUT, ascii=st.booleans())
def test_the_reader_agrees_with_the_standard_library(value: Any, indent: Any, ascii: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii)
    document = parse(text)
    assert _plain(document.root.value) == value
    assert not document.relaxed
    assert parse("\ufeff" + text).root.value == document.root.value


@given(text=st.text(alphabet='{}[]",:/*\\ \n019.eE-truefalsn\ufeffu', max_size=30))
def test_what_the_reader_takes_as_plain_json_is_plain_json(text: str) -> None:
    try:
        expected = json.loads(text.removeprefix("\ufeff"))
    except ValueError:
        try:
            assert parse(text).relaxed
        except NotJson as problem:
            line = problem.line
            assert 1 <= line <= text.count("\n") + 1
    else:
        assert _plain(parse(text).root.value) == expected


@given(whole=OBJECT, servers=OBJECT, has_servers=st.booleans(), indent=LAYOUT)
def test_put_and_drop_give_the_same_value_back(
    whole: dict[str, Any], servers: dict[str, Any], has_servers: bool, indent: Any
) -> None:
    servers.pop("finance", None)
    whole.pop("mcpServers", None)
    if has_servers:
        whole["mcpServers"] = servers
    text = json.dumps(whole, indent=indent)
    added = put(text, PATH, NEW)
    assert json.loads(added) == {**whole, "mcpServers": {**whole.get("mcpServers", {}), "finance": NEW}}
    assert list(json.loads(added)) == list(dict.fromkeys([*whole, "mcpServers"]))
    back = drop(added, PATH)
    assert json.loads(back) == {**whole, "mcpServers": whole.get("mcpServers", {})}
    if has_servers:
        assert back == text
    assert drop(back, PATH) == back


@given(whole=OBJECT, indent=LAYOUT.filter(bool))
def test_a_file_as_hosts_write_it_keeps_its_form(whole: dict[str, Any], indent: Any) -> None:
    servers: dict[str, Any] = {"other": {"command": "x"}}
    whole["mcpServers"] = servers
    text = json.dumps(whole, indent=indent, ensure_ascii=False)
    servers["finance"] = NEW
    assert put(text, PATH, NEW) == json.dumps(whole, indent=indent, ensure_ascii=False)


SERVERS = '"mcpServers": {'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("{}", '{\n  "mcpServers": {\n    "finance": 1\n  }\n}'),
        ("{\n}\n", '{\n  "mcpServers": {\n    "finance": 1\n  }\n}\n'),
        ('{"a":1}', '{"a":1, "mcpServers": {"finance": 1}}'),
        ('{"mcpServers":{}}', '{"mcpServers":{"finance": 1}}'),
        ('{\r\n\t"mcpServers": {}\r\n}', '{\r\n\t"mcpServers": {\r\n\t\t"finance": 1\r\n\t}\r\n}'),
        ('\ufeff{\n    "a": 1\n}', '\ufeff{\n    "a": 1,\n    "mcpServers": {\n        "finance": 1\n    }\n}'),
        ('{\n  "a": 1, // why\n}', '{\n  "a": 1, // why\n  "mcpServers": {\n    "finance": 1\n  },\n}'),
        (
            '{\n  "a": 1 /* why */ // and\n}',
            '{\n  "a": 1, /* why */ // and\n  "mcpServers": {\n    "finance": 1\n  }\n}',
        ),
        ('{"a": 1 // why\n}', '{"a": 1, // why\n"mcpServers": {"finance": 1}\n}'),
        ("{\n  // nothing yet\n}", '{\n  // nothing yet\n  "mcpServers": {\n    "finance": 1\n  }\n}'),
        ('{\n  "mcpServers": {"finance": {"x": [1]}, "b": 2}\n}', '{\n  "mcpServers": {"finance": 1, "b": 2}\n}'),
    ],
)
def test_put_takes_the_files_own_habits(before: str, after: str) -> None:
    assert put(before, PATH, 1) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"mcpServers": {"finance": 1, "b": 2}}', '{"mcpServers": {"b": 2}}'),
        ('{"mcpServers": {"a": 1, "finance": 2}}', '{"mcpServers": {"a": 1}}'),
        ('{"mcpServers": {"a": 1, "finance": 2, "c": 3}}', '{"mcpServers": {"a": 1, "c": 3}}'),
        ('{"mcpServers": {\n  "a": 1,\n  "finance": 2,\n}}', '{"mcpServers": {\n  "a": 1,\n}}'),
        ('{"mcpServers": {\n"a": 1, // mine\n"finance": 2}}', '{"mcpServers": {\n"a": 1 // mine\n}}'),
        ('{"mcpServers": {\n"a": 1, // mine\n"finance": 2, "c": 3}}', '{"mcpServers": {\n"a": 1, // mine\n"c": 3}}'),
        ('{"mcpServers": {\n"finance": 2 // theirs\n}}', '{"mcpServers": {\n // theirs\n}}'),
        ('{"mcpServers": {"finance": 2, // x\n "c": 3}}', '{"mcpServers": {// x\n "c": 3}}'),
        ('{"mcpServers": {"other": 2}}', '{"mcpServers": {"other": 2}}'),
        ("{}", "{}"),
    ],
)
def test_drop_takes_one_member_and_no_remark_of_anybody(before: str, after: str) -> None:
    assert drop(before, PATH) == after
    parse(after)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 1),
        ('{\n  "a": 1\n  "b": 2\n}', 3),
        ('{\n  "a": \n}', 3),
        ("{\n\n  a: 1\n}", 3),
        ('{"a": 1}\n}', 2),
        ('{\n"a": "open\n}', 2),
        ('{"a": "\\x"}', 1),
        ("{\n/* open", 2),
        ('{"a": [1 2]}', 1),
        ('{"a": NaN}', 1),
        ('{"a": 01}', 1),
        ("[" * 100_000, 1),
    ],
)
def test_what_is_garbled_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(NotJson) as caught:
        parse(text)
    assert caught.value.line == line


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '{"mcpServers": []}',
        '{"mcpServers": {}, "mcpServers": {}}',
        '{"mcpServers": {"finance": 1, "finance": 2}}',
    ],
)
def test_a_place_that_is_not_there_or_there_twice_is_not_guessed(text: str) -> None:
    with pytest.raises(NotJson):
        put(text, PATH, 1)
    with pytest.raises(NotJson):
        drop(text, PATH)


def test_a_number_is_never_rounded() -> None:
    text = '{"big": 12345678901234567890.10, "e": 1e999}'
    assert drop(put(text, ("x",), 1), ("x",)) == text
    assert parse(text).root.value["big"] == Number("12345678901234567890.10")
