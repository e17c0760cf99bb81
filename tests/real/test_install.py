"""What `install` wrote is started as a host starts it; at a terminal it asks before it replaces."""

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.kit.signing_in import bare_upstream

pytestmark = pytest.mark.real

PATIENCE = 90.0
PROGRAM = Path(sys.executable).parent / "acp-stdio"
KEY = "a-key-that-nobody-may-see-0123456789"
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "claude-ai", "version": "0.1.0"},
    },
}


class Laptop:
    """A home where everything lies somewhere unusual, which a host will not be told."""

    def __init__(self, home: Path, upstream: str) -> None:
        self.home = home
        self.shell = {"HOME": str(home), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "USER": "sarah"}
        self.shell |= {f"XDG_{kind.upper()}_HOME": str(home / "xdg" / kind) for kind in ("config", "state", "cache")}
        self.claude = home / "xdg" / "config" / "Claude" / "claude_desktop_config.json"
        self.claude.parent.mkdir(parents=True)
        config = home / "xdg" / "config" / "acp-stdio" / "config.toml"
        config.parent.mkdir()
        config.write_text(
            f'[identity]\nissuer = "http://127.0.0.1:1"\nclient_id = "c"\n[upstreams.finance]\nurl = "{upstream}"\n'
        )

    def acp(self, *argv: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [PROGRAM, *argv],
            env=self.shell,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def as_host(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Starts an entry exactly as written, in the small environment of Claude Desktop, at `/`."""
        small = {name: self.shell[name] for name in ("HOME", "PATH", "USER")}
        ran = subprocess.run(
            [entry["command"], *entry["args"]],
            cwd="/",
            env={**small, **entry.get("env", {})},
            input=json.dumps(INITIALIZE) + "\n",
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return dict(json.loads(ran.stdout.splitlines()[0]))

    def at_terminal(self, answers: dict[str, str], *argv: str) -> tuple[int, str]:
        """Runs our program at a terminal and types an answer whenever its question appears."""
        ours, theirs = pty.openpty()
        with subprocess.Popen([PROGRAM, *argv], env=self.shell, stdin=theirs, stdout=theirs, stderr=theirs) as process:
            os.close(theirs)
            seen, looked = "", 0
            until = time.monotonic() + PATIENCE
            while time.monotonic() < until:
                if not select.select([ours], [], [], 1.0)[0]:
                    continue
                try:
                    seen += os.read(ours, 65536).decode(errors="replace")
                except OSError:  # EIO: everybody on the other side has left
                    break
                for question, answer in answers.items():
                    place = seen.find(question, looked)
                    if place >= 0 and (end := seen.find("]", place)) >= 0:
                        os.write(ours, answer.encode() if answer == "\x04" else f"{answer}\n".encode())
                        looked = end
            os.close(ours)
            return process.wait(PATIENCE), seen


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    return Laptop(tmp_path / "home", "http://127.0.0.1:1/mcp")


@pytest.mark.skipif("sys.platform != 'linux'", reason="XDG directories")
def test_the_entry_as_written_answers_a_host_with_its_small_environment(tmp_path: Path) -> None:
    with bare_upstream() as upstream:
        laptop = Laptop(tmp_path / "home", upstream)
        laptop.claude.write_text('{\r\n\t"theme": "dark"\r\n}\r\n')
        before = laptop.claude.read_bytes()
        done = laptop.acp("install", "claude-desktop")
        assert done.returncode == 0, done.stderr
        assert laptop.claude.read_bytes().startswith(
            b'{\r\n\t"theme": "dark",\r\n\t"mcpServers": {\r\n\t\t"finance": {\r\n'
        )
        entry = json.loads(laptop.claude.read_text())["mcpServers"]["finance"]
        assert entry["command"] == str(PROGRAM)
        answer = laptop.as_host(entry)
        assert answer["id"] == 1
        assert answer["result"]["protocolVersion"] == "2025-11-25"
        assert not (laptop.home / ".config").exists()
        assert not (laptop.home / ".local").exists()  # it looked where the shell's files are, and nowhere else
        assert laptop.acp("uninstall", "claude-desktop").returncode == 0
        assert json.loads(laptop.claude.read_text()) == {**json.loads(before), "mcpServers": {}}


def test_without_the_carried_variables_the_host_would_find_no_configuration(laptop: Laptop) -> None:
    laptop.acp("install", "claude-desktop")
    entry = json.loads(laptop.claude.read_text())["mcpServers"]["finance"]
    with pytest.raises(AssertionError, match="There is no upstream"):
        laptop.as_host({**entry, "env": {}})


def _with_rivals(laptop: Laptop) -> None:
    header = ["--header", f"Authorization: Bearer {KEY}"]
    old = {"command": "npx", "args": ["mcp-remote", "http://127.0.0.1:1/mcp", *header]}
    laptop.claude.write_text(json.dumps({"mcpServers": {"old": old, "finance": {"command": "other"}}}))


def test_at_a_terminal_each_entry_in_the_way_is_asked_about(laptop: Laptop) -> None:
    _with_rivals(laptop)
    code, seen = laptop.at_terminal(
        {"Sign in now": "n", "'old' leads to the same server": "y", "'finance' has the name": "y"},
        "install",
        "claude-desktop",
    )
    assert code == 0, seen
    assert seen.index("Sign in now") < seen.index("'old'")
    assert KEY not in seen
    assert "a header in its arguments" in seen
    servers = json.loads(laptop.claude.read_text())["mcpServers"]
    assert list(servers) == ["finance"]
    assert servers["finance"]["args"] == ["run", "finance"]


def test_no_is_the_default_and_a_kept_name_is_exit_7(laptop: Laptop) -> None:
    _with_rivals(laptop)
    before = laptop.claude.read_bytes()
    code, seen = laptop.at_terminal({"Sign in now": "n", "Put ours in its place?": ""}, "install", "claude-desktop")
    assert code == 7, seen
    assert "not installed" in seen
    assert laptop.claude.read_bytes() == before
    assert KEY not in seen


def test_an_end_of_input_agrees_to_nothing(laptop: Laptop) -> None:
    _with_rivals(laptop)
    before = laptop.claude.read_bytes()
    code, seen = laptop.at_terminal({"Sign in now": "\x04", "place? [y": "\x04"}, "install", "claude-desktop")
    assert code == 7, seen
    assert "The entry is written all the same" not in seen  # no sign-in was tried
    assert laptop.claude.read_bytes() == before


def test_a_sign_in_that_fails_is_said_and_the_entry_is_written(laptop: Laptop) -> None:
    code, seen = laptop.at_terminal({"Sign in now": ""}, "install", "claude-desktop")
    assert code == 0, seen
    assert "The entry is written all the same." in seen
    assert "finance" in json.loads(laptop.claude.read_text())["mcpServers"]
