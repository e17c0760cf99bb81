"""Runs the official conformance suite, `@modelcontextprotocol/conformance`, and reads what it found."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

Leg = Literal["client", "server"]
Row = Literal["server", "client", "backcompat", "crossed-server", "crossed-client"]
"""A leg; crossed: whoever is on the other side of us speaks the other era alone. Backcompat: client scenarios of what
a later revision removed, at the wire of this one."""

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
REVISIONS = ("2025-11-25", "2026-07-28")
ROWS: tuple[Row, ...] = ("server", "client", "backcompat", "crossed-server", "crossed-client")
REMOVED_SINCE = "2025-03-26"
"""The revision whose authorization knew no protected resource metadata."""
PATIENCE = 300.0
"""Seconds for one run of the suite; a busy machine takes its time."""
_PROGRAM = HERE / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
_STAMP = re.compile(r"-\d{4}-\d\d-\d\dT[\d-]+Z$")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the suite said about one scenario."""

    scenario: str
    required: bool
    complaints: tuple[str, ...]
    """Each failed check or warning; none where it passed."""

    @property
    def passed(self) -> bool:
        return not self.complaints


@dataclass(frozen=True, slots=True)
class Requirements:
    """The scenarios of one leg at one revision."""

    required: tuple[str, ...]
    unscored: tuple[str, ...]


def version() -> str:
    """The suite's, as pinned."""
    pinned: dict[str, Any] = json.loads((HERE / "package.json").read_text())
    return pinned["dependencies"]["@modelcontextprotocol/conformance"]


@cache
def node() -> str:
    """A Node.js that the suite runs on (22 or newer). Raises `RuntimeError` where there is none."""
    beside = Path(sys.executable).parent / "node"
    for name in (str(beside), shutil.which("node")):
        if name and Path(name).exists() and _major(name) >= 22:
            if not _PROGRAM.exists():
                raise RuntimeError(f"the suite needs `npm ci` in {HERE}; scripts/test does that")
            return name
    raise RuntimeError("the conformance suite needs Node.js 22 or newer; scripts/test sets that up")


def _major(name: str) -> int:
    said = subprocess.run([name, "--version"], capture_output=True, text=True, check=False, timeout=60).stdout
    return int(said.removeprefix("v").partition(".")[0] or 0)


def run(*words: str, env: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """The suite's command line."""
    return subprocess.run(
        [node(), str(_PROGRAM), *words],
        env={"PATH": os.environ["PATH"], **(env or {})},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


@cache
def requirements(leg: Leg, revision: str) -> Requirements:
    """What a revision requires, as the suite froze it, and what it runs beside that."""
    required: list[str] = []
    unscored: list[str] = []
    heading = ""
    for line in run("list", "--requirements", revision).stdout.splitlines():
        if line and not line.startswith(" "):
            heading = line
        elif line.strip().startswith("- "):
            name, _, mark = line.strip().removeprefix("- ").partition(" ")
            if heading.lower().startswith(leg):
                required.append(name)
            elif mark == f"[{leg}]":
                unscored.append(name)
    assert required, f"the suite lists nothing for {leg} {revision}"
    return Requirements(tuple(required), tuple(unscored))


@cache
def backcompat() -> Requirements:
    """The client scenarios that the suite has of `REMOVED_SINCE` alone."""
    lines = run("list", "--client", "--spec-version", REMOVED_SINCE).stdout.splitlines()
    found = [line.split()[1] for line in lines if line.strip().startswith(f"- auth/{REMOVED_SINCE}-")]
    assert found, f"the suite lists nothing of {REMOVED_SINCE}"
    return Requirements(tuple(found), ())


def read(folder: Path, wanted: Requirements, leg: Leg) -> dict[str, Verdict]:
    """The verdicts that a run left in its output folder; a scenario without one has failed."""
    found: dict[str, tuple[str, ...]] = {}
    for path in folder.rglob("checks.json"):
        place = _STAMP.sub("", path.parent.relative_to(folder).as_posix())
        scenario = place.removeprefix("server-") if leg == "server" else place
        found[scenario] = complaints(json.loads(path.read_text()))
    missing = ("it did not run",)
    return {
        name: Verdict(name, name in wanted.required, found.get(name, missing))
        for name in (*wanted.required, *wanted.unscored)
    }


def complaints(checks: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The checks that did not hold. A warning counts: it is a SHOULD that was not followed."""
    return tuple(
        f"{check['id']}: {check.get('errorMessage') or check.get('description')}"
        for check in checks
        if check["status"] in ("FAILURE", "WARNING")
    )


# -- what may fail ---------------------------------------------------------------------------------


def expected_failures(row: Row, revision: str) -> dict[str, str]:
    """The scenarios that fail and why (`expected_failures.toml`)."""
    listed = tomllib.loads((HERE / "expected_failures.toml").read_text(encoding="utf-8"))
    return listed.get(row, {}).get(revision, {})


def surprises(verdicts: Mapping[str, Verdict], expected: Mapping[str, str]) -> list[str]:
    """What is not as the list says: an unlisted failure, a listed success, a listed scenario that there is not."""
    found = [f"{name} is listed, and the suite has no such scenario" for name in expected if name not in verdicts]
    for name, verdict in verdicts.items():
        if verdict.passed and name in expected:
            found.append(f"{name} passes: take it off the list")
        elif not verdict.passed and name not in expected:
            found += [f"{name}: {complaint}" for complaint in verdict.complaints]
    return found
