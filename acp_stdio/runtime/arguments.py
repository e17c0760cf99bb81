"""The words of `acp-stdio run`, read without argparse: a host is waiting."""

from collections.abc import Mapping
from typing import Final, NamedTuple

_WITH_VALUE: Final = {"--config": "ACP_STDIO_CONFIG", "--profile": "ACP_STDIO_PROFILE"}
_SWITCHES: Final = frozenset({"-v", "--verbose", "-q", "--quiet", "--json"})


class RunArguments(NamedTuple):
    """What `run` was asked for."""

    config: str | None
    """A file's path, or None for the user's own."""
    profile: str
    targets: tuple[str, ...]
    verbose: bool


class UsageError(Exception):
    """The command line makes no sense; the text says where. Exit code 2."""


def parse(argv: list[str], environ: Mapping[str, str]) -> RunArguments:
    """Reads `[options] [run] [options] [TARGET…]`; flags win over `ACP_STDIO_<FLAG>`.

    Raises `UsageError` for an option that `run` does not have or a value that is missing.
    """
    values = {flag: environ.get(variable, "") for flag, variable in _WITH_VALUE.items()}
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
    return RunArguments(values["--config"] or None, values["--profile"] or "default", tuple(targets), verbose)
