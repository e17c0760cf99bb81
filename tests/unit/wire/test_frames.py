"""The envelope of a message is read; all else is the bytes that came."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acp_stdio.wire import frames
from acp_stdio.wire.framing import LineBuffer

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"nonsense", -32700),
        (b'{"method":"a","params":NaN}', -32700),
        (b"\xff\xfe", -32700),
        (b"[]", -32600),
        (b'[{"jsonrpc":"2.0","id":1,"method":"a"}]', -32600),
        (b"1", -32600),
        (b'{"jsonrpc":"2.0","id":1}', -32600),
        (b'{"method":5}', -32600),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", -32600),
    ],
)
def test_what_is_no_message_is_said_to_be_none(raw: bytes, code: int) -> None:
    with pytest.raises(frames.BadFrame) as caught:
        frames.parse(raw)
    assert caught.value.code == code


@given(raw=st.binary(max_size=200))
def test_any_bytes_are_a_message_or_the_promised_error(raw: bytes) -> None:
    code = None
    try:
        assert frames.parse(raw).raw == raw
    except frames.BadFrame as problem:
        code = problem.code
    assert code in (None, -32700, -32600)


@given(frame_id=st.integers() | st.text(), params=JSON)
def test_any_json_request_is_read_and_kept(frame_id: object, params: object) -> None:
    raw = json.dumps({"jsonrpc": "2.0", "id": frame_id, "method": "m", "params": params, "extra": 1}).encode()
    frame = frames.parse(raw)
    assert frame.raw == raw
    assert frame.is_request
    assert json.loads(frame.id or b"") == frame_id


def test_a_lone_surrogate_passes_though_the_fast_reader_refuses_it() -> None:
    raw = b'{"jsonrpc":"2.0","id":"\\ud800","method":"m","params":{"a":"\\udfff"}}'
    frame = frames.parse(raw)
    assert (frame.raw, frame.id) == (raw, b'"\\ud800"')


def test_ids_of_different_kinds_are_different_and_spellings_are_not() -> None:
    key = frames.id_key
    assert len({key(b"1"), key(b'"1"'), key(b"1.0")}) == 3
    assert key(b'"\\u00e9"') == key('"é"'.encode())


@given(
    lines=st.lists(st.binary(min_size=1, max_size=30).filter(lambda b: not set(b) & set(b"\r\n \t")), max_size=6),
    cuts=st.lists(st.integers(min_value=0, max_value=200), max_size=8),
)
def test_lines_come_out_the_same_however_they_are_cut(lines: list[bytes], cuts: list[int]) -> None:
    text = b"".join(line + b"\r\n" for line in lines)
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    buffer = LineBuffer()
    found = [line for a, b in itertools.pairwise(places) for line in buffer.feed(text[a:b])]
    assert found == lines


@given(cut=st.integers(min_value=0, max_value=40))
def test_a_line_above_the_limit_is_said_and_the_next_one_is_read(cut: int) -> None:
    text = b"123456789\n12345678901\nshort\n"
    buffer = LineBuffer(limit=10)
    assert buffer.feed(text[:cut]) + buffer.feed(text[cut:]) == [b"123456789", None, b"short"]


def test_a_line_without_an_end_is_not_kept() -> None:
    buffer = LineBuffer(limit=10)
    for _ in range(5):
        assert buffer.feed(b"x" * 8) == []
    assert buffer.feed(b"\nnext\n") == [None, b"next"]


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b'{"id":1,"method":"ping","method":"tools/call"}', "method"),
        (b'{"id":1,"method":"a","params":{"name":"read","arguments":{},"name":"wipe"}}', "name"),
        (b'{"id":1,"method":"a","params":{"a":[{"x":[{"deep":1,"\\u0064eep":2}]}]}}', "deep"),
    ],
)
def test_a_name_that_stands_twice_is_named(raw: bytes, name: str) -> None:
    with pytest.raises(frames.BadFrame, match=f"'{name}' stands twice") as caught:
        frames.check_unambiguous(raw)
    assert caught.value.code == -32600


def test_what_is_nested_too_deep_for_a_reader_is_refused() -> None:
    raw = b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"
    with pytest.raises(frames.BadFrame, match="nested too deep"):
        frames.check_unambiguous(raw)


@given(params=JSON)
def test_what_every_reader_reads_alike_is_not_refused(params: object) -> None:
    frames.check_unambiguous(json.dumps({"id": 1, "method": "m", "params": params}).encode())


CALL = b'{"id":1,"method":"tools/call","params":{"name":"read","arguments":{"a":1},"_meta":{}%b}%b}'


@pytest.mark.parametrize(
    ("params", "top", "name", "meant"),
    [
        (b',"Name":"wipe"', b"", "Name", "name"),
        (b',"ARGUMENTS":{}', b"", "ARGUMENTS", "arguments"),
        ((',"argument\u017f":{}').encode(), b"", "argument\\\\u017f", "arguments"),  # U+017F folds to s, also in Go
        (b',"n\\u0041me":"wipe"', b"", "nAme", "name"),
        (b',"_Meta":{}', b"", "_Meta", "_meta"),
        (b',"URI":"x"', b"", "URI", "uri"),
        (b"", b',"Method":"ping"', "Method", "method"),
        (b"", b',"Params":{"name":"wipe"}', "Params", "params"),
        (b"", b',"ID":2', "ID", "id"),
    ],
)
def test_a_name_that_some_servers_take_for_another_is_refused(params: bytes, top: bytes, name: str, meant: str) -> None:
    with pytest.raises(frames.BadFrame, match=f"'{name}' would be read as '{meant}'") as caught:
        frames.check_unambiguous(CALL % (params, top))
    assert caught.value.code == -32600


@pytest.mark.parametrize("method", ["tools/call", "prompts/get", "resources/read"])
def test_the_other_spelling_is_refused_also_alone(method: str) -> None:
    """The rules would judge a call of nothing, and the server carry out another."""
    with pytest.raises(frames.BadFrame, match="'Name' would be read as 'name'"):
        frames.check_unambiguous(b'{"id":1,"method":"%b","params":{"Name":"wipe"}}' % method.encode())


@pytest.mark.parametrize(
    "raw",
    [
        b'{"id":1,"method":"tools/call","params":{"name":"a","arguments":{"Name":1,"name":2,"params":{"URI":1}}}}',
        b'{"id":1,"method":"tools/call","params":{"name":"a","_meta":{"Name":1,"ID":2,"id":3}}}',
        b'{"id":1,"method":"vendor/thing","params":{"Name":"a","URI":"b","name":"c"}}',
    ],
)
def test_case_is_the_callers_in_arguments_and_the_servers_in_methods_that_we_do_not_know(raw: bytes) -> None:
    frames.check_unambiguous(raw)


def test_numbers_of_any_size_are_no_ambiguity() -> None:
    frames.check_unambiguous(b'{"id":%b,"method":"m","params":{"a":1e999,"b":"\\ud800"}}' % (b"1" * 5000))


def test_a_batch_is_its_messages_as_they_came_and_each_bad_one_is_said() -> None:
    raw = b'[{"jsonrpc":"2.0","id":1.0,"method":"a"}, 5 ,{"method":"b"}]'
    first, second, third = frames.messages(raw, batches=True)
    assert isinstance(first, frames.Frame)
    assert first.raw == b'{"jsonrpc":"2.0","id":1.0,"method":"a"}'
    assert isinstance(second, frames.BadFrame)
    assert isinstance(third, frames.Frame)
    assert third.method == "b"


@pytest.mark.parametrize(("raw", "code"), [(b"[]", -32600), (b"[1,", -32700), (b'[{"method":"a"}]x', -32700)])
def test_an_array_that_is_no_batch_is_one_problem(raw: bytes, code: int) -> None:
    (problem,) = frames.messages(raw, batches=True)
    assert isinstance(problem, frames.BadFrame)
    assert problem.code == code
