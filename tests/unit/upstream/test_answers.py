"""What an HTTP answer's bytes become."""

import time
from email.utils import formatdate

import pytest

from acp_stdio.upstream.streamable_http import Answer
from acp_stdio.wire.ending import Ending


class Heard:
    """Keeps what it is told (`upstream.streamable_http.Sink`)."""

    def __init__(self) -> None:
        self.endings: list[Ending] = []

    def opened(self, session_id: str | None) -> None:
        """Not asked."""

    def received(self, raw: bytes) -> None:
        """Not asked."""

    def ended(self, ending: Ending) -> None:
        self.endings.append(ending)


def retry(said: str, status: int = 503) -> float | None:
    heard = Heard()
    answer = Answer(heard)
    answer.on_head(status, {"retry-after": said})
    answer.on_end()
    return heard.endings[0].retry


@pytest.mark.parametrize(("said", "seconds"), [("120", 120.0), (" 0 ", 0.0)])
def test_a_server_may_say_after_how_many_seconds_it_wants_to_be_asked_again(said: str, seconds: float) -> None:
    assert retry(said) == seconds


def test_or_at_which_time() -> None:
    assert 3500 < (retry(formatdate(time.time() + 3600, usegmt=True)) or 0) <= 3600
    assert retry("Sun, 06 Nov 1994 08:49:37 GMT") == 0.0


@pytest.mark.parametrize("said", ["", "soon", "-5", "1e3", "9" * 30, "\xb2"])
def test_what_is_neither_says_nothing(said: str) -> None:
    assert retry(said) is None


def test_of_a_success_it_means_nothing() -> None:
    assert retry("5", 200) is None


MIB = 1024 * 1024
LARGEST = 64


class Cut:
    """An exchange that knows whether it was closed."""

    sent = True
    aborted = False

    def abort(self) -> None:
        self.aborted = True


@pytest.mark.parametrize(("kind", "start"), [("application/json", b'"'), ("text/event-stream", b"data: ")])
def test_an_answer_that_grows_beyond_64_mib_is_closed_and_said_so_once(kind: str, start: bytes) -> None:
    heard, exchange = Heard(), Cut()
    answer = Answer(heard)
    answer.exchange = exchange
    answer.on_head(200, {"content-type": kind})
    answer.on_data(start)
    for _ in range(LARGEST - 1):
        answer.on_data(b"x" * MIB)
    assert (heard.endings, exchange.aborted) == ([], False)
    answer.on_data(b"x" * MIB)
    assert [ending.why for ending in heard.endings] == ["its answer is larger than 64 MiB"]
    assert exchange.aborted


def test_a_stream_may_bring_more_than_that_in_events_that_are_not_so_large() -> None:
    heard, exchange = Heard(), Cut()
    answer = Answer(heard)
    answer.exchange = exchange
    answer.on_head(200, {"content-type": "text/event-stream"})
    for _ in range(LARGEST + 1):
        answer.on_data(b"data: %b\n\n" % (b"x" * MIB))
    assert (heard.endings, exchange.aborted) == ([], False)


def test_an_endless_refusal_is_not_kept() -> None:
    heard = Heard()
    answer = Answer(heard)
    answer.on_head(502, {})
    for _ in range(100):
        answer.on_data(b"x" * 1024)
    answer.on_end()
    assert len(heard.endings[0].body) <= 64 * 1024
