"""A crash at every single call of the store: a reader sees the old record or the new one, and nothing stays behind."""

from pathlib import Path

import pytest

from acp_stdio.secrets import Secret
from tests.unit.vault.contract import KEY
from tests.unit.vault.stages import STAGES, Crash, Interruption, PlainStage, Stage, stage

SIZES = (300, 3000, 9000)
OLD, NEW, LATER = "o", "n", "l"


@pytest.fixture(params=STAGES)
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return stage(request.param, tmp_path, monkeypatch)


def text(letter: str, size: int) -> Secret:
    return Secret(letter * size)


def saved(store: Stage, value: Secret, crash_at: int | None = None) -> bool:
    """Whether the process lived to the end of its save."""
    try:
        store.process(Interruption(crash_at)).save(KEY, value)
    except Crash:
        return False
    return True


def seen(store: Stage) -> str:
    """The letter of the record that a new process reads; empty for none."""
    value = store.process().load(KEY)
    if value is None:
        return ""
    letters = set(value.reveal())
    assert len(letters) == 1, "a record made of two"
    return letters.pop()


def emptied(store: Stage) -> list[str]:
    """What is stored after the record was deleted."""
    store.process().delete(KEY)
    return store.items()


@pytest.mark.parametrize("size", SIZES)
def test_a_crash_anywhere_in_a_save_leaves_the_old_record_or_the_new_one(store: Stage, size: int) -> None:
    for crash_at in range(1000):
        assert saved(store, text(OLD, size))
        finished = saved(store, text(NEW, size), crash_at)
        assert seen(store) in ({NEW} if finished else {OLD, NEW}), f"crash at call {crash_at}"
        assert saved(store, text(LATER, 300)), f"crash at call {crash_at}"
        assert seen(store) == LATER, f"crash at call {crash_at}"
        assert emptied(store) == [], f"crash at call {crash_at}"
        if finished:
            assert crash_at > 3
            return
    raise AssertionError("the save never came to its end")


@pytest.mark.parametrize("size", SIZES)
def test_a_crash_anywhere_in_the_first_save_leaves_nothing_or_the_record(store: Stage, size: int) -> None:
    for crash_at in range(1000):
        finished = saved(store, text(NEW, size), crash_at)
        assert seen(store) in ({NEW} if finished else {"", NEW}), f"crash at call {crash_at}"
        if finished:
            return
        if crash_at % 2 and store.process().load(KEY) is None:
            continue  # the next save meets the leftovers of this one
        assert emptied(store) == [], f"crash at call {crash_at}"
    raise AssertionError("the save never came to its end")


@pytest.mark.parametrize("size", SIZES)
def test_a_crash_anywhere_in_a_delete_never_brings_an_older_record_back(store: Stage, size: int) -> None:
    for crash_at in range(1000):
        assert saved(store, text(OLD, size))
        assert saved(store, text(NEW, size))
        try:
            store.process(Interruption(crash_at)).delete(KEY)
            finished = True
        except Crash:
            finished = False
        assert seen(store) in ({""} if finished else {"", NEW}), f"crash at call {crash_at}"
        assert emptied(store) == [], f"crash at call {crash_at}"
        if finished:
            return
    raise AssertionError("the delete never came to its end")


@pytest.mark.parametrize("size", SIZES)
def test_a_delete_after_a_save_that_crashed_before_it_tidied_up_does_not_bring_the_older_record_back(size: int) -> None:
    tidied = False
    tidied = False
    for save_to in range(1000):
        for delete_to in range(1000):
            store = PlainStage()
            assert saved(store, text(OLD, size))
            tidied = saved(store, text(NEW, size), save_to)
            before = seen(store)
            try:
                store.process(Interruption(delete_to)).delete(KEY)
                finished = True
            except Crash:
                finished = False
            assert seen(store) in ({""} if finished else {"", before}), f"crashes at {save_to} and {delete_to}"
            if finished:
                break
        if tidied:
            return
    raise AssertionError("the save never came to its end")


