"""One spelling for each JSON value: RFC 8785's own examples, and what it leaves to us."""

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acp_stdio.wire.canonical import canonical


def test_the_example_of_the_rfc() -> None:  # section 3.2.2 and 3.2.3
    raw = r"""{
        "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
        "literals": [null, true, false]
    }"""
    assert canonical(raw.encode()).decode() == (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_members_are_sorted_as_the_rfc_sorts_them() -> None:  # section 3.2.3
    raw = r'{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}'
    assert list(json.loads(canonical(raw.encode())).values()) == [2, 4, 6, 7, 1, 5, 3]


@pytest.mark.parametrize(
    ("bits", "text"),
    [  # RFC 8785 appendix B
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("4340000000000001", "9007199254740994"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("444b1ae4d6e2ef4f", "999999999999999900000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("41b3de4355555553", "333333333.3333332"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
        ("43143ff3c1cb0959", "1424953923781206.2"),
    ],
)
def test_numbers_of_the_rfc(bits: str, text: str) -> None:
    value = struct.unpack(">d", bytes.fromhex(bits))[0]
    assert canonical(json.dumps(value).encode()) == text.encode()


def test_integers_that_differ_stay_different() -> None:
    assert canonical(b"[9007199254740993,9007199254740992,-0]") == b"[9007199254740993,9007199254740992,0]"
    assert canonical(b"1" + b"0" * 5000) == b"1" + b"0" * 5000
    assert canonical(b"1e999") == b"1e999"


def test_half_an_emoji_has_a_spelling_too() -> None:
    assert canonical(rb'{"b":"\ud83d","a":1}') == rb'{"a":1,"b":"\ud83d"}'


@pytest.mark.parametrize("raw", [b"{", b"NaN", b"", b"[" * 100_000])
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        canonical(raw)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_however_it_is_spelled_the_spelling_is_one(value: Any, indent: Any, ascii_only: bool) -> None:
    raw = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    once = canonical(raw)
    assert canonical(once) == once
    assert canonical(json.dumps(value).encode()) == once
    assert b"\n" not in once
    assert json.loads(once, parse_int=float) == json.loads(raw, parse_int=float)
