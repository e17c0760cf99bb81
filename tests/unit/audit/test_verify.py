"""`verify` names the first bad record for every kind of tampering, and finds nothing where there is nothing."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from acp_stdio.audit import chain
from acp_stdio.audit.checkpoint import sign
from acp_stdio.audit.folder import Folder
from acp_stdio.audit.forms import millis
from acp_stdio.audit.index import Index
from acp_stdio.audit.record import Record, event_record
from acp_stdio.audit.retention import remove_old
from acp_stdio.audit.trail import Trail
from acp_stdio.audit.verify import Report, verify
from acp_stdio.vault.device_key import DeviceKey, device_key
from tests.kit.memory_vault import MemoryVault

Lines = list[bytes]


def intent(call: str) -> Record:
    return {**event_record("call.intent", user=None, now=1.0), "call": call, "tool": "report"}


def outcome(call: str) -> Record:
    return {**event_record("call.outcome", user=None, now=2.0), "call": call}


def a_process(audit: Path, *calls: str) -> str:
    """Four records and an orderly end; the chain's name."""
    trail = Trail(audit)
    for call in calls:
        trail.append(intent(call))
        trail.append(outcome(call))
    name = trail.head.chain
    trail.close()
    return name


@pytest.fixture
def key(tmp_path: Path) -> DeviceKey:
    return device_key(MemoryVault(), tmp_path / "state")


@pytest.fixture
def audit(tmp_path: Path, key: DeviceKey) -> Path:
    """Two processes that ended, and a signature after each."""
    folder = tmp_path / "audit"
    for calls in (("a", "b"), ("c", "d")):
        a_process(folder, *calls)
        sign(Folder(folder), key)
    return folder


def found(audit: Path, key: DeviceKey, anchors: list[str] | None = None) -> list[tuple[str, int]]:
    names = {name: f"chain {number}" for number, name in enumerate(Folder(audit).chains(), 1)}
    report = verify(Folder(audit), key.public, anchors)
    return [(names.get(each.file.removesuffix(".jsonl"), each.file), each.record) for each in report.findings]


def first(audit: Path) -> Path:
    return Folder(audit).file(Folder(audit).chains()[0])


def change(path: Path, how: Callable[[Lines], Lines]) -> None:
    path.write_bytes(b"".join(how(path.read_bytes().splitlines(keepends=True))))


def rehashed(lines: Lines, start: int) -> Lines:
    """What somebody does who knows how hashes are made: every link from `start` on is made anew."""
    before = chain.read(lines[start - 1][:-1])["hash"] if start else chain.NOTHING
    fresh = lines[:start]
    for line in lines[start:]:
        record = json.loads(line)
        del record["hash"]
        record["prev"] = before
        linked, before = chain.link(record)
        fresh.append(linked)
    return fresh


def forged(lines: Lines) -> Lines:
    changed = list(lines)
    changed[2] = changed[2].replace(b'"ok"', b'"no"')
    return rehashed(changed, 2)


def test_a_whole_trail_is_said_to_be_whole(audit: Path, key: DeviceKey) -> None:
    living = Trail(audit)
    living.append(intent("e"))
    report = verify(Folder(audit), key.public)
    assert report.findings == []
    assert (report.chains, report.records, report.checkpoints) == (3, 12, 2)
    assert (report.unsigned, report.unsettled) == (2, 1)
    living.close()


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("byte", [0, 30, 140, -5])
def test_each_changed_byte_is_found_where_it_is(audit: Path, key: DeviceKey, place: int, byte: int) -> None:
    def edit(lines: Lines) -> Lines:
        line = bytearray(lines[place])
        line[byte] ^= 1
        return [*lines[:place], bytes(line), *lines[place + 1 :]]

    change(first(audit), edit)
    assert found(audit, key) == [("chain 1", place + 1)]


TAMPERED: dict[str, tuple[Callable[[Lines], Lines], int]] = {
    "reordered": (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], 2),
    "one taken out": (lambda lines: [*lines[:2], *lines[3:]], 3),
    "one twice": (lambda lines: [*lines[:3], lines[2], *lines[3:]], 4),
    "the end cut": (lambda lines: lines[:4], 5),
    "cut to one": (lambda lines: lines[:1], 2),
    "emptied": (lambda _: [], 1),
    "added to": (lambda lines: [*lines, lines[-1]], 6),
    "rewritten with right hashes": (forged, 5),
}
"""Of five records, and the first that is wrong then."""


@pytest.mark.parametrize(("how", "record"), TAMPERED.values(), ids=TAMPERED.keys())
def test_the_first_bad_record_is_named(audit: Path, key: DeviceKey, how: Callable[[Lines], Lines], record: int) -> None:
    change(first(audit), how)
    assert found(audit, key)[0] == ("chain 1", record)


def test_a_file_that_is_gone_is_missed(audit: Path, key: DeviceKey) -> None:
    name = first(audit).name
    first(audit).unlink()
    (finding,) = verify(Folder(audit), key.public).findings
    assert (finding.file, finding.record) == (name, 0)
    assert "gone with 5 records" in finding.why


def test_a_file_from_elsewhere_is_not_ours_under_any_name(audit: Path, key: DeviceKey, tmp_path: Path) -> None:
    name = a_process(tmp_path / "other", "x")
    shutil.copy(Folder(tmp_path / "other").file(name), audit)
    assert [place for _, place in found(audit, key)] == [0]
    Folder(audit).file(name).replace(first(audit))
    assert found(audit, key) == [("chain 1", 1)]


