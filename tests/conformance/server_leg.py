"""The suite's server scenarios: its client, our HTTP front, `acp-stdio run`, a server behind it."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

from tests.conformance.suite import ROOT, Verdict, read, requirements, run
from tests.kit.http_front import http_front
from tests.kit.oidc_provider import OidcProvider, oidc_provider
from tests.kit.signing_in import Machine


@contextlib.contextmanager
def everything_upstream(provider: OidcProvider, only: str) -> Generator[str]:
    """The address of a server with all that the scenarios ask for, which takes this provider's tokens."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.kit.everything_upstream", "--issuer", provider.issuer, "--only", only],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            url: str = json.loads(process.stdout.readline())["url"]
            provider.add_resource(url)
            yield url
        finally:
            process.stdin.close()
            process.wait(60)


@contextlib.contextmanager
def signed_in_front(only: str = "both") -> Generator[tuple[str, OidcProvider]]:
    """The address of a front before `run`, for somebody who has signed in, and the provider that knows them.

    `only`: the era of the server behind `run`.
    """
    with tempfile.TemporaryDirectory(prefix="acp-stdio-conformance-") as folder, contextlib.ExitStack() as stack:
        provider = stack.enter_context(oidc_provider())
        machine = Machine(Path(folder), provider.issuer, stack.enter_context(everything_upstream(provider, only)))
        done = machine.run("login")
        if done.returncode != 0:
            raise RuntimeError(f"nobody could sign in: {done.stderr}")
        front = http_front(machine.environment, machine.home, knows_no_other=only == "legacy")
        yield stack.enter_context(front), provider


OTHER_ERA = {"2025-11-25": "modern", "2026-07-28": "legacy"}
"""What a server speaks with which a host of this revision has no era in common."""


def crossed(revision: str) -> dict[str, Verdict]:
    """Runs every scenario of a revision before a server of the other era alone."""
    with signed_in_front(OTHER_ERA[revision]) as (url, _):
        return verdicts(url, revision)


def verdicts(url: str, revision: str) -> dict[str, Verdict]:
    """Runs every scenario of a revision, one after another."""
    with tempfile.TemporaryDirectory(prefix="acp-stdio-conformance-") as folder:
        run("server", "--url", url, "--requirements", revision, "-o", folder)
        return read(Path(folder), requirements("server", revision), "server")
