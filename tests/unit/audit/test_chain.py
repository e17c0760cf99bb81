"""The chain: each record holds what came before it, and each chain its place among all."""

import json
from pathlib import Path
from typing import Any

import pytest

from acp_stdio.audit import chain, trail
from acp_stdio.audit.folder import Folder
from acp_stdio.audit.index import Index
from acp_stdio.audit.record import Record, event_record
from acp_stdio.audit.settle import INTENT, OUTCOME
from acp_stdio.audit.trail import Trail
from acp_stdio.errors import Failure


def intent(call: str) -> Record:
    about = {"call": call, "tool": "report", "upstream": "finance", "trace": "t", "user": {"sub": "alice"}}
    return {**event_record(INTENT, user=None, now=1.0), **about}


def outcome(call: str) -> Record:
    return {**event_record(OUTCOME, user=None, now=2.0), "call": call}


def chains(directory: Path) -> list[list[dict[str, Any]]]:
    """The records of each file, whose links are checked."""
    return [[chain.read(line) for line in path.read_bytes().splitlines()] for path in sorted(directory.glob("*.jsonl"))]


def entries(directory: Path) -> list[dict[str, Any]]:
    return [chain.read(line) for line in (directory / "chains.log").read_bytes().splitlines()]


def endings(directory: Path) -> list[tuple[str, str]]:
    """Each outcome in the folder: its call and its word."""
    return sorted((r["call"], r["outcome"]) for c in chains(directory) for r in c if r["event"] == OUTCOME)


def dies(dead: Trail) -> None:
    """What the system does for a process that was killed: its locks and files are let go, and no more."""
    assert dead._chain is not None  # pyright: ignore[reportPrivateUsage]  # the tests that kill for real are in tests/real
    dead._chain.let_go()  # pyright: ignore[reportPrivateUsage]


def test_each_record_names_the_one_before_it_and_the_head_is_the_last(tmp_path: Path) -> None:
    mine = Trail(tmp_path)
    assert mine.head == chain.Head("", 0, chain.NOTHING)
    for call in "abc":
        mine.append(intent(call))
    (records,) = chains(tmp_path)
    assert [r["seq"] for r in records] == [1, 2, 3, 4]
    assert [r["prev"] for r in records[1:]] == [r["hash"] for r in records[:-1]]
    assert mine.head == chain.Head(records[0]["chain"], 4, records[-1]["hash"])


def test_the_first_record_names_the_chain_and_its_place_in_the_index(tmp_path: Path) -> None:
    for _ in range(2):
        with Trail(tmp_path) as one:
            one.append(event_record("login", user=None, now=1.0))
    first, second = chains(tmp_path)
    index = entries(tmp_path)
    assert [(e["event"], e["chain"]) for e in index] == [
        (word, records[0]["chain"]) for records in (first, second) for word in ("opened", "closed")
    ]
    assert first[0]["prev"] == chain.NOTHING
    assert second[0]["prev"] == index[1]["hash"]
    assert (index[2]["first"], index[3]["head"]) == (second[0]["hash"], second[-1]["hash"])
    assert [path.name for path in tmp_path.glob("2*.lock")] == []


@pytest.mark.parametrize("place", range(0, 400, 7))
def test_a_line_with_one_byte_changed_is_no_link_any_more(place: int) -> None:
    line, _ = chain.link({**intent("a"), "seq": 1, "prev": chain.NOTHING})
    line = line[:-1]
    assert chain.read(line)["call"] == "a"
    changed = bytearray(line)
    changed[place % len(line)] ^= 1
    with pytest.raises(chain.NotALink):
        chain.read(bytes(changed))


def test_any_tool_can_check_a_hash(tmp_path: Path) -> None:
    import hashlib

    line, digest = chain.link({"seq": 1, "text": "é\ud83d", "prev": chain.NOTHING})
    record = json.loads(line)
    assert record.pop("hash") == digest
    without = line[: line.rindex(b',"hash"')] + b"}"
    assert json.loads(without) == record
    assert hashlib.sha256(without).hexdigest() == digest


