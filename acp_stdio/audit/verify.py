"""Checks a whole trail: each link, each file against the index, each signature; reads only.

What it finds is told with the file and the number of the first record that is wrong. What nobody can find
this way is in `LIMITS`.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from acp_stdio.audit import chain, lines
from acp_stdio.audit.checkpoint import EVENT, KIND, Stand, stands_of, unsigned_payload
from acp_stdio.audit.folder import Folder
from acp_stdio.audit.forms import millis
from acp_stdio.audit.settle import INTENT, OUTCOME
from acp_stdio.vault.device_key import verified
from acp_stdio.vault.lock import FileLock

LIMITS: Final = (
    "Whoever can run programs as this user can ask the keyring for the signing key, rewrite everything here and sign "
    "it anew, or leave out the end. That shows only against something elsewhere: a checkpoint that was handed in "
    "earlier (--anchor), a log server that received the records, or the servers' own logs (audit join)."
)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was written."""

    file: str
    record: int
    """The first record that is wrong; 0 where it is about the file as a whole."""
    why: str

    def words(self) -> str:
        return f"{self.file}, record {self.record}: {self.why}" if self.record else f"{self.file}: {self.why}"


@dataclass(slots=True)
class Report:
    """What was read, and what is wrong with it."""

    chains: int = 0
    records: int = 0
    removed: int = 0
    """Chains that the index says `retention` took away."""
    removed_after: float | None = None
    """Seconds between a chain's end and its removal, the least of all; whoever can write here can write that, too."""
    checkpoints: int = 0
    signed_at: str = ""
    """Time of the newest checkpoint."""
    unsigned: int = 0
    """Records after it."""
    unsettled: int = 0
    """Calls of processes that ended, which the next start settles; or of ones that run."""
    key: str = ""
    checkpoint: str = ""
    """The newest one, as it can be kept elsewhere."""
    findings: list[Finding] = field(default_factory=list[Finding])


@dataclass(slots=True)
class _Index:
    """What the index says, by chain."""

    entries: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    opened: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    closed: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    removed: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    stands: dict[str, list[Stand]] = field(default_factory=dict[str, list[Stand]])
    """Where checkpoints saw each chain."""


