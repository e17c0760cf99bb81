"""The suite's client scenarios: a scripted host, `acp-stdio run`, the suite's servers behind it."""

import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from tests.conformance.suite import ROOT, Requirements, Verdict, read, requirements, run
from tests.kit.oidc_provider import oidc_provider

AT_ONCE = 3
"""Scenarios side by side, each with its own server; each waits for others half of its time."""
DRIVER = f"{sys.executable} -m tests.kit.conformance_driver"


def crossed(revision: str) -> dict[str, Verdict]:
    """Runs the scenarios of a revision with a host of the other era alone, but for the sign-in, which has no era."""
    wanted = requirements("client", revision)
    required = tuple(name for name in wanted.required if not name.startswith("auth/"))
    unscored = tuple(name for name in wanted.unscored if not name.startswith("auth/"))
    return verdicts(revision, Requirements(required, unscored), other_era=True)


def verdicts(revision: str, wanted: Requirements | None = None, *, other_era: bool = False) -> dict[str, Verdict]:
    """Runs every scenario of a revision, or those that are `wanted`."""
    wanted = wanted or requirements("client", revision)
    names = (*wanted.required, *wanted.unscored)
    with (
        tempfile.TemporaryDirectory(prefix="acp-stdio-conformance-") as folder,
        oidc_provider() as provider,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        era = {"ACP_TEST_HOST_ERA": "other"} if other_era else {}

        def play(name: str) -> str:
            """How it ended, where the suite calls that a failure."""
            words = ("--scenario", name, "--spec-version", revision, "--force", "-o", folder)
            env = {"ACP_TEST_ISSUER": provider.issuer, "PYTHONPATH": str(ROOT), **era}
            done = run("client", "--command", DRIVER, *words, env=env)
            return "" if done.returncode == 0 else _last_line(Path(folder), name)

        endings = dict(zip(names, pool.map(play, names), strict=True))
        found = read(Path(folder), wanted, "client")
    return {name: _ended(verdict, endings[name]) for name, verdict in found.items()}


def _ended(verdict: Verdict, ending: str) -> Verdict:
    """The suite also fails a scenario whose checks hold but whose client gave up, except where it should."""
    return replace(verdict, complaints=(*verdict.complaints, f"the host ended: {ending}")) if ending else verdict


def _last_line(folder: Path, name: str) -> str:
    said: Sequence[str] = [
        line for path in folder.glob(f"{name}-2*/stderr.txt") for line in path.read_text().splitlines() if line.strip()
    ]
    return said[-1] if said else "without a word"
