"""`run`: the command that a host launches. Reading its words costs no import.

What it does is in `runtime.start`; the command line comes here only for `run --help`.
"""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import argparse

SUMMARY = "be the MCP server that a host launches (stdin and stdout carry MCP)"
EXAMPLES = """\
  acp-stdio run                     every upstream of the configuration
  acp-stdio run finance             one of them: its tools under their own names
"""

_WITH_VALUE = ("--config", "--profile")
_SWITCHES = {"-v", "--verbose", "-q", "--quiet", "--json"}
_ANSWERED_BY_ARGPARSE = {"-h", "--help", "--version"}


class RunArguments(NamedTuple):
    """What `run` was asked for."""

    config: str | None
    """A file's path, or None for the user's own."""
    profile: str
    """Empty where the command line names none."""
    targets: tuple[str, ...]
    verbose: bool


class UsageError(Exception):
    """The command line makes no sense; the text says where. Exit code 2."""


def wants_run(argv: list[str], *, stdin_is_terminal: bool) -> bool:
    """Whether a command line means `run`: named, or no command at all while stdin is a pipe."""
    if _ANSWERED_BY_ARGPARSE & set(argv):
        return False
    word = command_word(argv)
    return word == "run" or (word is None and not stdin_is_terminal)


def command_word(argv: list[str]) -> str | None:
    """The first word that is neither an option nor an option's value."""
    words = iter(argv)
    for word in words:
        if word in _WITH_VALUE:
            next(words, None)
        elif not word.startswith("-"):
            return word
    return None


def parse(argv: list[str], environ: Mapping[str, str] = os.environ) -> RunArguments:
    """Reads `[options] [run] [options] [TARGET…]`.

    `ACP_STDIO_CONFIG` and `ACP_STDIO_PROFILE` are the settings' to read. Raises `UsageError` for
    an option that `run` does not have or a value that is missing.
    """
    values = dict.fromkeys(_WITH_VALUE, "")
    verbose = environ.get("ACP_STDIO_VERBOSE", "") not in ("", "0")
    words: list[str] = []
    rest = iter(argv)
    for word in rest:
        flag, equals, value = word.partition("=")
        if flag in _WITH_VALUE:
            given = value if equals else next(rest, None)
            if not given:
                raise UsageError(f"{flag} needs a value")
            values[flag] = given
        elif word in _SWITCHES:
            verbose = verbose or word in ("-v", "--verbose")
        elif word.startswith("-"):
            raise UsageError(f"run has no option {word}")
        else:
            words.append(word)
    targets = words[1:] if words[:1] == ["run"] else words
    return RunArguments(values["--config"] or None, values["--profile"], tuple(targets), verbose)


def add_arguments(parser: "argparse.ArgumentParser") -> None:
    """For `run --help`."""
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help="an upstream's name from the configuration, or its URL"
    )


def run(args: "argparse.Namespace") -> int:
    """Hands over to the runtime, with the words as they would have come from a host."""
    from acp_stdio.runtime import start

    options = [f"--{name}={getattr(args, name)}" for name in ("config", "profile") if getattr(args, name, None)]
    return start.main(["run", *options, *args.targets])
