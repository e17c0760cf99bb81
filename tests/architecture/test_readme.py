"""The README says what is so: files, commands, numbers, examples and quoted messages are looked up."""

import argparse
import ast
import json
import os
import re
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from acp_stdio import __version__, errors
from acp_stdio.cli.common import add_common
from acp_stdio.cli.main import COMMANDS
from acp_stdio.settings import managed, sections
from acp_stdio.settings.load import load, read_policy
from acp_stdio.settings.presets import identity_defaults
from acp_stdio.settings.sources import Problems, Source
from acp_stdio.settings.table import Table
from tests.architecture.walk import ROOT, modules, tree

README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDES = sorted((ROOT / "configs" / "guides").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *GUIDES]


def section(title: str, text: str = README) -> str:
    """What stands between this heading and the next one of its level."""
    _, found, rest = text.partition(f"\n## {title}\n")
    assert found, f"there is no section {title}"
    return rest.partition("\n## ")[0]


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the table whose first column is headed so."""
    lines = iter(text.splitlines())
    assert any(line.startswith(f"| {heading} |") for line in lines), f"there is no table of {heading}"
    next(lines)
    found: list[list[str]] = []
    for line in lines:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return found


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def links(text: str) -> list[str]:
    return re.findall(r"\]\(([^)]+)\)", text)


def anchor(heading: str) -> str:
    """A heading's anchor, as forges make it."""
    return re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_leads_to_a_file_or_a_heading(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    anchors = {f"#{anchor(title)}" for title in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)}
    local = [link for link in links(text) if not link.startswith("https://")]
    assert not [link for link in local if link not in anchors and not (page.parent / link).exists()]


def test_each_question_is_answered_by_a_file() -> None:
    answers = [links(cells[1]) for cells in rows(section("How it is built"), "Question")]
    assert len(answers) > 10
    assert all(answers)
    assert not [name for names in answers for name in names if not (ROOT / name).is_file()]


def test_each_folder_and_file_of_the_picture_exists() -> None:
    (picture,) = re.findall(r"^```\n(.*?)^```$", section("How it is built"), flags=re.MULTILINE | re.DOTALL)
    rooms = set(re.findall(r"\b([a-z]+)/", picture))
    assert {"relay", "tokens", "vault", "audit", "upstream", "downstream"} <= rooms
    assert not [room for room in rooms if not (ROOT / "acp_stdio" / room).is_dir()]
    assert not [
        name for name in re.findall(r"\b[a-z]+/[a-z_]+\.py\b", picture) if not (ROOT / "acp_stdio" / name).exists()
    ]


def test_the_commands_are_those_of_the_program() -> None:
    told = [cells[0].strip("`") for cells in rows(section("Commands"), "Command")]
    assert sorted(told) == sorted(f"acp-stdio {name}" for name in COMMANDS)


def test_each_command_line_in_the_texts_can_be_typed() -> None:
    """Also those in messages: an advice must not name a command or flag of another version."""
    said = [page.read_text(encoding="utf-8") for page in PAGES] + constants()
    lines = {line for text in said for line in re.findall(r"`(acp-stdio [^`]*)`", text)}
    assert len(lines) > 8
    assert not [line for line in lines if not typable(line)]


def typable(line: str) -> bool:
    words = line.split()[1:]
    if words == ["token-helper"]:  # a process of ours, not for people
        return True
    known = set(options_of(words[0])) if words and words[0] in COMMANDS else set[str]()
    flags = [word for word in words[1:] if word.startswith("-")]
    return bool(words) and words[0] in COMMANDS and set(flags) <= known


def options_of(command: str) -> list[str]:
    parser = argparse.ArgumentParser()
    import_module(COMMANDS[command][1]).add_arguments(parser)
    add_common(parser)
    return _options(parser)


def _options(parser: argparse.ArgumentParser) -> list[str]:
    """Its options, and those of the actions below it, such as `policy check`."""
    found: list[str] = []
    for action in parser._actions:  # pyright: ignore[reportPrivateUsage]  # argparse has no public list
        found += action.option_strings
        below: Any = action.choices
        for inner in below.values() if isinstance(action, argparse._SubParsersAction) else ():  # pyright: ignore[reportPrivateUsage]
            found += _options(inner)
    return found


