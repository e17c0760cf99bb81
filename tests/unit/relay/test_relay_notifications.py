"""A host may say more than a session that is still opening can take."""

from typing import Any

import pytest

from acp_stdio.relay.desk import MAX_HELD_NOTE_BYTES, MAX_HELD_NOTES
from acp_stdio.relay.relay import MAX_IN_FLIGHT
from tests.kit.playbook import Playbook, hello, posts, told, welcome


class Opening(Playbook):
    """A host that has said `initialize` and that it is ready, before a server that has not answered."""

    def __init__(self) -> None:
        super().__init__()
        self.opening = self.call_of(self.host(id=0, method="initialize", params=hello()))
        self.host(method="notifications/initialized")


@pytest.fixture
def opening() -> Opening:
    return Opening()


def say(book: Opening, number: int, size: int = 0) -> None:
    assert book.host(method="notifications/custom", params={"number": number, "data": "x" * size}) == []


def arrive(book: Opening) -> list[Any]:
    """What is posted once the session is open."""
    ready = book.call_of(book.upstream(book.opening, id=0, result=welcome()))
    return posts(book.ended(ready, 202))


def test_the_newest_notifications_are_sent_once_the_session_is_open(opening: Opening) -> None:
    for number in range(MAX_HELD_NOTES + 5):
        say(opening, number)
    assert [each["params"]["number"] for each in arrive(opening)] == list(range(5, MAX_HELD_NOTES + 5))
    assert len(opening.warnings) == 1


def test_large_ones_are_kept_in_smaller_numbers_and_one_in_any_size(opening: Opening) -> None:
    for number in range(6):
        say(opening, number, MAX_HELD_NOTE_BYTES // 4)
    say(opening, 6, 2 * MAX_HELD_NOTE_BYTES)
    assert [each["params"]["number"] for each in arrive(opening)] == [6]


def test_requests_that_wait_are_not_pushed_out_by_notifications(opening: Opening) -> None:
    for number in range(MAX_IN_FLIGHT // 8):
        opening.host(id=number + 1, method="tools/call", params={"name": "pay"})
        for _ in range(8):
            say(opening, number)
    assert [each["id"] for each in arrive(opening) if "id" in each] == list(range(1, MAX_IN_FLIGHT // 8 + 1))


def test_a_cancellation_is_acted_upon_and_not_kept(opening: Opening) -> None:
    opening.host(id=1, method="tools/call", params={"name": "pay"})
    for number in range(MAX_HELD_NOTES):
        say(opening, number)
    opening.host(method="notifications/cancelled", params={"requestId": 1})
    sent = arrive(opening)
    assert len(sent) == MAX_HELD_NOTES
    assert all(each["method"] == "notifications/custom" for each in sent)
    assert told(opening.after(300)) == []