@pytest.mark.parametrize("size", [300, 3000])
def test_a_crash_anywhere_loses_nothing_either_where_the_last_one_left_both_copies(store: Stage, size: int) -> None:
    last_call = calls_before_both_copies(store, size)
    for crash_at in range(1000):
        leave_both_copies(store, size, last_call)
        finished = saved(store, text(LATER, size), crash_at)
        assert seen(store) in ({LATER} if finished else {NEW, LATER}), f"save crashed at call {crash_at}"
        assert emptied(store) == [], f"save crashed at call {crash_at}"
        leave_both_copies(store, size, last_call)
        try:
            store.process(Interruption(crash_at)).delete(KEY)
        except Crash:
            assert seen(store) in {NEW, ""}, f"delete crashed at call {crash_at}: an older record is back"
        assert emptied(store) == [], f"delete crashed at call {crash_at}"
        leave_both_copies(store, size, last_call)
        assert saved(store, text(LATER, size))
        try:
            store.process(Interruption(crash_at)).delete(KEY)
        except Crash:
            assert seen(store) in {LATER, ""}, f"delete crashed at call {crash_at}: an older record is back"
        assert emptied(store) == [], f"delete crashed at call {crash_at}"
        if finished:
            return
    raise AssertionError("the save never came to its end")


def calls_before_both_copies(store: Stage, size: int) -> int:
    """The first number of calls after which a save that ends there has stored its record beside the old one."""
    for crash_at in range(1000):
        assert saved(store, text(OLD, size))
        saved(store, text(NEW, size), crash_at)
        found = seen(store)
        store.process().delete(KEY)
        if found == NEW:
            return crash_at
    raise AssertionError("the save never came to its end")


def leave_both_copies(store: Stage, size: int, last_call: int) -> None:
    assert saved(store, text(OLD, size))
    saved(store, text(NEW, size), last_call)


@pytest.mark.parametrize("size", SIZES)
def test_two_crashes_in_a_row_lose_nothing_either(size: int) -> None:
    store = PlainStage()
    lived = False
    for first in range(1000):
        for second in range(1000):
            assert saved(store, text(OLD, size))
            lived = saved(store, text(NEW, size), first)
            between = seen(store)
            finished = saved(store, text(LATER, size), second)
            assert seen(store) in ({LATER} if finished else {between, LATER}), f"crashes at {first} and {second}"
            assert emptied(store) == [], f"crashes at {first} and {second}"
            if finished:
                break
        if lived:
            return
    raise AssertionError("the save never came to its end")


@pytest.mark.parametrize("size", SIZES)
def test_a_reader_between_any_two_calls_of_a_writer_sees_the_old_record_or_the_new_one(size: int) -> None:
    store = PlainStage()
    store.process().save(KEY, text(OLD, size))
    readings: list[str] = []

    def read() -> None:
        readings.append(seen(store))
        store.store.before = read

    store.process(read).save(KEY, text(NEW, size))
    assert set(readings) == {OLD, NEW}
    assert sorted(readings, key=[OLD, NEW].index) == readings, "never back to the old one"


@pytest.mark.parametrize("writes", [1, 2, 3])
@pytest.mark.parametrize("size", SIZES)
def test_a_writer_between_any_two_calls_of_a_reader_does_not_hide_the_record(size: int, writes: int) -> None:
    for moment in range(1000):
        store = PlainStage()
        store.process().save(KEY, text(OLD, size))
        writer = Writer(store, moment, text(NEW, size), writes)
        value = store.process(writer).load(KEY)
        assert value is not None, f"hidden by a write before call {moment}"
        assert set(value.reveal()) <= {OLD, NEW}
        if not writer.wrote:
            return
    raise AssertionError("the reader never came to its end")


class Writer:
    """Another process, which writes before the reader's call with the number `moment`."""

    def __init__(self, store: PlainStage, moment: int, value: Secret, writes: int) -> None:
        self._store = store
        self._moment = moment
        self._value = value
        self._writes = writes
        self._calls = 0
        self.wrote = False

    def __call__(self) -> None:
        self._calls += 1
        if self._calls == self._moment + 1:
            self.wrote = True
            for _ in range(self._writes):
                self._store.process().save(KEY, self._value)
            self._store.store.before = self
