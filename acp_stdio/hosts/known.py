"""The hosts we can install into, one row each, and where their files are on a machine.

Sources: the hosts' documentation, and for Claude Desktop's packaged Windows build users' reports:
it sees its own folder as `%APPDATA%\\Claude`, and no other program does.
"""

import glob
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class Machine:
    """What the places depend on. Tests make one over a made-up home."""

    platform: str
    """As `sys.platform` says it: darwin, win32, linux."""
    environ: Mapping[str, str]
    home: Path
    applications: Path = Path("/Applications")
    """macOS: where all users' programs are."""

    def expand(self, pattern: str, *, escaped: bool) -> str:
        """The pattern with this machine's folders in it; `escaped`: so that `glob` takes them as they are."""
        config = self.environ.get("XDG_CONFIG_HOME", "")
        folders = {
            "home": str(self.home),
            "applications": str(self.applications),
            "appdata": self.environ.get("APPDATA") or str(self.home / "AppData" / "Roaming"),
            "localappdata": self.environ.get("LOCALAPPDATA") or str(self.home / "AppData" / "Local"),
            # XDG Base Directory Specification: a relative path is to be ignored
            "config": config if os.path.isabs(config) else str(self.home / ".config"),
        }
        return pattern.format_map({k: glob.escape(v) if escaped else v for k, v in folders.items()})


def this_machine() -> Machine:
    """The one we run on."""
    return Machine(sys.platform, os.environ, Path.home())


@dataclass(frozen=True, slots=True)
class Spot:
    """One place where a host may keep its file: `root` may hold `*`, and `rest` lies below it."""

    platforms: tuple[str, ...]
    root: str
    rest: str
    evidence: tuple[str, ...] = ()
    """Folders that are there only where the host is; a `root` with `*` is its own evidence."""
    commands: tuple[str, ...] = ()
    """Programs on the PATH that show the same."""


@dataclass(frozen=True, slots=True)
class Host:
    """A program that launches MCP servers from a JSON file."""

    name: str
    title: str
    spots: tuple[Spot, ...]
    reopen: str
    """What makes it read its file again."""
    section: str = "mcpServers"
    """The object that holds an entry for each server."""
    typed: bool = False
    """Whether an entry says `"type": "stdio"`."""
    strict: bool = True
    """Whether it reads plain JSON only, without comments."""


_EVERYWHERE: Final = ("darwin", "win32", "linux")
_MAC_CLAUDE: Final = "{home}/Library/Application Support/Claude"
_CLAUDE_FILE: Final = "claude_desktop_config.json"
_CODE: Final = (("darwin", "{home}/Library/Application Support"), ("win32", "{appdata}"), ("linux", "{config}"))

HOSTS: Final = (
    Host(
        "claude-desktop",
        "Claude Desktop",
        (
            Spot(
                ("darwin",),
                _MAC_CLAUDE,
                _CLAUDE_FILE,
                (
                    _MAC_CLAUDE,
                    "{applications}/Claude.app",
                    "{home}/Applications/Claude.app",
                ),
            ),
            Spot(("win32",), "{appdata}/Claude", _CLAUDE_FILE, ("{appdata}/Claude", "{localappdata}/AnthropicClaude")),
            Spot(("win32",), "{localappdata}/Packages/Claude_*", f"LocalCache/Roaming/Claude/{_CLAUDE_FILE}"),
            Spot(("linux",), "{config}/Claude", _CLAUDE_FILE, ("{config}/Claude",), ("claude-desktop",)),
        ),
        "Quit Claude completely (menu bar or tray icon, not only the window) and open it again.",
    ),
    Host(
        "claude-code",
        "Claude Code",
        (Spot(_EVERYWHERE, "{home}", ".claude.json", ("{home}/.claude",), ("claude",)),),
        "Start a new Claude Code session.",
        typed=True,
    ),
    Host(
        "cursor",
        "Cursor",
        (Spot(_EVERYWHERE, "{home}/.cursor", "mcp.json", ("{home}/.cursor",)),),
        "Quit Cursor and open it again.",
        strict=False,
    ),
    Host(
        "vscode",
        "VS Code",
        tuple(
            Spot((platform,), f"{base}/{build}/User", "mcp.json", (f"{base}/{build}",))
            for platform, base in _CODE
            for build in ("Code", "Code - Insiders")
        ),
        "Reload VS Code's window.",
        section="servers",
        typed=True,
        strict=False,
    ),
    Host(
        "windsurf",
        "Windsurf",
        (Spot(_EVERYWHERE, "{home}/.codeium/windsurf", "mcp_config.json", ("{home}/.codeium/windsurf",)),),
        "Quit Windsurf and open it again.",
    ),
)
"""Every host that `install` knows."""

BY_NAME: Final = {host.name: host for host in HOSTS}


def places(host: Host, machine: Machine) -> list[Path]:
    """The host's files on this machine: those that exist, and those that it would read if they did."""
    found: dict[Path, None] = {}
    for spot in host.spots:
        if machine.platform in spot.platforms:
            found.update(dict.fromkeys(_files(spot, machine)))
    return list(found)


def looked_at(host: Host, machine: Machine) -> list[str]:
    """The same places in words, for a person whose host was not found."""
    return [
        str(Path(machine.expand(spot.root, escaped=False), spot.rest))
        for spot in host.spots
        if machine.platform in spot.platforms
    ]


def _files(spot: Spot, machine: Machine) -> Iterator[Path]:
    if "*" in spot.root:
        for root in sorted(glob.glob(machine.expand(spot.root, escaped=True))):
            if os.path.isdir(root):
                yield Path(root, spot.rest)
        return
    file = Path(machine.expand(spot.root, escaped=False), spot.rest)
    if os.path.lexists(file) or _evident(spot, machine):
        yield file


def _evident(spot: Spot, machine: Machine) -> bool:
    path = machine.environ.get("PATH", "")
    return any(os.path.isdir(machine.expand(folder, escaped=False)) for folder in spot.evidence) or any(
        shutil.which(command, path=path) for command in spot.commands
    )