def test_what_a_dead_process_left_open_gets_unknown_in_the_next_ones_chain(tmp_path: Path) -> None:
    dead = Trail(tmp_path)
    for record in (intent("a"), intent("b"), outcome("a"), intent("c")):
        dead.append(record)
    name = dead.head.chain
    dies(dead)
    following = Trail(tmp_path)
    following.settle()
    assert endings(tmp_path) == [("a", "ok"), ("b", "unknown"), ("c", "unknown")]
    told = next(r for r in chains(tmp_path)[1] if r.get("call") == "b")
    assert (told["intent"], told["reason"]) == ({"chain": name, "seq": 3}, "process_died")
    assert (told["user"], told["tool"], told["upstream"]) == ({"sub": "alice"}, "report", "finance")
    Trail(tmp_path).append(intent("d"))
    assert len(endings(tmp_path)) == 3


def test_a_process_that_lives_is_not_settled(tmp_path: Path) -> None:
    first, second = Trail(tmp_path), Trail(tmp_path)
    first.append(intent("a"))
    second.append(intent("b"))
    Trail(tmp_path).settle()
    assert endings(tmp_path) == []
    first.append(outcome("a"))
    assert endings(tmp_path) == [("a", "ok")]


def test_a_start_without_anything_to_say_or_settle_writes_nothing(tmp_path: Path) -> None:
    Trail(tmp_path / "audit").settle()
    assert not (tmp_path / "audit").exists()


def test_another_file_begins_when_one_is_full_and_open_calls_go_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trail, "FULL", 2000)
    mine = Trail(tmp_path)
    mine.append(intent("first"))
    for number in range(20):
        mine.append(intent(str(number)))
        mine.append(outcome(str(number)))
    assert len(chains(tmp_path)) > 3
    assert len(list(tmp_path.glob("2*.lock"))) == 1
    dies(mine)
    Trail(tmp_path).settle()
    assert dict(endings(tmp_path))["first"] == "unknown"
    assert len(endings(tmp_path)) == 21
    told = [r for c in chains(tmp_path) for r in c if r.get("call") == "first" and r["event"] == OUTCOME]
    assert [r["tool"] for r in told] == ["report"]


def test_a_file_that_somebody_removed_or_changed_is_not_written_to(tmp_path: Path) -> None:
    mine = Trail(tmp_path)
    mine.append(intent("a"))
    Folder(tmp_path).file(mine.head.chain).unlink()
    mine.append(intent("b"))
    assert [[r.get("call") for r in c] for c in chains(tmp_path)] == [[None, "b"]]
    with Folder(tmp_path).file(mine.head.chain).open("ab") as file:
        file.write(b"{}\n")
    mine.append(intent("c"))
    assert mine.head.seq == 2
    assert Folder(tmp_path).file(mine.head.chain).read_bytes().count(b"\n") == 2


def test_an_outcome_that_had_no_room_is_written_before_the_next_intent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = Trail(tmp_path)
    mine.append(intent("a"))

    def full(_file: int, _line: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(trail.lines, "append", full)
        for record in (outcome("a"), intent("b")):
            with pytest.raises(Failure, match="No space left"):
                mine.append(record)
    mine.append(intent("c"))
    (records,) = chains(tmp_path)
    assert [(r["event"], r.get("call")) for r in records[2:]] == [(OUTCOME, "a"), (INTENT, "c")]


def test_a_torn_end_is_cut_and_what_stands_before_it_counts(tmp_path: Path) -> None:
    dead = Trail(tmp_path)
    dead.append(intent("a"))
    path = Folder(tmp_path).file(dead.head.chain)
    dies(dead)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40])
    with (tmp_path / "chains.log").open("ab") as index:
        index.write(b'{"schema":"acp.au')
    Trail(tmp_path).settle()
    assert path.read_bytes() == whole
    assert endings(tmp_path) == [("a", "unknown")]
    assert [e["event"] for e in entries(tmp_path)] == ["opened", "opened", "closed"]


def test_two_never_add_to_the_index_at_once(tmp_path: Path) -> None:
    with Index(Folder(tmp_path)).held(), pytest.raises(TimeoutError), Index(Folder(tmp_path)).held(0.01):
        pass
