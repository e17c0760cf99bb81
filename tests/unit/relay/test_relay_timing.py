"""What time does to requests: progress keeps them alive up to a bound, and a server may ask to be asked later."""

from typing import Any

import pytest

from acp_stdio.relay.commands import Command, Post, Settle, ToHost, Wake
from acp_stdio.relay.session import LIVED, STREAM_RETRY, LegacySession, State
from acp_stdio.relay.timing import LONGEST
from acp_stdio.wire.ending import Ending
from tests.kit.playbook import MODERN_META, Playbook, only, posts, streams, told


def call(book: Playbook, mark: Any = "p", number: int = 1, method: str = "tools/call") -> int:
    """A modern request that wants to hear of its progress."""
    meta = {**MODERN_META, "progressToken": mark}
    return book.call_of(book.host(id=number, method=method, params={"name": "pay", "_meta": meta}))


def progress(book: Playbook, posted: int, mark: Any = "p") -> list[Command]:
    return book.upstream(posted, method="notifications/progress", params={"progressToken": mark, "progress": 1})


def reason(frame: Any) -> str:
    return frame["result"]["_meta"]["io.github.acp-stdio/reason"]


@pytest.mark.parametrize("token", ["p", 7, "\u00e9"])
def test_progress_moves_the_deadline(token: Any) -> None:
    book = Playbook(timeout=230)
    posted = call(book, token)
    for _ in range(5):
        assert told(book.after(200)) == []
        assert told(progress(book, posted, token))[0]["method"] == "notifications/progress"
    assert told(book.after(229)) == []
    (late,) = told(book.after(2))
    assert reason(late) == "timeout"


@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_the_outcome_of_a_call_that_took_too_long_is_written_before_the_host_hears_of_it(era: str) -> None:
    book = Playbook(timeout=230)
    if era == "legacy":
        book.open_session()
        book.host(id=1, method="tools/call", params={"name": "pay"})
    else:
        call(book)
    kinds = [type(command) for command in book.after(231)]
    assert kinds.index(Settle) < kinds.index(ToHost)


@pytest.mark.parametrize("token", ["q", 7, "7", None])
def test_progress_of_another_request_does_not(token: Any) -> None:
    book = Playbook(timeout=230)
    posted = call(book, "p")
    book.after(200)
    progress(book, posted, token)
    assert reason(told(book.after(31))[0]) == "timeout"


def test_progress_may_come_on_another_stream() -> None:
    book = Playbook(timeout=230)
    call(book, "p")
    other = call(book, "q", 2)
    book.after(200)
    progress(book, other, "p")
    late = told(book.after(31))
    assert [frame["id"] for frame in late] == [2]


def test_no_progress_keeps_a_request_longer_than_the_longest() -> None:
    book = Playbook(timeout=230)
    posted = call(book)
    while book.now < LONGEST - 200:
        book.after(200)
        progress(book, posted)
    assert reason(told(book.after(201))[0]) == "timeout"


def test_progress_that_comes_after_a_cancellation_revives_nothing() -> None:
    book = Playbook(timeout=230)
    book.open_session()
    posted = book.call_of(book.host(id=1, method="tools/call", params={"name": "pay", "_meta": {"progressToken": "p"}}))
    book.host(method="notifications/cancelled", params={"requestId": 1})
    assert progress(book, posted) == []


# -- Retry-After -----------------------------------------------------------------------------------


def ask(book: Playbook, method: str) -> int:
    return book.call_of(book.modern_call(1, method, name="a", uri="file:///a"))


@pytest.mark.parametrize("method", ["resources/read", "prompts/get", "completion/complete", "resources/list"])
@pytest.mark.parametrize("status", [429, 503])
def test_what_is_safe_is_asked_again_when_the_server_wants_it(method: str, status: int) -> None:
    book = Playbook()
    done = book.ended(ask(book, method), status, retry=1.0)
    assert told(done) == []
    assert [wake.seconds for wake in only(done, Wake)] == [1.0]
    assert posts(book.after(0.9)) == []
    (again,) = only(book.after(0.2), Post)
    assert told(book.upstream(again.call, id=1, result={"resources": []}))[0]["id"] == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_call_is_never_sent_again_and_the_person_is_told_when_to(status: int) -> None:
    book = Playbook()
    done = book.ended(ask(book, "tools/call"), status, retry=5.0)
    assert len(told(done)) == 1
    assert posts([*done, *book.after(10)]) == []
    if status == 429:
        assert "Try again in 5 s." in told(done)[0]["result"]["content"][0]["text"]


