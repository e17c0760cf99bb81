"""Our entry, and how it is told from other people's; no credential is ever repeated."""

from pathlib import Path
from typing import Any

import pytest

from acp_stdio.errors import Failure
from acp_stdio.hosts.entry import arguments, environment, executable_in, is_ours, is_passing, serves
from acp_stdio.hosts.others import credential_in, leads_to

KEY = "k3y" + "0123456789abcdef" * 2
URL = "https://finance.example.com/mcp"


@pytest.mark.parametrize(
    ("entry", "ours"),
    [
        ({"command": "/opt/bin/acp-stdio", "args": ["run", "finance"]}, True),
        ({"command": "acp-stdio", "args": ["run"]}, True),
        ({"command": r"C:\Users\S W\Scripts\ACP-stdio.EXE", "args": ["run", "x"]}, True),
        ({"command": "/opt/bin/acp-stdio", "args": ["status"]}, False),
        ({"command": "/opt/bin/acp-stdio"}, False),
        ({"command": "/opt/bin/acp-stdio", "args": "run"}, False),
        ({"command": "/opt/bin/mcp-stdio", "args": ["run"]}, False),
        ({"command": "/opt/acp-stdio/bin/other", "args": ["run"]}, False),
        ({"command": "npx", "args": ["run", "acp-stdio"]}, False),
        ({"command": ["acp-stdio"], "args": ["run"]}, False),
        ("acp-stdio run", False),
        (None, False),
    ],
)
def test_an_entry_is_ours_by_what_it_starts_and_not_by_its_name(entry: object, ours: bool) -> None:
    assert is_ours(entry) is ours


def test_a_link_to_our_program_is_ours(tmp_path: Path) -> None:
    (tmp_path / "acp-stdio").touch()
    (tmp_path / "company-mcp").symlink_to("acp-stdio")
    assert is_ours({"command": str(tmp_path / "company-mcp"), "args": ["run"]})


@pytest.mark.parametrize(
    ("config", "profile", "words"),
    [
        (None, "default", ("run", "finance")),
        ("/etc/a b.toml", "default", ("run", "finance", "--config", "/etc/a b.toml")),
        (None, "work", ("run", "finance", "--profile", "work")),
    ],
)
def test_the_words_say_nothing_that_is_the_default_and_are_read_back(
    config: str | None, profile: str, words: tuple[str, ...]
) -> None:
    assert arguments(["finance"], config, profile) == words
    assert serves({"args": list(words)}) == ("finance", profile)


def test_a_profile_in_either_form_is_read() -> None:
    assert serves({"args": ["run", "--profile=work", "-v", URL]}) == (URL, "work")
    assert serves({"args": ["run"], "env": {"ACP_STDIO_PROFILE": "home"}}) == ("", "home")


def test_the_entry_carries_only_variables_that_move_our_files(tmp_path: Path) -> None:
    usual = {"XDG_CONFIG_HOME": str(tmp_path / ".config"), "XDG_STATE_HOME": "", "PATH": "/bin", "API_KEY": KEY}
    assert environment(usual, tmp_path) == {}
    assert environment({"ACP_STDIO_HOME": "/srv/acp", "XDG_CACHE_HOME": "/c"}, tmp_path) == {
        "ACP_STDIO_HOME": "/srv/acp"
    }


@pytest.mark.skipif("sys.platform == 'win32'", reason="Windows has no XDG directories")
def test_moved_xdg_folders_travel_since_hosts_pass_none_on(tmp_path: Path) -> None:
    assert environment({"XDG_STATE_HOME": "/elsewhere"}, tmp_path) == {"XDG_STATE_HOME": "/elsewhere"}


