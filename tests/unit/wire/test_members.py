"""Members of an object are their own text, also where the fast reader refuses the object."""

import pytest

from acp_stdio.wire.frames import BadFrame, parse
from acp_stdio.wire.members import joined, members

HALF = b'"\\ud83d"'
"""Half of an emoji, which a model cut."""


@pytest.mark.parametrize(
    "beside", [b"0.30000000000000004441", b"1e400", b"-0.0", b"1E+2", b"123456789012345678901234567890"]
)
def test_a_number_beside_half_an_emoji_is_not_converted(beside: bytes) -> None:
    raw = b' { "half" : ' + HALF + b' , "n" :\t' + beside + b' , "deep": {"n": [' + beside + b"]}\n} "
    found = members(raw)
    assert {name: bytes(value) for name, value in found.items()} == {
        "half": HALF,
        "n": beside,
        "deep": b'{"n": [' + beside + b"]}",
    }
    assert members(joined(found)) == found


def test_a_message_with_half_an_emoji_keeps_its_id_as_it_is_spelled() -> None:
    frame = parse(b'{"jsonrpc":"2.0","id":1E2,"method":"x","params":{"n":1e400,"half":' + HALF + b"}}")
    assert (frame.id, frame.method) == (b"1E2", "x")
    assert bytes(frame.params or b"").startswith(b'{"n":1e400,')
    with pytest.raises(BadFrame, match="method is not a string"):
        parse(b'{"method":1,"params":' + HALF + b"}")


@pytest.mark.parametrize("end", [b"", b",}", b"} x", b"]", b", 1: 2}", b', "b"}', b', "b":}', b', "b":1'], ids=repr)
def test_what_is_no_object_has_no_members(end: bytes) -> None:
    assert members(b'{"a":' + HALF + end) == {}


def test_an_array_has_none_either() -> None:
    assert members(b"[" + HALF + b"]") == {}
    assert members(b'{"a":{"b":' + HALF + b"}}").keys() == {"a"}
