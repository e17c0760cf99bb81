"""`run`: the command that a host launches. Recognising it costs no import.

What it does is in `runtime.start`; the command line comes here only for `run --help`.
"""

TYPE_CHECKING = False  # not from typing, whose import takes milliseconds of a start from memory
if TYPE_CHECKING:
    import argparse

SUMMARY = "be the MCP server that a host launches (stdin and stdout carry MCP)"
EXAMPLES = """\
  acp-stdio run                     every upstream of the configuration
  acp-stdio run finance             one of them: its tools under their own names
"""

_WITH_VALUE = ("--config", "--profile")
_ANSWERED_BY_ARGPARSE = {"-h", "--help", "--version"}


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
