"""What no collector has accepted yet: counted, told, and where that is required, no call is made on top of it."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from acp_stdio.audit import delivery
from acp_stdio.audit.delivery import (
    Accepted,
    Backlog,
    CursorFile,
    Required,
    is_delivered,
    undelivered,
    undelivered_words,
)
from acp_stdio.audit.folder import Folder
from acp_stdio.audit.record import Context, call_record, event_record, record_id
from acp_stdio.audit.retention import remove_old
from acp_stdio.audit.trail import Trail
from acp_stdio.errors import Failure
from acp_stdio.settings.model import AuditSettings

SETTINGS = AuditSettings(otlp="https://otlp.example.com/base", deliver="required", max_backlog=7)


def intent() -> dict[str, Any]:
    call = record_id()
    return call_record(
        "call.intent",
        Context(None, "laptop", "finance"),
        record=call,
        call=call,
        now=time.time(),
        method="tools/call",
        tool="report",
        agent=("claude-ai", "1"),
        arguments_bytes=2,
        trace="",
        token=None,
    )


def outcome(of: dict[str, Any]) -> dict[str, Any]:
    return {**of, "id": record_id(), "event": "call.outcome", "outcome": "ok", "reason": ""}


def call(trail: Trail) -> None:
    begun = intent()
    trail.append(begun)
    trail.append(outcome(begun))


def accept_all(folder: Path) -> None:
    chains = {path.stem: (path.stat().st_size, path.read_bytes().count(b"\n")) for path in folder.glob("*.jsonl")}
    CursorFile(Folder(folder)).write(Accepted(chains))


def required(folder: Path) -> Trail:
    return Trail(folder, admit=Required(Folder(folder), SETTINGS).admit)


def test_no_call_is_made_on_top_of_a_full_backlog_until_the_collector_has_it(tmp_path: Path) -> None:
    trail = required(tmp_path)
    for _ in range(3):
        call(trail)  # with the record that opens the file: seven
    with pytest.raises(Failure, match=r"otlp\.example\.com has not accepted 7 or more records") as refused:
        call(trail)
    assert refused.value.reason == "audit_unavailable"
    assert Backlog(Folder(tmp_path)).count(100) == 7, "nothing was written for it"
    accept_all(tmp_path)
    call(trail)
    trail.close()


def test_a_refusal_and_other_events_are_recorded_all_the_same(tmp_path: Path) -> None:
    trail = required(tmp_path)
    for _ in range(3):
        call(trail)
    trail.append({**intent(), "event": "call.denied", "outcome": "denied", "reason": "audit_unavailable"})
    trail.append(event_record("logout", user=None, now=1.0))
    assert Backlog(Folder(tmp_path)).count(100) == 9
    trail.close()


def test_what_other_processes_leave_undelivered_counts_too(tmp_path: Path) -> None:
    other = Trail(tmp_path)
    for _ in range(3):
        call(other)
    mine = required(tmp_path)
    with pytest.raises(Failure):
        call(mine)
    other.close()
    mine.close()


def test_the_words_say_what_the_last_attempt_brought(tmp_path: Path) -> None:
    trail = required(tmp_path)
    for _ in range(3):
        call(trail)
    CursorFile(Folder(tmp_path)).write(Accepted(trouble="HTTP 503"))
    with pytest.raises(Failure, match=r"The last attempt: HTTP 503\."):
        call(trail)
    trail.close()


def test_while_nothing_changes_a_refusal_costs_no_look_at_the_trail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    admit = Required(Folder(tmp_path), SETTINGS).admit
    trail = Trail(tmp_path)
    for _ in range(3):
        call(trail)
    with pytest.raises(Failure):
        admit()
    looks: list[int] = []

    def count(self: Backlog, most: int) -> int:
        looks.append(most)
        return 0

    monkeypatch.setattr(delivery.Backlog, "count", count)
    for _ in range(3):
        with pytest.raises(Failure):
            admit()
    assert not looks
    accept_all(tmp_path)
    admit()
    assert len(looks) == 1
    trail.close()


def test_a_line_that_is_being_written_is_not_counted_before_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "20261126T000000.000000Z-00000000.jsonl"
    backlog = Backlog(Folder(tmp_path))
    path.write_bytes(b'{"a":1}\n{"b"')
    assert backlog.count(10) == 1
    path.write_bytes(b'{"a":1}\n{"c":22222}\n{"d":3}\n')  # what was torn was cut off, and others came
    assert backlog.count(10) == 3


def test_it_is_told_how_many_since_when_and_why(tmp_path: Path) -> None:
    assert undelivered(AuditSettings(), Folder(tmp_path)) is None
    trail = Trail(tmp_path)
    trail.append(event_record("login", user=None, now=1795459327.0))
    CursorFile(Folder(tmp_path)).write(Accepted(trouble="no connection"))
    told = undelivered(SETTINGS, Folder(tmp_path))
    assert told is not None
    assert (told["undelivered"], told["trouble"]) == (2, "no connection")
    assert str(told["since"]) in undelivered_words(told)
    accept_all(tmp_path)
    told = undelivered(SETTINGS, Folder(tmp_path))
    assert told is not None
    assert (told["undelivered"], told["since"], told["trouble"]) == (0, None, None)
    assert undelivered_words(told) == "all records have reached https://otlp.example.com/base"
    trail.close()


def test_the_cursor_is_for_this_user_alone_and_a_damaged_one_counts_as_nothing(tmp_path: Path) -> None:
    cursor = CursorFile(Folder(tmp_path))
    cursor.write(Accepted({"x": (1, 1)}, "HTTP 503"))
    assert cursor.path.stat().st_mode & 0o777 == 0o600
    assert cursor.read() == Accepted({"x": (1, 1)}, "HTTP 503")
    for damaged in (b"", b"[]", b'{"chains":{"x":1},"trouble":""}', b"\xff"):
        cursor.path.write_bytes(damaged)
        assert cursor.read() == Accepted()


def test_what_is_old_and_not_delivered_stays_where_delivery_is_required(tmp_path: Path) -> None:
    trail = Trail(tmp_path)
    call(trail)
    trail.close()
    for path in tmp_path.glob("*.jsonl"):
        os.utime(path, (1.0, 1.0))
    folder = Folder(tmp_path)
    assert remove_old(folder, 86_400.0, is_delivered(folder)) == 0
    accept_all(tmp_path)
    assert remove_old(folder, 86_400.0, is_delivered(folder)) == 1