@pytest.mark.parametrize("entry", range(6))
def test_the_index_cannot_be_edited(audit: Path, key: DeviceKey, entry: int) -> None:
    change(
        audit / "chains.log",
        lambda lines: [*lines[:entry], lines[entry].replace(b"2026", b"2025", 1), *lines[entry + 1 :]],
    )
    assert ("chains.log", entry + 1) in found(audit, key)


def test_without_an_index_nothing_is_vouched_for(audit: Path, key: DeviceKey) -> None:
    (audit / "chains.log").unlink()
    assert found(audit, key)[0] == ("chains.log", 0)


def test_a_chain_that_runs_cannot_be_cut_below_what_was_signed(audit: Path, key: DeviceKey) -> None:
    living = Trail(audit)
    for call in "efg":
        living.append(intent(call))
    sign(Folder(audit), key)
    living.append(intent("h"))
    path = Folder(audit).file(living.head.chain)
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole[:4]))
    assert found(audit, key) == []
    path.write_bytes(b"".join(whole[:3]))
    assert found(audit, key) == [("chain 3", 4)]


def test_a_signature_of_another_key_or_another_place_is_no_signature(
    audit: Path, key: DeviceKey, tmp_path: Path
) -> None:
    stranger = device_key(MemoryVault(), tmp_path / "stranger")
    assert found(audit, stranger) == [("chains.log", 3), ("chains.log", 6)]

    def moved(lines: Lines) -> Lines:
        second = json.loads(lines[2])
        third = json.loads(lines[5])
        third["jws"] = second["jws"]
        lines[5] = json.dumps(third).encode() + b"\n"
        return rehashed(lines, 5)

    change(audit / "chains.log", moved)
    assert found(audit, key) == [("chains.log", 6)]


def test_what_the_owner_can_forge_shows_against_a_checkpoint_that_was_kept_elsewhere(
    audit: Path, key: DeviceKey
) -> None:
    kept = verify(Folder(audit), key.public).checkpoint
    assert found(audit, key, [kept]) == []
    shutil.rmtree(audit)
    a_process(audit, "a")
    sign(Folder(audit), key)
    assert found(audit, key) == []
    assert ("chains.log", 5) in found(audit, key, [kept])
    assert found(audit, key, ["nonsense"]) == [("anchor 1", 0)]


def test_a_second_outcome_is_found(tmp_path: Path, key: DeviceKey) -> None:
    audit = tmp_path / "audit"
    trail = Trail(audit)
    for record in (intent("a"), outcome("a"), outcome("a")):
        trail.append(record)
    trail.close()
    assert found(audit, key) == [("chain 1", 4)]


def test_an_intent_without_an_outcome_is_found_whoever_else_runs_and_whatever_was_removed(
    tmp_path: Path, key: DeviceKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = tmp_path / "audit"
    old = a_process(audit, "a")
    os.utime(Folder(audit).file(old), (1.0, 1.0))
    assert remove_old(Folder(audit), 60.0) == 1
    careless = Trail(audit)
    careless.append(intent("b"))
    monkeypatch.setattr(careless, "_open", {})  # as if its writer had forgotten that it owes one
    careless.close()
    with Trail(audit) as living:
        living.append(intent("c"))
        report = verify(Folder(audit), key.public)
        living.append(outcome("c"))
    assert [(each.record, each.why) for each in report.findings] == [(2, "call b has no outcome")]
    assert report.unsettled == 1


def test_a_call_that_was_handed_on_to_the_next_file_is_not_missed(
    tmp_path: Path, key: DeviceKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = tmp_path / "audit"
    with monkeypatch.context() as patched:
        patched.setattr("acp_stdio.audit.trail.FULL", 1)
        living = Trail(audit)
        living.append(intent("a"))
        living.append(intent("b"))
    assert len(Folder(audit).chains()) > 1
    report = verify(Folder(audit), key.public)
    assert (report.findings, report.unsettled) == ([], 2)
    for call in "ab":
        living.append(outcome(call))
    living.close()
    assert found(audit, key) == []


def test_what_was_removed_is_told_with_its_age_and_only_what_had_ended_may_go(audit: Path, key: DeviceKey) -> None:
    """Whoever can write here can also write that `retention` took a file: then it shows how young that was."""
    gone, kept = Folder(audit).chains()
    (ending,) = (each for each in Index(Folder(audit)).entries(gone) if each["event"] == "closed")
    about = {name: ending[name] for name in ("chain", "records", "head", "bytes")}
    with Index(Folder(audit)).held() as index:
        index.add("removed", millis(ending["time"]) / 1000 + 90.0, **about, why="retention")
    Folder(audit).file(gone).unlink()
    report = verify(Folder(audit), key.public)
    assert (report.findings, report.removed, report.removed_after) == ([], 1, 90.0)
    with Index(Folder(audit)).held() as index:
        index.add("removed", time.time(), **{**about, "chain": kept, "records": 2}, why="retention")
    assert found(audit, key) == [("chains.log", 8)]


def test_progress_is_told_and_an_empty_folder_is_whole(audit: Path, key: DeviceKey, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    verify(Folder(audit), key.public, progress=lambda done, of: told.append((done, of)))
    assert told == [(0, 2), (1, 2)]
    assert verify(Folder(tmp_path / "none"), None) == Report()


@pytest.mark.parametrize(("made", "word"), [(intent, "intent"), (outcome, "outcome")])
def test_a_call_is_begun_once_and_ends_once(tmp_path: Path, made: Callable[[str], Record], word: str) -> None:
    """Whoever writes a call twice has two calls for one id, and a server's log tells of one."""
    with Trail(tmp_path) as trail:
        for record in (intent("a"), outcome("a"), made("a")):
            trail.append(record)
    (finding,) = verify(Folder(tmp_path), None).findings
    assert (finding.record, finding.why) == (4, f"call a has a second {word}")
