"""The trail: a record is there when `append` returns, or the call is refused."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from acp_stdio.audit import lines
from acp_stdio.audit.record import Context, call_record, record_id, token_summary, utc
from acp_stdio.audit.trail import Trail
from acp_stdio.errors import Failure


def records(directory: Path) -> list[dict[str, Any]]:
    """All but each chain's first."""
    found = [json.loads(line) for path in sorted(directory.glob("*.jsonl")) for line in path.read_text().splitlines()]
    return [record for record in found if record["event"] != "trail.opened"]


def a_record() -> dict[str, object]:
    return call_record(
        "call.intent",
        Context({"sub": "u1", "label": "sarah@acme.example"}, "laptop", "finance"),
        record="r",
        call="c",
        now=1795459327.1139,
        method="tools/call",
        tool="report",
        agent=("claude-ai", "0.1.0"),
        arguments_bytes=12,
        trace="t",
        token=None,
    )


def test_a_record_says_who_through_what_did_what_when(tmp_path: Path) -> None:
    Trail(tmp_path / "audit").append(a_record())
    (record,) = records(tmp_path / "audit")
    assert record["schema"] == "acp.audit/1"
    assert record["seq"] == 2
    assert record["time"] == "2026-11-23T18:42:07.113Z"
    assert record["user"] == {"sub": "u1", "label": "sarah@acme.example"}
    assert record["agent"] == {"name": "claude-ai", "version": "0.1.0", "evidence": "self_reported"}
    assert (record["upstream"], record["method"], record["tool"]) == ("finance", "tools/call", "report")


def test_it_is_on_disk_before_append_returns(tmp_path: Path) -> None:
    trail = Trail(tmp_path)
    for number in range(1, 4):
        trail.append(a_record())
        assert [r["seq"] for r in records(tmp_path)] == list(range(2, number + 2))


def test_what_is_written_together_is_one_write_and_one_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trail = Trail(tmp_path)
    trail.append(a_record())
    sizes: list[int] = []
    append = lines.append

    def counted(file: int, text: bytes) -> None:
        sizes.append(text.count(b"\n"))
        append(file, text)

    monkeypatch.setattr(lines, "append", counted)
    places = trail.append_all([a_record(), a_record(), a_record()])
    assert trail.append_all([]) == []
    assert sizes == [3]
    found = records(tmp_path)
    assert [(place.seq, place.hash) for place in places] == [(r["seq"], r["hash"]) for r in found[1:]]
    assert [r["seq"] for r in found] == [2, 3, 4, 5]
    assert [r["prev"] for r in found[1:]] == [r["hash"] for r in found[:-1]]


def test_of_what_is_written_together_all_is_there_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trail = Trail(tmp_path)
    trail.append(a_record())
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, text: write(file, text[: len(text) // 2]))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType] # the disk is full
    with pytest.raises(Failure, match="No space left"):
        trail.append_all([{**a_record(), "event": "call.outcome"}, a_record(), a_record()])
    assert len(records(tmp_path)) == 1
    monkeypatch.undo()
    trail.append(a_record())
    assert [(r["seq"], r["event"]) for r in records(tmp_path)] == [
        (2, "call.intent"),
        (3, "call.outcome"),
        (4, "call.intent"),
    ], "an outcome goes first as soon as there is room"


def test_the_folder_and_file_are_for_this_user_alone(tmp_path: Path) -> None:
    Trail(tmp_path / "a" / "audit").append(a_record())
    (path,) = (tmp_path / "a" / "audit").glob("*.jsonl")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_nothing_is_created_before_there_is_something_to_say(tmp_path: Path) -> None:
    Trail(tmp_path / "audit").close()
    assert not (tmp_path / "audit").exists()


def test_a_folder_that_cannot_be_made_is_a_refusal_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "audit").write_text("in the way")
    with pytest.raises(Failure) as caught:
        Trail(tmp_path / "audit").append(a_record())
    assert caught.value.reason == "audit_unavailable"
    assert str(tmp_path / "audit") in caught.value.message


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = lines.open_lines

    def full(path: Path, *, new: bool = False) -> int:
        return os.open("/dev/full", os.O_RDWR) if new else real(path)

    monkeypatch.setattr(lines, "open_lines", full)
    with pytest.raises(Failure, match="No space left"):
        Trail(tmp_path).append(a_record())


def test_ids_sort_by_time_and_are_uuids_of_version_7() -> None:
    ids = [record_id() for _ in range(3)]
    assert all(i[14] == "7" and i[19] in "89ab" and len(i) == 36 for i in ids)
    assert len(set(ids)) == 3


def test_of_a_token_only_what_identifies_it_is_recorded() -> None:
    claims = {"jti": "j", "aud": "https://f", "scope": "a", "exp": 1, "auth_time": 2, "email": "x", "groups": ["y"]}
    assert token_summary(claims) == {"jti": "j", "aud": "https://f", "scope": "a", "exp": 1, "auth_time": 2}
    assert token_summary({"format": "opaque", "sub": "s"}) == {"format": "opaque"}


def test_times_are_utc_with_milliseconds() -> None:
    assert utc(0.0019) == "1970-01-01T00:00:00.001Z"