def verify(
    folder: Folder,
    public: dict[str, Any] | None,
    anchors: list[str] | None = None,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Report:
    """Reads all of it. `public`: the device key's public half, None where there is none to check signatures with.

    `anchors`: checkpoints (JWS) that were kept elsewhere. `progress` hears of chains read, and of how many.
    Raises `OSError` where a file cannot be read.
    """
    report = Report()
    files = folder.chains()  # before the index: a chain that is opened meanwhile is in it then
    running = set(folder.unsettled())  # before their records: an outcome may follow after we have read them
    index = _read_index(folder, report)
    _read_checkpoints(index, public, report)
    for number, anchor in enumerate(anchors or (), 1):
        _hold_against(index, anchor, public, number, report)
    intents: dict[str, tuple[str, int]] = {}
    outcomes: dict[str, tuple[str, int]] = {}
    for number, name in enumerate(files):
        progress(number, len(files))
        _read_chain(folder, name, index, report, intents, outcomes)
    for name, entry in index.opened.items():
        if name not in files and name not in index.removed and not folder.file(name).exists():
            last = index.closed.get(name, entry)
            count = f" with {last['records']} records" if "records" in last else ""
            report.findings.append(
                Finding(f"{name}.jsonl", 0, f"it is gone{count}, and nothing says that it was removed")
            )
    _account(index, running, intents, outcomes, report)
    _read_removals(index, report)
    report.chains, report.removed = len(files), len(index.removed)
    return report


def _read_index(folder: Folder, report: Report) -> _Index:
    index = _Index()
    before, broken = chain.NOTHING, False
    if not folder.index.exists() and folder.chains():
        report.findings.append(Finding(folder.index.name, 0, "it is gone, and there are records"))
    for number, line in enumerate(lines.whole_lines(folder.index), 1):
        try:
            entry = chain.read(line)
        except chain.NotALink as e:
            if not broken:
                report.findings.append(Finding(folder.index.name, number, str(e)))
            broken = True
            continue
        if not broken and (entry["prev"], entry["seq"]) != (before, number):
            report.findings.append(Finding(folder.index.name, number, "it does not follow from the one before it"))
            broken = True
        before = entry["hash"]
        index.entries.append(entry)
        name = str(entry.get("chain", ""))
        match entry.get("event"):
            case "opened":
                index.opened.setdefault(name, entry)
            case "closed":
                index.closed.setdefault(name, entry)
            case "removed":
                index.removed.setdefault(name, entry)
            case _:
                pass
    return index


def _read_checkpoints(index: _Index, public: dict[str, Any] | None, report: Report) -> None:
    for place, entry in enumerate(index.entries):
        if entry.get("event") != EVENT:
            continue
        try:
            said = _said(entry["jws"], public)
            stands, (seq, digest) = stands_of(said), said["index"]
        except (ValueError, KeyError, TypeError) as e:
            report.findings.append(Finding("chains.log", entry["seq"], f"a checkpoint: {e}"))
            continue
        if place and (seq, digest) != (index.entries[place - 1]["seq"], index.entries[place - 1]["hash"]):
            report.findings.append(Finding("chains.log", entry["seq"], "a checkpoint of another place in the index"))
        report.checkpoints += 1
        report.signed_at, report.checkpoint = str(said.get("time", "")), entry["jws"]
        for name, stand in stands.items():
            index.stands.setdefault(name, []).append(stand)


def _said(jws: str, public: dict[str, Any] | None) -> dict[str, Any]:
    if public is None:
        return unsigned_payload(jws)
    said: dict[str, Any] = json.loads(verified(jws, public, KIND))
    return said


def _hold_against(index: _Index, anchor: str, public: dict[str, Any] | None, number: int, report: Report) -> None:
    """A checkpoint from elsewhere must be of this very index, which may have grown since."""
    try:
        said = _said(anchor, public)
        stands, (seq, digest) = stands_of(said), said["index"]
    except (ValueError, KeyError, TypeError) as e:
        report.findings.append(Finding(f"anchor {number}", 0, str(e)))
        return
    if not any((entry["seq"], entry["hash"]) == (seq, digest) for entry in index.entries):
        why = f"it is not as it was when it was signed ({said.get('time')}): cut or rewritten"
        report.findings.append(Finding("chains.log", int(seq), why))
    for name, stand in stands.items():
        index.stands.setdefault(name, []).append(stand)
        index.opened.setdefault(name, {"chain": name, "seq": 0})


def _read_chain(
    folder: Folder,
    name: str,
    index: _Index,
    report: Report,
    intents: dict[str, tuple[str, int]],
    outcomes: dict[str, tuple[str, int]],
) -> None:
    file = folder.file(name).name

    def wrong(record: int, why: str) -> None:
        report.findings.append(Finding(file, record, why))

    if not folder.file(name).exists():
        return  # `retention` has just taken it, after we had read the index
    opened, closed = index.opened.get(name), index.closed.get(name)
    if opened is None:
        if not _is_written(folder, name):
            wrong(0, "the index does not know it: it was put here, or the index was cut")
        return
    expected = {stand.head.seq: stand.head.hash for stand in index.stands.get(name, ())}
    if closed is not None:
        expected[closed["records"]] = closed["head"]
    number, before, bad = 0, _hash_before(index, opened), False
    for number, line in enumerate(lines.whole_lines(folder.file(name)), 1):
        try:
            record = chain.read(line)
            if record["seq"] != number or (before and record["prev"] != before):
                raise chain.NotALink("it does not follow from the one before it")
            if number == 1 and (record.get("chain") != name or opened.get("first", record["hash"]) != record["hash"]):
                raise chain.NotALink("it is the beginning of another chain")
            if expected.pop(number, record["hash"]) != record["hash"]:
                raise chain.NotALink("it is not the record that the index names: what came before was rewritten")
        except chain.NotALink as e:
            wrong(number, str(e))
            bad = True
            break  # what follows hangs on it
        before = record["hash"]
        call = str(record.get("call"))
        if (seen := {INTENT: intents, OUTCOME: outcomes}.get(record["event"])) is not None:
            if call in seen:
                wrong(number, f"call {call} has a second {'intent' if seen is intents else 'outcome'}")
            seen.setdefault(call, (file, number))
    report.records += number
    if bad:
        return
    if missing := [seq for seq in expected if seq > number]:
        wrong(number + 1, f"it is missing: the file ends here, and the index names {max(missing)} records")
    elif closed is not None and number > closed["records"]:
        wrong(closed["records"] + 1, "it was added after the chain had ended")
    signed = max((stand.head.seq for stand in index.stands.get(name, ())), default=0)
    ended_before = closed is not None and any(e["event"] == EVENT and e["seq"] > closed["seq"] for e in index.entries)
    report.unsigned += 0 if ended_before else number - signed


def _hash_before(index: _Index, opened: dict[str, Any]) -> str:
    """What the first record's `prev` must be: the index as it stood. "": a settler made the entry, nobody knows."""
    if "first" not in opened:
        return ""
    place = opened["seq"]
    return next((e["prev"] for e in index.entries if e["seq"] == place), chain.NOTHING)


def _account(
    index: _Index,
    running: set[str],
    intents: dict[str, tuple[str, int]],
    outcomes: dict[str, tuple[str, int]],
    report: Report,
) -> None:
    """Each intent has one outcome, but for those of chains that are written or were not settled when we began.

    An outcome is never older than its intent, so `retention` can take an intent alone, and an outcome never.
    """
    handed_on = {call: entry["chain"] for entry in index.opened.values() for call in entry.get("owes", ())}
    whole = not report.findings
    for call, (file, number) in intents.items():
        if call in outcomes:
            continue
        if handed_on.get(call, file.removesuffix(".jsonl")) in running:
            report.unsettled += 1
        elif whole:
            report.findings.append(Finding(file, number, f"call {call} has no outcome"))
    if whole and not index.removed:
        for call, (file, number) in outcomes.items():
            if call not in intents:
                report.findings.append(Finding(file, number, f"call {call} has an outcome and no intent"))


def _read_removals(index: _Index, report: Report) -> None:
    for name, entry in index.removed.items():
        closed = index.closed.get(name)
        if closed is None or (closed["records"], closed["head"]) != (entry.get("records"), entry.get("head")):
            report.findings.append(Finding("chains.log", entry["seq"], f"{name} was removed, and had not ended so"))
            continue
        after = (millis(entry["time"]) - millis(closed["time"])) / 1000
        report.removed_after = after if report.removed_after is None else min(after, report.removed_after)


def _is_written(folder: Folder, name: str) -> bool:
    """Whether its writer lives, and is about to tell the index of it."""
    if not folder.lock(name).exists():
        return False
    lock = FileLock(folder.lock(name))
    if lock.try_acquire():
        lock.release()
    return True  # locked: just begun; free: it died before the index knew, and the next start settles that
