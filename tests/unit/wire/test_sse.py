"""Server-sent events, in whatever pieces they come."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acp_stdio.wire.sse import SseEvent, SseParser, SseTooLarge


def whole(stream: bytes) -> list[SseEvent]:
    return SseParser().feed(stream)


def message(data: bytes, event: str = "message", id: str | None = None, retry: int | None = None) -> SseEvent:
    return SseEvent(event, data, id, retry)


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: {}\n\n", [message(b"{}")]),
        (b"data:{}\r\n\r\n", [message(b"{}")]),
        (b"data: a\r\n\ndata: b\r\r\ndata: c\n\r\n", [message(b"a"), message(b"b"), message(b"c")]),
        (b"data:  {}\r\r", [message(b" {}")]),
        (b"\xef\xbb\xbfdata: a\n\n", [message(b"a")]),
        (b"\n\n\xef\xbb\xbfdata: a\n\n", []),
        (b"event: endpoint\ndata: /m\n\n", [message(b"/m", "endpoint")]),
        (b"data: a\ndata: b\ndata\n\n", [message(b"a\nb\n")]),
        (b"data\n\n", [message(b"")]),
        (b"data:\n\n", [message(b"")]),
        (b": comment\n\n:\n\ndata: a\n: in between\n\n", [message(b"a")]),
        (b"event: lost\n\ndata: a\n\n", [message(b"a")]),
        (b"id: 1\ndata: a\n\ndata: b\n\n", [message(b"a", id="1"), message(b"b", id="1")]),
        (b"id: 1\ndata: a\n\nid\ndata: b\n\n", [message(b"a", id="1"), message(b"b", id="")]),
        (b"id: 1\0\ndata: a\n\n", [message(b"a")]),
        (b"retry: 250\ndata: a\n\ndata: b\n\n", [message(b"a", retry=250), message(b"b")]),
        (b"retry: -1\nretry: 1.5\nretry:\nretry: 9999999999\ndata: a\n\n", [message(b"a")]),
        (b"unknown: x\ndata: a\nDATA: b\n\n", [message(b"a")]),
        (b"data: a\n\ndata: cut off", [message(b"a")]),
        (b"data: a\n\ndata: cut off\n", [message(b"a")]),
        (b"data: \xe2\x80\xa8\x0b\x0c\x85\x1c\n\n", [message(b"\xe2\x80\xa8\x0b\x0c\x85\x1c")]),
        (b"event: caf\xc3\xa9\xff\ndata: \xff\n\n", [message(b"\xff", "café�")]),
    ],
)
def test_a_stream_gives_the_events_that_the_standard_says(stream: bytes, events: list[SseEvent]) -> None:
    assert whole(stream) == events
    bytewise = SseParser()
    assert [event for at in range(len(stream)) for event in bytewise.feed(stream[at : at + 1])] == events


STREAMS = st.lists(
    st.sampled_from(
        [
            *(b"data", b"event", b"id", b"retry", b":", b": ", b"\n", b"\r", b"\r\n", b"\n\n"),
            *(b"7", b"x", b"\0", b"\xef\xbb\xbf", b" ", b"\xff", b"data: {}\n\n"),
        ]
    ),
    max_size=60,
).map(b"".join)


@given(stream=STREAMS, cuts=st.lists(st.integers(0, 200), max_size=8))
def test_how_a_stream_is_cut_makes_no_difference(stream: bytes, cuts: list[int]) -> None:
    expected = whole(stream)
    bytewise = SseParser()
    assert [event for at in range(len(stream)) for event in bytewise.feed(stream[at : at + 1])] == expected
    pieces, parser, start = list[SseEvent](), SseParser(), 0
    for cut in [*sorted(cuts), len(stream)]:
        pieces += parser.feed(stream[start:cut])
        start = max(start, cut)
    assert pieces == expected
    assert (parser.last_event_id, parser.retry) == (bytewise.last_event_id, bytewise.retry)


@given(
    st.lists(
        st.tuples(st.binary(max_size=40).map(lambda b: b.replace(b"\r", b"").replace(b"\n", b"")), st.integers(0, 2)),
        max_size=8,
    )
)
def test_data_comes_out_as_it_went_in(payloads: list[tuple[bytes, int]]) -> None:
    ends = (b"\n", b"\r\n", b"\r")
    stream = b"".join(b"data: " + data + ends[end] * 2 for data, end in payloads)
    assert [event.data for event in whole(stream)] == [data for data, _ in payloads]


def test_an_id_and_a_retry_without_data_are_kept_for_resuming() -> None:
    parser = SseParser()
    assert parser.feed(b"id: 41\nretry: 5\n\nid: 42\n") == []
    assert (parser.last_event_id, parser.retry) == ("41", 5)
    assert parser.feed(b"\n") == []
    assert parser.last_event_id == "42"


@pytest.mark.parametrize("line", [b"data: ", b": ", b"", b"unknown: "])
def test_a_line_without_end_is_given_up_at_the_limit(line: bytes) -> None:
    parser = SseParser(max_event=1000)
    parser.feed(line)
    for _ in range(9):
        parser.feed(b"x" * 100)
    with pytest.raises(SseTooLarge):
        parser.feed(b"x" * 101)


@pytest.mark.parametrize("cut", [1, 7, 10_000])
def test_an_event_of_many_lines_is_given_up_at_the_limit(cut: int) -> None:
    parser, stream = SseParser(max_event=1000), b"data: x\n" * 200
    pieces = [stream[at : at + cut] for at in range(0, len(stream), cut)]
    with pytest.raises(SseTooLarge):
        deque(map(parser.feed, pieces), maxlen=0)


@pytest.mark.parametrize("cut", [1, 7, 50, 10_000])
def test_the_limit_is_for_one_event_not_for_the_stream(cut: int) -> None:
    parser, stream = SseParser(max_event=100), (b": keep-alive\n\ndata: " + b"x" * 60 + b"\n\n") * 50
    events = [event for at in range(0, len(stream), cut) for event in parser.feed(stream[at : at + cut])]
    assert len(events) == 50


def test_a_large_event_in_small_pieces_looks_at_each_byte_once() -> None:
    """Counted, not timed: nothing that has arrived is read again while the line goes on."""
    looked_at = 0

    class Counting(bytes):
        def splitlines(self, keepends: bool = False) -> list[bytes]:
            nonlocal looked_at
            looked_at += len(self)
            return super().splitlines(keepends)

    parser, size = SseParser(), 1_000_000
    stream = b"data: " + b"x" * size + b"\n\n"
    events = [event for at in range(0, len(stream), 1000) for event in parser.feed(Counting(stream[at : at + 1000]))]
    assert [len(event.data) for event in events] == [size]
    assert looked_at == len(stream)
