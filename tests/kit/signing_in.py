"""A person's machine in a temporary folder: configuration, file vault, a scripted browser, our commands."""

import base64
import contextlib
import json
import os
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 90.0
"""Seconds for one command; a busy machine takes its time."""
_LINK = re.compile(r"^\s+(https?://\S+)$", re.MULTILINE)


class _Nothing(BaseHTTPRequestHandler):
    """An MCP server's address that publishes no metadata."""

    def do_GET(self) -> None:
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def bare_upstream() -> Generator[str]:
    """An address to sign in for; nothing behind it understands MCP."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Nothing) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/mcp"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def mcp_server(issuer: str, register: Callable[[str], None]) -> Generator[str]:
    """The demo's finance server on the MCP SDK, which takes tokens of `issuer` for itself only.

    `register` is called with its address before that is used, so that the provider knows the resource.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "acp_stdio.demo.finance", "--issuer", issuer, "--until-eof"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        register(url)
        try:
            yield url
        finally:
            process.stdin.close()
            process.wait(PATIENCE)


@dataclass
class Machine:
    """Runs `acp-stdio` as a subprocess in an environment as small as a host's."""

    home: Path
    issuer: str
    upstream: str
    user: str = "alice"
    client_id: str = "acp-stdio"
    identity: str = ""
    """More lines for `[identity]`."""
    upstream_lines: str = ""
    """More lines for `[upstreams.finance]`."""
    extra_environment: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        self.key_file = self.home / "store.key"
        if not self.key_file.exists():  # another person at the same machine has the same store
            self.key_file.touch(0o600)
            self.key_file.write_text(base64.b64encode(secrets.token_bytes(32)).decode() + "\n")
        self.seen = self.home / "opened"
        """Every address that the browser was started with, one a line."""
        browser = self.home / "browser"
        browser.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$1" >> "{self.seen}"\n'
            f'cd "{ROOT}" && exec "{sys.executable}" tests/kit/human.py --user "$ACP_TEST_USER" "$1"\n'
        )
        browser.chmod(0o755)
        self.browser = browser
        self.configure()

    @property
    def state(self) -> Path:
        return self.home / "state" / "default"

    def configure(self) -> None:
        """Writes the configuration as the fields say now."""
        config = self.home / "config" / "config.toml"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(
            f"""version = 1

[identity]
issuer = "{self.issuer}"
client_id = "{self.client_id}"
{self.identity}

[upstreams.finance]
url = "{self.upstream}"
{self.upstream_lines}

[storage]
backend = "file"
key_file = "{self.key_file}"
"""
        )

    @property
    def environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.home),
            "PATH": os.environ["PATH"],
            "USER": "somebody",
            "PYTHONPATH": str(ROOT),
            "ACP_STDIO_HOME": str(self.home),
            "ACP_TEST_USER": self.user,
            "BROWSER": str(self.browser),
            **self.extra_environment,
        }

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """A command that goes on while the test does something; its stderr says what the person reads."""
        return subprocess.Popen(
            [sys.executable, "-m", "acp_stdio", *words],
            env=self.environment,
            cwd=self.home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """A command from start to end."""
        with self.start(*words) as process:
            out, err = process.communicate(timeout=PATIENCE)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def json(self, *words: str) -> Any:
        """The result of a command with `--json`, whatever its exit code."""
        return json.loads(self.run(*words, "--json").stdout)

    def files(self) -> dict[str, bytes]:
        """Everything in state and cache, but locks: what a sign-in changes."""
        found: dict[str, bytes] = {}
        for name in ("state", "cache"):
            for path in (self.home / name).rglob("*"):
                if path.is_file() and path.suffix != ".lock" and not path.name.startswith("public-"):
                    found[str(path.relative_to(self.home))] = path.read_bytes()
        return found


def printed_link(process: "subprocess.Popen[str]") -> str:
    """Reads what the command tells the person, up to the first address."""
    assert process.stderr is not None
    told: list[str] = []
    for line in process.stderr:
        told.append(line)
        if match := _LINK.search(line):
            return match[1]
    raise AssertionError(f"no address was printed: {told}")


def revocations(log: Sequence[dict[str, Any]]) -> int:
    """How many tokens the provider was asked to revoke, and did."""
    return sum(entry["path"] == "/token/revocation" and entry["status"] == 200 for entry in log)
