"""A person, a company and an agent for one test: a home of their own, a provider, a server, a host."""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from tests.kit import leaks
from tests.kit.host import RawHost
from tests.kit.oidc_provider import OidcProvider
from tests.kit.sdk_upstream import SdkUpstream
from tests.kit.signing_in import Machine

PATIENCE = 60.0
"""Seconds for what is bound to happen."""


class Scene:
    """One person's machine before one company's servers."""

    def __init__(
        self, home: Path, provider: OidcProvider, upstream: SdkUpstream, *, user: str = "alice", identity: str = ""
    ) -> None:
        """`identity`: more lines for `[identity]`."""
        self.provider, self.upstream, self.user, self.home = provider, upstream, user, home
        provider.add_resource(upstream.url)
        self.machine = Machine(home, provider.issuer, upstream.url, user=user, identity=identity)
        self.go = home / "go"
        """A person who waits goes on when this file is there."""

    @property
    def environment(self) -> dict[str, str]:
        """What a host passes on: the few variables of a login shell, and its `env` block."""
        shell = {"LOGNAME": "somebody", "SHELL": "/bin/sh", "TERM": "dumb"}
        return {**shell, **self.machine.environment}

    @property
    def cache(self) -> Path:
        return self.home / "cache" / "default"

    def login(self, *words: str) -> None:
        """`acp-stdio login` in a terminal."""
        done = self.machine.run("login", *words)
        self.remember()
        assert done.returncode == 0, done.stderr

    def logout(self) -> None:
        """`acp-stdio logout` in a terminal."""
        done = self.machine.run("logout")
        assert done.returncode == 0, done.stderr

    @contextlib.contextmanager
    def host(self, *, modern: bool = False, shaken: bool = True) -> Generator[RawHost]:
        """A host with `acp-stdio run`, which has shaken hands unless told otherwise."""
        with RawHost(self.environment, self.home, modern=modern) as host:
            try:
                if shaken:
                    host.shake_hands()
                yield host
            finally:
                self.remember()

    def remember(self) -> None:
        """Whatever a test prints from now on is searched for the tokens issued so far."""
        if self.provider.process.poll() is None:
            leaks.remember(*self.provider.issued())

    def person_waits(self) -> None:
        """From now on the person's browser opens, and they sign in only once `go` is there."""
        script = self.machine.browser.read_text()
        if "while" not in script:
            first, rest = script.split("\n", 1)
            record, act = rest.split("\n", 1)
            wait = f'n=0; while [ ! -e "{self.go}" ] && [ $n -lt 1200 ]; do sleep 0.05; n=$((n+1)); done'
            self.machine.browser.write_text("\n".join((first, record, wait, act)))

    def pages_opened(self) -> int:
        """How often a browser was started."""
        return len(self.machine.seen.read_text().splitlines()) if self.machine.seen.exists() else 0

    def trail(self, event: str = "") -> list[dict[str, Any]]:
        """The audit records, by file and then in order, without each file's first, which opens it."""
        found: list[dict[str, Any]] = []
        for path in sorted((self.machine.state / "audit").glob("*.jsonl")):
            found += [json.loads(line) for line in path.read_text().splitlines()]
        return [r for r in found if r["event"].startswith(event) and r["event"] != "trail.opened"]

    def token_requests(self) -> int:
        """How many came to the token endpoint."""
        return sum(entry["path"] == "/token" for entry in self.provider.log())

    def session(self) -> dict[str, Any]:
        """`session.json`, as all processes share it."""
        return json.loads((self.machine.state / "session.json").read_text())


def eventually(holds: Callable[[], object], what: str) -> None:
    """Waits until `holds()`. Raises `AssertionError` naming `what` after `PATIENCE`."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"still not: {what}"
        time.sleep(0.02)


def processes_below(home: Path) -> list[Path]:
    """The `/proc` folders of all our processes that work in this home (Linux)."""
    marks = f"ACP_STDIO_HOME={home}".encode()
    found: list[Path] = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if marks in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(folder)
    return found


def all_gone(home: Path) -> None:
    """Waits until no process of ours works in this home; a helper that signs the trail may still wait for the keyring.

    Raises `AssertionError` after `PATIENCE`, with what is left.
    """
    try:
        eventually(lambda: not processes_below(home), "all of our processes are gone")
    except AssertionError as late:
        left = [(folder / "cmdline").read_bytes().split(b"\0")[:6] for folder in processes_below(home)]
        raise AssertionError(f"{late}: {left}") from None


def ended(process: "subprocess.Popen[Any]") -> bool:
    """Whether a process is gone, waited for or not."""
    if process.poll() is not None:
        return True
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return True
    return False
