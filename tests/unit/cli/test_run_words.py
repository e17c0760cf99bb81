"""`run` is recognised and read without argparse, whatever order a host gives its words in."""

import subprocess
import sys

import pytest

from acp_stdio.cli.run import wants_run
from acp_stdio.runtime.arguments import RunArguments, UsageError, parse


@pytest.mark.parametrize(
    ("argv", "terminal", "expected"),
    [
        (["run"], True, True),
        (["run", "finance"], False, True),
        (["--config", "x.toml", "run"], True, True),
        (["--profile=work", "run"], True, True),
        ([], False, True),
        ([], True, False),
        (["--config", "run"], True, False),
        (["--config", "x.toml"], False, True),
        (["login"], False, False),
        (["--json", "status"], False, False),
        (["run", "--help"], False, False),
        (["--version"], False, False),
        (["token-helper"], False, False),
    ],
)
def test_the_command_is_recognised(argv: list[str], terminal: bool, expected: bool) -> None:
    assert wants_run(argv, stdin_is_terminal=terminal) is expected


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], RunArguments(None, "default", (), False)),
        (["run"], RunArguments(None, "default", (), False)),
        (["run", "finance", "hr"], RunArguments(None, "default", ("finance", "hr"), False)),
        (["run", "run"], RunArguments(None, "default", ("run",), False)),
        (["--config", "a b.toml", "run", "--profile=work", "-v"], RunArguments("a b.toml", "work", (), True)),
        (["run", "https://x.example/mcp", "-q"], RunArguments(None, "default", ("https://x.example/mcp",), False)),
    ],
)
def test_the_words_are_read_in_any_order(argv: list[str], expected: RunArguments) -> None:
    assert parse(argv, {}) == expected


def test_the_environment_can_ask_for_more_words() -> None:
    assert parse(["run"], {"ACP_STDIO_VERBOSE": "1"}).verbose
    assert not parse(["run"], {"ACP_STDIO_VERBOSE": "0"}).verbose


@pytest.mark.parametrize("argv", [["run", "--force"], ["run", "--config"], ["run", "--config="], ["-x"]])
def test_a_word_that_makes_no_sense_is_an_error(argv: list[str]) -> None:
    with pytest.raises(UsageError):
        parse(argv, {})


def test_reading_the_words_imports_nothing_heavy() -> None:
    heavy = ["argparse", "typing", "dataclasses", "json", "logging", "httpx2", "keyring", "authlib", "platformdirs"]
    script = (
        f"import sys; import acp_stdio.__main__, acp_stdio.cli.run; print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
