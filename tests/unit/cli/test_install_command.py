"""`install`, `uninstall` and `hosts`: what they say, change and return, over made-up homes."""

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from acp_stdio.cli import main as command_line

URL = "https://finance.example.com/mcp"
KEY = "a-key-that-nobody-may-see-0123456789"
CONFIG = """
[identity]
issuer = "https://login.example.com"
client_id = "acp-stdio"
[upstreams.finance]
url = "https://finance.example.com/mcp"
[upstreams.people]
url = "https://people.example.com/mcp"
"""

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="a made-up home of Linux; the places are tested for all"
)


class Home:
    """A person's folders, and our command in a process of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.claude = path / ".config" / "Claude" / "claude_desktop_config.json"
        self.claude.parent.mkdir(parents=True)
        config = path / ".config" / "acp-stdio" / "config.toml"
        config.parent.mkdir()
        config.write_text(CONFIG)

    def acp(self, *argv: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "acp_stdio", *argv],
            env={
                "HOME": str(self.path),
                "PATH": "/usr/bin:/bin",
                "PYTHONPATH": str(Path(__file__).parents[3]),
                **environ,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def write(self, servers: dict[str, Any]) -> bytes:
        self.claude.write_text(json.dumps({"mcpServers": servers}, indent=2))
        return self.claude.read_bytes()

    @property
    def servers(self) -> dict[str, Any]:
        return dict(json.loads(self.claude.read_text())["mcpServers"])

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in self.claude.parent.iterdir())


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "sarah")


def test_together_they_get_one_entry_and_each_an_own_one_again(home: Home) -> None:
    home.write({"theirs": {"command": "/bin/true"}})
    home.acp("install", "claude-desktop")
    done = home.acp("install", "claude-desktop", "--together", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"][0]["entries"] == {
        "acp-stdio": "added",
        "finance": "removed",
        "people": "removed",
    }
    assert list(home.servers) == ["theirs", "acp-stdio"]
    assert home.servers["acp-stdio"]["args"] == ["run"]
    assert "already there" in home.acp("install", "claude-desktop", "--together").stdout
    home.acp("install", "claude-desktop")
    assert list(home.servers) == ["theirs", "finance", "people"]


def test_some_of_them_together_are_named_in_their_entry(home: Home) -> None:
    both = ("--upstream", "people", "--upstream", "finance")
    done = home.acp("install", "claude-desktop", "--together", *both)
    assert done.returncode == 0, done.stderr
    assert home.servers["acp-stdio"]["args"] == ["run", "people", "finance"]


def test_each_upstream_gets_an_entry_with_the_absolute_program_and_stable_words(home: Home) -> None:
    done = home.acp("install", "claude-desktop")
    assert done.returncode == 0, done.stderr
    assert list(home.servers) == ["finance", "people"]
    entry = home.servers["finance"]
    assert entry == {"command": entry["command"], "args": ["run", "finance"]}
    assert Path(entry["command"]).is_absolute()
    assert Path(entry["command"]).name == "acp-stdio"
    assert "finance added, people added" in done.stdout
    assert done.stdout.rstrip().endswith(
        "Quit Claude completely (menu bar or tray icon, not only the window) and open it again."
    )
    assert "acp-stdio login" in done.stderr
    assert "+" in done.stderr  # the diff
    assert stat.S_IMODE(home.claude.stat().st_mode) == 0o600


def test_one_upstream_can_be_named_and_a_second_install_changes_nothing(home: Home) -> None:
    assert home.acp("install", "claude-desktop", "--upstream", "people").returncode == 0
    again = home.acp("install", "claude-desktop", "--upstream", "people")
    assert again.returncode == 0
    assert "people already there" in again.stdout
    assert "Quit Claude" not in again.stdout
    assert (list(home.servers), home.files) == (["people"], [home.claude.name])


def test_a_dry_run_shows_the_change_and_makes_none(home: Home) -> None:
    before = home.write({"files": {"command": "npx", "env": {"TOKEN": KEY}}})
    done = home.acp("install", "claude-desktop", "--dry-run")
    assert done.returncode == 0
    assert '+    "finance": {' in done.stdout
    assert "Nothing was changed." in done.stdout
    assert KEY not in done.stdout + done.stderr
    assert "the variable TOKEN" in done.stderr
    assert (home.claude.read_bytes(), home.files) == (before, [home.claude.name])
    home.acp("install", "claude-desktop")
    before = home.claude.read_bytes()
    done = home.acp("uninstall", "claude-desktop", "--dry-run")
    assert '-    "finance": {' in done.stdout
    assert home.claude.read_bytes() == before


def test_options_that_differ_from_the_default_travel_in_the_entry(home: Home) -> None:
    other = home.path / "other.toml"
    other.write_text(CONFIG)
    done = home.acp("--config", str(other), "install", "claude-desktop", "--profile", "work", "--upstream", "finance",
                    ACP_STDIO_HOME=str(home.path / "acp"))  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list(home.servers) == ["finance-work"]
    entry = home.servers["finance-work"]
    assert entry["args"] == ["run", "finance", "--config", str(other), "--profile", "work"]
    assert entry["env"] == {"ACP_STDIO_HOME": str(home.path / "acp")}


def test_a_foreign_entry_of_that_name_stops_everything_until_it_is_named(home: Home) -> None:
    before = home.write({"finance": {"command": "npx", "args": ["mcp-remote", URL, "--header", f"X-Api-Key: {KEY}"]}})
    done = home.acp("install", "claude-desktop")
    assert done.returncode == 3
    assert "--replace finance" in done.stderr
    assert (home.claude.read_bytes(), home.files) == (before, [home.claude.name])
    done = home.acp("install", "claude-desktop", "--replace", "finance")
    assert done.returncode == 0
    assert "finance replaced, people added" in done.stdout
    assert "still holds the credential" in done.stderr
    assert KEY not in done.stdout + done.stderr + home.claude.read_text()


def test_an_entry_for_the_same_server_is_named_and_stays_until_told_otherwise(home: Home) -> None:
    home.write({"old": {"command": "npx", "args": ["mcp-remote", URL]}})
    done = home.acp("install", "claude-desktop", "--json")
    (row,) = json.loads(done.stdout)["files"]
    assert row["others"] == [{"name": "old", "same_url": True, "same_name": False, "credential": None}]
    assert row["entries"] == {"finance": "added", "people": "added"}
    assert Path(row["backup"]).exists()
    assert "--replace old" in done.stderr
    assert list(home.servers) == ["old", "finance", "people"]
    assert home.acp("install", "claude-desktop", "--replace", "old").returncode == 0
    assert list(home.servers) == ["finance", "people"]


def test_a_garbled_file_is_exit_3_with_its_line_and_no_other_host_is_touched(home: Home) -> None:
    cursor = home.path / ".cursor" / "mcp.json"
    cursor.parent.mkdir()
    home.claude.write_text('{\n  "mcpServers": {\n')
    for command in ("install", "uninstall"):
        done = home.acp(command, "cursor", "claude-desktop")
        assert done.returncode == 3
        assert f"{home.claude}:3: it ends too early" in done.stderr
    assert not cursor.exists()
    assert home.files == [home.claude.name]
    assert "it ends too early" in home.acp("hosts").stdout


def test_a_host_that_is_not_here_is_said_with_the_places(home: Home) -> None:
    done = home.acp("install", "windsurf", "claude-desktop")
    assert done.returncode == 3
    assert str(home.path / ".codeium/windsurf/mcp_config.json") in done.stderr
    assert home.files == []
    done = home.acp("uninstall", "windsurf")
    assert (done.returncode, "nothing to remove" in done.stdout) == (0, True)


def test_an_unknown_host_is_a_usage_error(home: Home) -> None:
    assert home.acp("install", "notepad").returncode == 2
    assert home.acp("install").returncode == 2


def test_no_upstream_is_said_before_anything_else(home: Home) -> None:
    (home.path / ".config/acp-stdio/config.toml").write_text(CONFIG.partition("[upstreams")[0])
    done = home.acp("install", "claude-desktop")
    assert done.returncode == 3
    assert "names no upstream" in done.stderr


def test_uninstall_needs_no_configuration_and_leaves_the_rest(home: Home) -> None:
    before = home.write({"files": {"command": "npx", "args": ["x"]}})
    home.acp("install", "claude-desktop")
    (home.path / ".config/acp-stdio/config.toml").write_text("garbled")
    done = home.acp("uninstall", "claude-desktop")
    assert done.returncode == 0, done.stderr
    assert "removed finance, people" in done.stdout
    assert "sign-in and the audit trail stay" in done.stdout
    assert home.claude.read_bytes() == before
    assert "no entry of ours" in home.acp("uninstall", "claude-desktop").stdout


def test_hosts_says_what_is_known_and_found(home: Home) -> None:
    home.acp("install", "claude-desktop")
    hosts = {row["host"]: row for row in json.loads(home.acp("hosts", "--json").stdout)["hosts"]}
    assert list(hosts) == ["claude-desktop", "claude-code", "cursor", "vscode", "windsurf"]
    assert hosts["claude-desktop"]["files"] == [
        {"path": str(home.claude), "exists": True, "entries": ["finance", "people"], "problem": None}
    ]
    assert hosts["cursor"] == {"host": "cursor", "title": "Cursor", "found": False, "files": []}
    assert "ours: finance, people" in home.acp("hosts").stdout


def test_the_three_commands_are_known() -> None:
    assert {"install", "uninstall", "hosts"} <= set(command_line.COMMANDS)