def test_an_unknown_command_is_noticed() -> None:
    assert not typable("acp-stdio cure")
    assert not typable("acp-stdio login --surely")
    assert typable("acp-stdio login --force")


def test_the_exit_codes_are_those_of_the_program() -> None:
    told = [int(cells[0]) for cells in rows(section("Exit codes and reasons"), "Exit code")]
    assert told == sorted(value for name, value in vars(errors).items() if name.startswith("EXIT_"))


def test_the_reasons_have_their_numbers() -> None:
    told = {
        cells[0].strip("`"): tuple(map(int, cells[1:])) for cells in rows(section("Exit codes and reasons"), "Reason")
    }
    assert told == errors.REASONS


def test_the_configuration_keys_are_those_that_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read: dict[str, set[str]] = {}

    def finish(self: Any) -> None:
        current.update(self._known)

    monkeypatch.setattr(Table, "finish", finish)
    user, problems, who = Path("config.toml"), Problems(), identity_defaults("generic")
    readers: dict[str, Any] = {
        "[identity]": lambda: sections.identity({}, problems),
        "[upstreams.NAME]": lambda: sections.upstream("x", {}, {"default": who}, user, problems),
        "[storage]": lambda: sections.storage({}, problems),
        "[network]": lambda: sections.network({}, problems),
        "[policy]": lambda: read_policy([Source(user, "", {"policy": {}})], problems, None),
        "[audit]": lambda: sections.audit({}, problems),
        "[host]": lambda: sections.host({}, problems),
    }
    for name, reader in readers.items():
        current: set[str] = set()
        reader()
        read[name] = current
    told = {cells[0].strip("`"): keys(cells[1]) for cells in rows(section("Configuration"), "Table")}
    del told["(top)"]
    del told["[identities.NAME]"]  # those of [identity]
    assert told == read


def keys(cell: str) -> set[str]:
    """The names outside of parentheses."""
    return set(re.findall(r"`([a-z_]+)`", re.sub(r"\([^)]*\)", "", cell)))


@pytest.mark.parametrize("text", blocks("toml", README), ids=lambda _: "example")
def test_each_toml_example_is_a_configuration(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(managed, "PLACE", tmp_path / "none")
    config = tmp_path / "config.toml"
    config.write_text(text, encoding="utf-8")
    assert load(config=config, environ={"ACP_STDIO_HOME": str(tmp_path)}).upstreams


def test_the_host_entry_is_the_one_in_configs() -> None:
    (entry,) = blocks("json", README)
    assert json.loads(entry) == json.loads((ROOT / "configs/claude_desktop_config.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_the_json_in_a_guide_parses(page: Path) -> None:
    for text in blocks("json", page.read_text(encoding="utf-8")):
        json.loads(text)


def constants() -> list[str]:
    """Every text in the package, f-strings in the pieces between their values."""
    return [
        node.value
        for path in modules()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


def test_each_quoted_message_is_one_that_the_program_says() -> None:
    table = rows(section("Troubleshooting, by the words you see"), "You see")
    quoted = [message for cells in table for message in re.findall(r'"([^"]+)"', cells[0])]
    assert len(quoted) > 20
    said = constants()
    assert not [message for message in quoted if not any(message in text for text in said)]


def test_the_two_commands_can_be_run() -> None:
    named = re.findall(r"^(scripts/\w+)", "\n".join(blocks("sh", README)), flags=re.MULTILINE)
    assert named == ["scripts/demo", "scripts/test"]
    assert all(os.access(ROOT / name, os.X_OK) for name in (*named, "scripts/check"))


def test_each_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = sorted(re.split(r"[\[<>=]", need, maxsplit=1)[0] for need in project["dependencies"])
    assert [cells[0] for cells in rows(section("Dependencies"), "Package")] == needed


def test_the_changelog_knows_this_version() -> None:
    assert f"\n## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_page_can_be_read_at_one_sitting() -> None:
    assert len(README.splitlines()) <= 400


def test_no_text_points_to_papers_that_are_elsewhere() -> None:
    papers = re.compile(r"\b(?:DESIGN|INTERFACE)\b|\b(?:identity|login|protocol|peers|style|performance)\.md\b")
    texts = {path: path.read_text(encoding="utf-8") for path in (*modules(), *PAGES)}
    assert not [path.name for path, text in texts.items() if papers.search(text)]