def test_the_real_program_is_named_absolutely(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "acp-stdio"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (tmp_path / "Scripts").mkdir()
    (tmp_path / "Scripts" / "acp-stdio.exe").touch(0o755)
    assert executable_in([tmp_path / "none", program.parent], windows=False) == program
    assert executable_in([tmp_path / "Scripts"], windows=True) == tmp_path / "Scripts" / "acp-stdio.exe"
    program.chmod(0o644)
    with pytest.raises(Failure, match="not installed as a program") as caught:
        executable_in([program.parent], windows=False)
    assert caught.value.reason == "configuration_invalid"


@pytest.mark.parametrize(
    ("path", "passing"),
    [
        ("/home/s/.cache/uv/archive-v0/x/bin/acp-stdio", True),
        ("/home/s/.local/pipx/.cache/1/bin/acp-stdio", True),
        ("/Users/s/Library/Caches/uv/x/bin/acp-stdio", True),
        ("/home/s/.local/share/pipx/venvs/acp-stdio/bin/acp-stdio", False),
        ("/home/s/.local/share/uv/tools/acp-stdio/bin/acp-stdio", False),
    ],
)
def test_a_program_that_may_be_cleaned_away_is_noticed(path: str, passing: bool) -> None:
    assert is_passing(Path(path)) is passing


@pytest.mark.parametrize(
    ("entry", "same"),
    [
        ({"command": "npx", "args": ["mcp-remote", URL]}, True),
        ({"command": "npx", "args": ["-y", "mcp-remote", "HTTPS://Finance.Example.com:443/mcp/?x=1"]}, True),
        ({"command": "uvx", "args": [f"--url={URL}"]}, True),
        ({"url": URL, "headers": {}}, True),
        ({"command": "x", "env": {"SERVER": URL}}, True),
        ({"command": "sh", "args": ["-c", f"npx mcp-remote '{URL}' --debug"]}, True),
        ({"command": "npx", "args": ["mcp-remote", URL + "2"]}, False),
        ({"command": "npx", "args": ["mcp-remote", "https://finance.example.com.evil.test/mcp"]}, False),
        ({"command": "npx", "args": ["https://[broken"]}, False),
        (7, False),
    ],
)
def test_an_entry_for_the_same_server_is_found_in_any_form(entry: object, same: bool) -> None:
    assert leads_to(entry, URL) is same


@pytest.mark.parametrize(
    "entry",
    [
        {"env": {"FINANCE_API_KEY": KEY}},
        {"env": {"GITHUB_TOKEN": "x"}},
        {"env": {"OPENAI": "sk-" + KEY}},
        {"env": {"DB_PASSWORD": "hunter2"}},
        {"headers": {"Authorization": f"Bearer {KEY}"}},
        {"headers": {"X-Api-Key": "short"}},
        {"args": ["mcp-remote", URL, "--header", f"Authorization: Bearer {KEY}"]},
        {"args": ["mcp-remote", URL, "--header", f"Authorization:{KEY}"]},
        {"args": ["-H", f"X-API-Key: {KEY}"]},
        {"args": [f"--header=Cookie: {KEY}"]},
        {"args": ["--api-key", KEY]},
        {"args": [f"--token={KEY}"]},
        {"args": ["server.py", KEY]},
        {"args": ["sh", "-c", f"curl -H 'Authorization: Bearer {KEY}'"]},
        {"args": [f"https://s:{KEY}@example.com/mcp"]},
        {"url": f"https://example.com/mcp?api_key={KEY}"},
    ],
)
def test_a_fixed_credential_is_noticed_and_named_by_its_place_alone(entry: dict[str, Any]) -> None:
    place = credential_in(entry)
    assert place
    for secret in (KEY, "hunter2", "short"):
        assert secret not in place


@pytest.mark.parametrize(
    "entry",
    [
        {"command": "npx", "args": ["-y", "@scope/server-filesystem", "/home/sarah/Documents"]},
        {"args": ["mcp-remote", URL, "--header", "Authorization: ${AUTH_HEADER}"]},
        {"headers": {"Authorization": "Bearer ${input:token}"}},
        {"env": {"API_KEY": "${API_KEY}", "TOKEN": "", "LOG_LEVEL": "debug", "AUTH_URL": "https://login.example.com"}},
        {"env": {"PATH": "/usr/local/lib/python3.11/site-packages/very/long/path:/usr/bin"}},
        {"args": ["--tokenizer", "gpt2", "--keep-alive", "--monkey", "x"]},
        {"command": "/opt/bin/acp-stdio", "args": ["run", "finance"]},
        {"env": None, "args": None, "headers": [1]},
        [],
    ],
)
def test_what_is_no_credential_raises_no_alarm(entry: object) -> None:
    assert credential_in(entry) == ""
