"""How the demo speaks: at most 80 columns, colour only where somebody looks at it."""

import textwrap
import unicodedata
from collections.abc import Mapping
from typing import Final, TextIO

WIDTH: Final = 78
_STYLES: Final = {"bold": "1", "quiet": "2", "good": "32", "bad": "31", "name": "36;1"}


def wants_colour(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """A terminal that nobody asked to stay plain (no-color.org)."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


class Voice:
    """Tells the story on one stream; silent without one."""

    def __init__(self, stream: TextIO | None, colour: bool = False) -> None:
        self._stream = stream
        self._colour = colour

    def title(self, text: str) -> None:
        self._write(self._styled(text, "bold"))

    def chapter(self, number: int, text: str) -> None:
        self._write("")
        self._write(self._styled(f"{number}  {text}", "bold"))

    def say(self, text: str) -> None:
        self._wrapped(text, "   ", "   ")

    def quote(self, who: str, text: str) -> None:
        """What somebody did or saw."""
        self._wrapped(f"{who}: {text}", "   ", "     ")

    def log(self, lines: list[str]) -> None:
        """Lines of a log, whole; only wrapped."""
        for line in lines:
            self._wrapped(line, "   | ", "   |   ", "quiet", highlight="user=")

    def good(self, text: str) -> None:
        self._wrapped(f"✓ {text}", "   ", "     ", "good")

    def pity(self, text: str) -> None:
        """What is wrong with the world, not with the demo."""
        self._wrapped(f"→ {text}", "   ", "     ", "bad")

    def bad(self, text: str) -> None:
        self._wrapped(f"✗ {text}", "   ", "     ", "bad")

    def _wrapped(self, text: str, first: str, rest: str, style: str = "", highlight: str = "") -> None:
        lines = textwrap.wrap(
            printable(text),
            WIDTH,
            initial_indent=first,
            subsequent_indent=rest,
            break_on_hyphens=False,
        )
        for line in lines:
            indent = line[: len(line) - len(line.lstrip())]
            before, mark, after = line[len(indent) :].partition(highlight) if highlight else (line.lstrip(), "", "")
            name, space, after = after.partition(" ")
            self._write(
                indent
                + self._styled(before, style)
                + self._styled(mark + name, "name")
                + self._styled(space + after, style)
            )

    def _styled(self, text: str, style: str) -> str:
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self._colour and style and text else text

    def _write(self, text: str) -> None:
        if self._stream is not None:
            print(text, file=self._stream, flush=True)


def printable(text: str) -> str:
    """`text` without control and direction characters: what a server says must not drive a terminal."""
    return "".join(c for c in text if c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs"))