def test_a_server_that_names_no_time_is_not_asked_again() -> None:
    book = Playbook()
    assert "error" in told(book.ended(ask(book, "resources/read"), 503))[0]


def test_a_time_beyond_the_deadline_is_not_waited_for() -> None:
    book = Playbook(timeout=230)
    assert "error" in told(book.ended(ask(book, "resources/read"), 503, retry=3600.0))[0]


def test_a_server_that_is_always_busy_is_asked_three_times() -> None:
    book = Playbook()
    posted = ask(book, "resources/read")
    for _ in range(2):
        assert told(book.ended(posted, 503, retry=1.0)) == []
        (post,) = only(book.after(1.1), Post)
        posted = post.call
    assert "error" in told(book.ended(posted, 503, retry=1.0))[0]


def test_a_list_that_must_wait_is_served_from_memory() -> None:
    book = Playbook({"modern resources/list ": b'{"resources":[],"resultType":"complete"}'})
    book.ended(ask(book, "resources/list"), 503, retry=1.4)
    assert told(book.after(1.6))[0]["result"]["resources"] == []
    assert posts(book.after(5)) == []


def test_a_request_that_is_cancelled_while_it_waits_is_not_sent() -> None:
    book = Playbook()
    book.ended(ask(book, "resources/read"), 503, retry=1.0)
    book.host(method="notifications/cancelled", params={"requestId": 1})
    assert posts(book.after(2)) == []


# -- reconnecting ----------------------------------------------------------------------------------


def test_a_stream_is_opened_again_later_and_later_and_not_by_all_at_once() -> None:
    waits: list[float] = []
    for jitter in (0.0, 0.5):
        session = LegacySession(jitter=lambda jitter=jitter: jitter, state=State.OPEN)
        for _ in range(2):
            (wake,) = only(session.stream_ended(Ending(None), 0.0), Wake)
            waits.append(wake.seconds)
    assert waits == [STREAM_RETRY[0], STREAM_RETRY[1], 1.5 * STREAM_RETRY[0], 1.5 * STREAM_RETRY[1]]
    (asked,) = only(session.stream_ended(Ending(200, retry=3.0), 0.0), Wake)
    assert asked.seconds == 3.0, "what the server asks for counts"
    assert streams(session.open_stream(1, 0.0)) != []


def broken_stream(book: Playbook) -> int:
    """A session whose stream broke twice and was asked for once more."""
    book.open_session()
    (stream,) = streams(book.done)
    for _ in range(2):
        book.ended(stream.call, None)
        (stream,) = streams(book.after(STREAM_RETRY[-1]))
    return stream.call


def waits_after(book: Playbook, stream: int) -> float:
    """How long the next attempt waits after this one broke."""
    (wake,) = only(book.ended(stream, None), Wake)
    return wake.seconds


def test_a_stream_that_lived_for_a_while_is_the_first_that_breaks() -> None:
    book = Playbook()
    stream = broken_stream(book)
    book.relay.upstream_opened(stream, None)
    book.after(LIVED)
    assert waits_after(book, stream) == STREAM_RETRY[0]


def test_a_stream_that_brought_something_is_the_first_that_breaks() -> None:
    book = Playbook()
    stream = broken_stream(book)
    book.relay.upstream_opened(stream, None)
    book.upstream(stream, method="notifications/message", params={"level": "info", "data": "hello"})
    assert waits_after(book, stream) == STREAM_RETRY[0]


@pytest.mark.parametrize("opened", [True, False])
def test_a_stream_that_was_cut_at_once_or_never_opened_is_not(opened: bool) -> None:
    book = Playbook()
    stream = broken_stream(book)
    if opened:
        book.relay.upstream_opened(stream, None)
    book.after(LIVED / 2 if opened else LIVED)
    assert waits_after(book, stream) == STREAM_RETRY[2]
