"""Signed checkpoints: they say where each chain stood, and are not given for what was changed."""

import json
from pathlib import Path
from typing import Any

import pytest

from acp_stdio.audit import chain
from acp_stdio.audit.checkpoint import KIND, Altered, sign
from acp_stdio.audit.folder import Folder
from acp_stdio.audit.record import event_record
from acp_stdio.audit.trail import Trail
from acp_stdio.vault.device_key import DeviceKey, device_key, verified
from tests.kit.memory_vault import MemoryVault


@pytest.fixture
def key(tmp_path: Path) -> DeviceKey:
    return device_key(MemoryVault(), tmp_path / "state")


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    return tmp_path / "audit"


def event(word: str) -> dict[str, Any]:
    return event_record(word, user=None, now=1.0)


def signed(audit: Path, key: DeviceKey) -> list[dict[str, Any]]:
    found = [chain.read(line) for line in (audit / "chains.log").read_bytes().splitlines()]
    return [json.loads(verified(e["jws"], key.public, KIND)) for e in found if e["event"] == "checkpoint"]


def test_a_checkpoint_says_where_each_chain_and_the_index_stood(audit: Path, key: DeviceKey) -> None:
    one, other = Trail(audit), Trail(audit)
    for trail in (one, other, one):
        trail.append(event("login"))
    assert sign(Folder(audit), key)
    (said,) = signed(audit, key)
    sizes = {path.stem: path.stat().st_size for path in audit.glob("*.jsonl")}
    assert said["heads"] == {t.head.chain: [t.head.seq, t.head.hash, sizes[t.head.chain]] for t in (one, other)}
    assert said["index"][0] == 2


def test_nothing_new_is_not_signed_again(audit: Path, key: DeviceKey) -> None:
    assert not sign(Folder(audit), key)
    trail = Trail(audit)
    for word in ("login", "logout"):
        trail.append(event(word))
        assert [sign(Folder(audit), key) for _ in range(3)] == [True, False, False]
    trail.close()
    assert sign(Folder(audit), key)
    assert len(signed(audit, key)) == 3


def test_a_record_that_is_just_being_written_is_left_for_the_next_one(audit: Path, key: DeviceKey) -> None:
    trail = Trail(audit)
    trail.append(event("login"))
    with Folder(audit).file(trail.head.chain).open("ab") as file:
        file.write(b'{"half')
    assert sign(Folder(audit), key)
    assert signed(audit, key)[0]["heads"][trail.head.chain][:2] == list(trail.head[1:])


def edited(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"login"', b'"lagin"', 1))


def cut(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:1]))


def reordered(path: Path) -> None:
    first, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([first, *reversed(rest)]))


@pytest.mark.parametrize("tamper", [edited, reordered])
def test_what_was_changed_before_is_never_signed(audit: Path, key: DeviceKey, tamper: Any) -> None:
    trail = Trail(audit)
    for _ in range(3):
        trail.append(event("login"))
    tamper(Folder(audit).file(trail.head.chain))
    with pytest.raises(Altered, match=trail.head.chain):
        sign(Folder(audit), key)
    assert signed(audit, key) == []


@pytest.mark.parametrize("tamper", [cut, Path.unlink])
def test_what_was_signed_must_still_be_there_for_the_next_signature(audit: Path, key: DeviceKey, tamper: Any) -> None:
    trail = Trail(audit)
    for _ in range(3):
        trail.append(event("login"))
    assert sign(Folder(audit), key)
    tamper(Folder(audit).file(trail.head.chain))
    with pytest.raises(Altered, match=r"shorter|gone"):
        sign(Folder(audit), key)


def test_a_changed_index_is_not_signed(audit: Path, key: DeviceKey) -> None:
    trail = Trail(audit)
    trail.append(event("login"))
    edited_index = (audit / "chains.log").read_bytes().replace(b'"opened"', b'"closed"')
    (audit / "chains.log").write_bytes(edited_index)
    with pytest.raises(Altered, match="the index"):
        sign(Folder(audit), key)
