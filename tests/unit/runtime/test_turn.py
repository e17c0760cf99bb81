"""A turn: each file is looked at once, and what is due at its end is done once, in order."""

import asyncio
from pathlib import Path

import pytest

from acp_stdio.runtime.turn import Turn


def size(turn: Turn, path: Path) -> int:
    """In bytes; -1 where there is no file."""
    try:
        return turn.stat(path).st_size
    except FileNotFoundError:
        return -1


def test_a_file_is_looked_at_once_in_a_turn_and_each_time_outside(tmp_path: Path) -> None:
    turn, path = Turn(), tmp_path / "file"
    assert size(turn, path) == -1
    path.write_bytes(b"1")
    assert size(turn, path) == 1
    with turn:
        path.write_bytes(b"12")
        assert size(turn, path) == 2
        path.write_bytes(b"123")
        assert size(turn, path) == 2
        turn.look_anew()
        assert size(turn, path) == 3
    assert size(turn, path) == 3
    with turn:
        path.unlink()
        assert size(turn, path) == -1
        path.write_bytes(b"1234")
        assert size(turn, path) == -1
    assert size(turn, path) == 4


def test_what_is_due_is_done_in_order_when_the_outermost_ends_and_at_once_outside() -> None:
    turn = Turn()
    done: list[str] = []

    def first() -> None:
        done.append("first")
        turn.at_end(lambda: done.append("what the first led to"))

    with turn:
        turn.at_end(lambda: done.append("after all"), after_all=True)
        with turn:
            turn.at_end(first)
        assert done == []
    assert done == ["first", "what the first led to", "after all"]
    turn.at_end(lambda: done.append("now"))
    assert done[-1] == "now"


@pytest.mark.anyio
async def test_one_that_lasts_ends_when_all_that_was_ready_is_handled() -> None:
    turn = Turn()
    done: list[str] = []
    loop = asyncio.get_running_loop()

    def handle(name: str) -> None:
        turn.last()
        turn.at_end(lambda: done.append(name))

    def look() -> None:
        done.append("all were handled")

    for call in (lambda: handle("one"), lambda: handle("two"), look):
        loop.call_soon(call)
    for _ in range(3):
        await asyncio.sleep(0)
    assert done == ["all were handled", "one", "two"]
    turn.at_end(lambda: done.append("at once again"))
    assert done[-1] == "at once again"


def test_where_one_of_what_is_due_fails_the_rest_is_done_all_the_same() -> None:
    turn = Turn()
    done: list[str] = []

    def fail() -> None:
        raise ValueError

    def take() -> None:
        with turn:
            turn.at_end(lambda: done.append("after all"), after_all=True)
            turn.at_end(fail)
            turn.at_end(lambda: done.append("behind it"))

    with pytest.raises(ValueError):  # noqa: PT011 - it has no words
        take()
    assert done == ["behind it", "after all"]


def test_a_failure_within_leaves_no_turn_open(tmp_path: Path) -> None:
    turn = Turn()

    def fail() -> None:
        raise ValueError

    with pytest.raises(ValueError), turn:  # noqa: PT011 - it has no words
        turn.at_end(fail)
    assert size(turn, tmp_path / "file") == -1
    (tmp_path / "file").write_bytes(b"1")
    assert size(turn, tmp_path / "file") == 1
