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
