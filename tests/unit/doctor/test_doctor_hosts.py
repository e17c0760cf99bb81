"""What a host would start, and what it would see: entries in its files, and its few variables."""

import json
from pathlib import Path
from typing import Any

import pytest

from acp_stdio.doctor import host_entries, host_environment
from acp_stdio.doctor.check import Check, examine
from acp_stdio.doctor.finding import ok
from acp_stdio.errors import EXIT_CONFIGURATION
from tests.unit.doctor.conftest import MakeCase


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with Claude Desktop and nothing else."""
    home = tmp_path / "person"
    (home / ".config" / "Claude").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(host_entries, "is_passing", lambda path: False)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]  # tests live in a temporary folder
    return home


@pytest.fixture
def program(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = home / "bin" / "acp-stdio"
    path.parent.mkdir()
    path.touch(0o755)
    monkeypatch.setattr(host_entries, "this_executable", lambda: path)
    return path


def entries(home: Path, **servers: Any) -> None:
    file = home / ".config" / "Claude" / "claude_desktop_config.json"
    file.write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")


def ours(program: object, **more: Any) -> dict[str, Any]:
    return {"command": str(program), "args": ["run", "finance"], **more}


def test_an_entry_that_starts_this_program_is_well(home: Path, program: Path, make_case: MakeCase) -> None:
    entries(home, finance=ours(program))
    found = host_entries.probe(make_case())
    assert (found.state, found.message) == ("ok", "Claude Desktop: finance; each starts this program")


def test_a_host_without_an_entry_is_offered_one(home: Path, make_case: MakeCase) -> None:
    found = host_entries.probe(make_case())
    assert (found.state, found.next) == ("warning", "Run `acp-stdio install claude-desktop`.")


def test_a_machine_without_hosts_is_well(home: Path, make_case: MakeCase) -> None:
    (home / ".config" / "Claude").rmdir()
    assert host_entries.probe(make_case()).state == "ok"


@pytest.mark.parametrize(
    ("command", "words"),
    [("acp-stdio", "do not have a shell's PATH"), ("/nowhere/acp-stdio", "does not exist")],
)
def test_an_entry_that_starts_nothing_is_a_problem_with_one_command(
    home: Path, make_case: MakeCase, command: str, words: str
) -> None:
    entries(home, finance=ours(command))
    found = host_entries.probe(make_case())
    assert (found.state, found.exit_code) == ("problem", EXIT_CONFIGURATION)
    assert words in found.message
    assert found.next.startswith("Run `acp-stdio install claude-desktop`")


def test_an_entry_of_another_installation_is_worth_a_word(home: Path, program: Path, make_case: MakeCase) -> None:
    other = home / "old" / "acp-stdio"
    other.parent.mkdir()
    other.touch(0o755)
    entries(home, finance=ours(other))
    found = host_entries.probe(make_case())
    assert found.state == "warning"
    assert f"starts {other}, and this is {program}" in found.message


def test_two_entries_for_the_same_server_are_one_too_many(home: Path, program: Path, make_case: MakeCase) -> None:
    entries(home, finance=ours(program), money=ours(program))
    found = host_entries.probe(make_case())
    assert found.state == "warning"
    assert found.message.startswith("2 entries in ")


def test_a_way_round_us_is_told(home: Path, program: Path, make_case: MakeCase) -> None:
    entries(home, finance=ours(program), old={"command": "npx", "args": ["x", "https://finance.example.com/mcp"]})
    found = host_entries.probe(make_case())
    assert found.state == "warning"
    assert "leads to the same server without acp-stdio" in found.message


def test_a_static_key_is_named_by_its_place_and_not_shown(home: Path, program: Path, make_case: MakeCase) -> None:
    key = "sk-0123456789abcdef0123456789abcdef"
    entries(home, finance=ours(program), other={"command": "/bin/x", "args": [], "env": {"API_KEY": key}})
    found = host_entries.probe(make_case())
    assert found.state == "warning"
    assert "the variable API_KEY" in found.message
    assert key not in str(found)


def test_a_file_that_the_host_cannot_read_either_is_a_problem(home: Path, make_case: MakeCase) -> None:
    (home / ".config" / "Claude" / "claude_desktop_config.json").write_text("{,}")
    found = examine([Check("hosts", host_entries.probe)], make_case(), lambda _: None)["hosts"]
    assert (found.state, found.exit_code) == ("problem", EXIT_CONFIGURATION)
    assert host_entries.entry_environment() is None


def test_what_the_entry_adds_to_the_environment_is_what_a_child_gets(home: Path, program: Path) -> None:
    entries(home, finance=ours(program, env={"ACP_STDIO_HOME": "/elsewhere", "odd": 1}))
    assert host_entries.entry_environment() == {"ACP_STDIO_HOME": "/elsewhere"}


def test_a_host_hands_on_a_handful_of_variables() -> None:
    environ = {"HOME": "/h", "PATH": "/bin", "HTTPS_PROXY": "http://p", "DBUS_SESSION_BUS_ADDRESS": "x", "TERM": "t"}
    assert host_environment.reduced(environ) == {"HOME": "/h", "PATH": "/bin", "TERM": "t"}


@pytest.mark.parametrize(
    ("environ", "here", "there", "words"),
    [
        ({"HTTPS_PROXY": "http://u:p@proxy:3128"}, {"proxy": "proxy:3128"}, {"proxy": ""}, "http://proxy:3128"),
        ({"ALL_PROXY": "http://proxy:1"}, {"proxy": "proxy:1"}, {"proxy": ""}, "ALL_PROXY is set in this shell only"),
        ({"SSL_CERT_FILE": "/a.pem"}, {"trust": "/a.pem"}, {"trust": "other"}, 'ca_bundle = "/a.pem"'),
        ({"XDG_STATE_HOME": "/s"}, {"state": "/s/x"}, {"state": "/h/x"}, "XDG_STATE_HOME is set in this shell only"),
        ({"HTTPS_PROXY": "http://p"}, {"proxy": ""}, {"proxy": ""}, ""),
        ({}, {"proxy": "system:1"}, {"proxy": ""}, ""),
    ],
)
def test_what_differs_is_put_down_to_the_variable_that_only_the_shell_has(
    environ: dict[str, str], here: dict[str, str], there: dict[str, str], words: str
) -> None:
    step = host_environment.cause(ok("x", **here), ok("x", **there), environ)
    assert words in step
    assert bool(step) is bool(words)
    assert "u:p" not in step


def test_a_child_that_does_not_start_is_told(make_case: MakeCase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    found = host_environment.probe(make_case())
    assert found.state == "problem"
    assert "does not start" in found.message
