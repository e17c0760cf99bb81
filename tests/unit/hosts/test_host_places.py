"""Where each host's file is, on machines that are only made up of folders."""

from pathlib import Path

import pytest

from acp_stdio.hosts.known import BY_NAME, Machine, looked_at, places

MAC = "Library/Application Support"
CLAUDE = "claude_desktop_config.json"
MSIX = "AppData/Local/Packages/Claude_pzs8sxrjxfjjc"
INSIDE = f"LocalCache/Roaming/Claude/{CLAUDE}"


def _machine(home: Path, platform: str, environ: dict[str, str] | None = None) -> Machine:
    return Machine(platform, environ or {}, home, applications=home / "AllApplications")


@pytest.mark.parametrize(
    ("host", "platform", "there", "expected"),
    [
        ("claude-desktop", "darwin", [f"{MAC}/Claude/{CLAUDE}"], [f"{MAC}/Claude/{CLAUDE}"]),
        ("claude-desktop", "darwin", [f"{MAC}/Claude/"], [f"{MAC}/Claude/{CLAUDE}"]),
        ("claude-desktop", "darwin", ["AllApplications/Claude.app/"], [f"{MAC}/Claude/{CLAUDE}"]),
        ("claude-desktop", "darwin", ["Applications/Claude.app/"], [f"{MAC}/Claude/{CLAUDE}"]),
        ("claude-desktop", "darwin", [f"{MAC}/Cloud/"], []),
        ("claude-desktop", "darwin", [".config/Claude/"], []),
        ("claude-desktop", "win32", ["AppData/Roaming/Claude/"], [f"AppData/Roaming/Claude/{CLAUDE}"]),
        ("claude-desktop", "win32", ["AppData/Local/AnthropicClaude/"], [f"AppData/Roaming/Claude/{CLAUDE}"]),
        ("claude-desktop", "win32", [f"{MSIX}/"], [f"{MSIX}/{INSIDE}"]),
        (
            "claude-desktop", "win32",
            [f"{MSIX}/{INSIDE}", f"AppData/Roaming/Claude/{CLAUDE}", "AppData/Local/Packages/Claudette/"],
            [f"AppData/Roaming/Claude/{CLAUDE}", f"{MSIX}/{INSIDE}"],
        ),
        ("claude-desktop", "win32", ["AppData/Local/Packages/Other_1/", "AppData/Local/Packages/Claude_file"], []),
        ("claude-desktop", "linux", [".config/Claude/"], [f".config/Claude/{CLAUDE}"]),
        ("claude-desktop", "linux", [".config/"], []),
        ("claude-code", "linux", [".claude.json"], [".claude.json"]),
        ("claude-code", "darwin", [".claude/"], [".claude.json"]),
        ("claude-code", "win32", [".cursor/"], []),
        ("cursor", "win32", [".cursor/"], [".cursor/mcp.json"]),
        ("cursor", "linux", [".codeium/"], []),
        ("windsurf", "darwin", [".codeium/windsurf/"], [".codeium/windsurf/mcp_config.json"]),
        ("windsurf", "linux", [".codeium/"], []),
        ("vscode", "linux", [".config/Code/"], [".config/Code/User/mcp.json"]),
        ("vscode", "win32", ["AppData/Roaming/Code/"], ["AppData/Roaming/Code/User/mcp.json"]),
        (
            "vscode", "darwin", [f"{MAC}/Code/", f"{MAC}/Code - Insiders/"],
            [f"{MAC}/Code/User/mcp.json", f"{MAC}/Code - Insiders/User/mcp.json"],
        ),
    ],
)  # fmt: skip
def test_each_file_is_found_where_its_host_is_and_only_there(
    host: str, platform: str, there: list[str], expected: list[str], tmp_path: Path
) -> None:
    for each in there:
        path = tmp_path / each
        (path if each.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not each.endswith("/"):
            path.write_text("{}")
    assert places(BY_NAME[host], _machine(tmp_path, platform)) == [tmp_path / each for each in expected]


def test_variables_that_move_folders_are_followed(tmp_path: Path) -> None:
    for folder in ("xdg/Claude", "roaming/Claude", "local [1]/Packages/Claude_x"):
        (tmp_path / folder).mkdir(parents=True)
    host = BY_NAME["claude-desktop"]
    windows = {"APPDATA": str(tmp_path / "roaming"), "LOCALAPPDATA": str(tmp_path / "local [1]")}
    assert places(host, _machine(tmp_path, "win32", windows)) == [
        tmp_path / "roaming" / "Claude" / CLAUDE,
        tmp_path / "local [1]/Packages/Claude_x" / INSIDE,
    ]
    linux = {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    assert places(host, _machine(tmp_path, "linux", linux)) == [tmp_path / "xdg/Claude" / CLAUDE]
    assert places(host, _machine(tmp_path, "linux", {"XDG_CONFIG_HOME": "relative"})) == []


def test_a_program_on_the_path_is_evidence_enough(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "claude-desktop"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    machine = _machine(tmp_path, "linux", {"PATH": str(program.parent)})
    assert places(BY_NAME["claude-desktop"], machine) == [tmp_path / ".config/Claude" / CLAUDE]


@pytest.mark.parametrize("platform", ["darwin", "win32", "linux"])
@pytest.mark.parametrize("host", list(BY_NAME))
def test_a_host_that_is_not_there_has_no_file_but_places_to_name(host: str, platform: str, tmp_path: Path) -> None:
    machine = _machine(tmp_path, platform)
    assert places(BY_NAME[host], machine) == []
    assert all(str(tmp_path) in place for place in looked_at(BY_NAME[host], machine))
    assert looked_at(BY_NAME[host], machine)
