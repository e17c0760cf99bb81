"""Kill -9 at any point: no call that left is without its intent, no intent without exactly one outcome."""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from acp_stdio.audit import chain
from tests.architecture.walk import ROOT

pytestmark = [pytest.mark.real, pytest.mark.skipif(os.name != "posix", reason="forks and kills")]

WORLDS = 260
"""Ten processes each, of which some end before their turn to die comes."""


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """The folder of all worlds, and how many processes were killed."""
    folder = tmp_path_factory.mktemp("worlds")
    seed = int(os.environ.get("ACP_TEST_SEED", random.randrange(1 << 30)))  # noqa: S311 - no secret
    print(f"\ntrail killed: seed {seed}")  # noqa: T201 - to play it again with ACP_TEST_SEED
    ran = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "kit" / "trail_crash.py"), str(folder), str(seed), str(WORLDS)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=500,
        check=True,
    )
    return folder, json.loads(ran.stdout)


def records(world: Path) -> list[dict[str, Any]]:
    """All of a world's records; each link of each chain is checked on the way."""
    found: list[dict[str, Any]] = []
    for path in sorted((world / "audit").glob("*.jsonl")):
        content = path.read_bytes()
        assert content.endswith(b"\n"), path
        before = None
        for line in content.splitlines():
            record = chain.read(line)
            assert before is None or (record["prev"], record["seq"]) == (before["hash"], before["seq"] + 1)
            before = record
            found.append(record)
    return found


def test_thousands_were_killed(played: tuple[Path, dict[str, int]]) -> None:
    assert played[1]["in turn"] > WORLDS * 6
    assert played[1]["at once"] == 40


def test_no_call_left_without_its_intent_and_each_intent_has_exactly_one_outcome(
    played: tuple[Path, dict[str, int]],
) -> None:
    unknown = 0
    for number in range(WORLDS):
        world = played[0] / str(number)
        all_of_it = records(world)
        intents = Counter(r["call"] for r in all_of_it if r["event"] == "call.intent")
        outcomes = Counter(r["call"] for r in all_of_it if r["event"] == "call.outcome")
        left = Counter((world / "left").read_text().split())
        assert left.keys() <= intents.keys(), world
        assert outcomes == intents, world
        assert set(intents.values()) == {1}, world
        unknown += sum(r["outcome"] == "unknown" for r in all_of_it if r["event"] == "call.outcome")
    assert unknown > WORLDS


def test_nothing_is_left_to_settle_and_the_index_is_whole(played: tuple[Path, dict[str, int]]) -> None:
    for number in range(WORLDS):
        audit = played[0] / str(number) / "audit"
        assert [path.name for path in audit.glob("2*.lock")] == []
        before = chain.NOTHING
        opened = set[str]()
        for line in (audit / "chains.log").read_bytes().splitlines():
            entry = chain.read(line)
            assert entry["prev"] == before
            before = entry["hash"]
            if entry["event"] == "opened":
                opened.add(entry["chain"])
        assert {path.stem for path in audit.glob("*.jsonl")} == opened
