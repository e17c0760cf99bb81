"""Configuration files as read, where each value came from, and what is wrong with them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acp_stdio.errors import Failure

MAX_BYTES = 1 << 20
"""Far above any real configuration; keeps a start bounded when the path names something else."""

_HEADER = re.compile(r"\[\[?([^\]]+)\]")
_ASSIGNMENT = re.compile(r"([A-Za-z0-9_\-\"'. ]+?)\s*=")
_AT_LINE = re.compile(r" \(at line (\d+), column \d+\)$")


@dataclass(frozen=True, slots=True)
class Source:
    """One file of the configuration."""

    path: Path
    text: str
    data: dict[str, Any]

    def line(self, keys: tuple[str, ...]) -> int:
        """The line that sets `keys`, else the one that opens the closest table around it, else 0.

        The tables of an array have their number, from 1, as a key.
        """
        table: tuple[str, ...] = ()
        counted: dict[tuple[str, ...], int] = {}
        closest = 0
        depth = 0
        for number, raw in enumerate(self.text.split("\n"), 1):
            line = raw.strip()
            if header := _HEADER.match(line):
                table = here = _parts(header[1])
                if line.startswith("[["):  # of an array: its keys have a number, from 1
                    counted[table] = counted.get(table, 0) + 1
                    table = here = (*table, str(counted[table]))
            elif assignment := _ASSIGNMENT.match(line):
                here = table + _parts(assignment[1])
            else:
                continue
            if here == keys:
                return number
            if len(here) > depth and keys[: len(here)] == here:
                closest, depth = number, len(here)
        return closest


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))


@dataclass(frozen=True, slots=True)
class Entry:
    """A value and where it was written."""

    value: object
    source: Source
    keys: tuple[str, ...]


@dataclass(slots=True)
class Problems:
    """Collects what is wrong, so that the person sees all of it at once, in the order of the files' lines."""

    found: dict[tuple[str, int, str], None] = field(default_factory=dict[tuple[str, int, str], None])

    def at(self, entry: Entry, words: str) -> None:
        """A problem with one value: `FILE:LINE: section.key words`."""
        self.say(f"{'.'.join(entry.keys)} {words}", entry.source.path, entry.source.line(entry.keys))

    def say(self, words: str, path: Path | None = None, line: int = 0) -> None:
        """A problem in words, with the file and line (0: unknown) where they help."""
        self.found[str(path or ""), line, words] = None

    def stop_if_any(self) -> None:
        """Raises `configuration_invalid` with every problem on a line of its own."""
        if self.found:
            count = "a problem" if len(self.found) == 1 else f"{len(self.found)} problems"
            listed = [
                f"{path}{f':{line}' * bool(line)}{': ' * bool(path)}{words}" for path, line, words in sorted(self.found)
            ]
            raise Failure(
                "configuration_invalid",
                "\n".join([f"The configuration has {count}:", *listed]),
                "Correct what is listed and run the command again.",
            )


def parse(path: Path, content: bytes, problems: Problems) -> Source:
    """Reads TOML; what cannot be read is a problem and an empty source."""
    import tomllib

    if len(content) > MAX_BYTES:
        problems.say("is larger than 1 MiB, so it is no configuration file", path)
        return Source(path, "", {})
    try:
        text = content.decode("utf-8-sig")  # Windows' editors write a byte order mark
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problems.say("is not UTF-8 text", path, line)
        return Source(path, "", {})
    try:
        return Source(path, text, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        words = str(error)
        at = _AT_LINE.search(words)
        line = int(at[1]) if at else text.count("\n") + 1  # no line: the text ended too early
        problems.say(f"is not valid TOML: {_AT_LINE.sub('', words)}", path, line)
    except (ValueError, RecursionError):  # a number of thousands of digits; arrays nested too deep
        problems.say("is not valid TOML: a number or a nesting is too large", path)
    return Source(path, text, {})


def closest(word: str, known: Iterable[str]) -> str:
    """`, did you mean …?`, or nothing."""
    import difflib  # only a mistake pays for it

    near = difflib.get_close_matches(word, sorted(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
