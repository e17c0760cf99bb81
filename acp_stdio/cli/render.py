"""The one place that prints. Results go to stdout, everything else to stderr."""

import json
import os
import sys
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from acp_stdio.errors import Failure


@dataclass(frozen=True, slots=True)
class Output:
    """How this invocation speaks: `--json`, `--quiet`, `--verbose`."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False

    def result(self, text: str, data: dict[str, Any]) -> None:
        """The command's answer, for people or (`--json`) for programs."""
        if self.json:
            self._write(json.dumps(data, indent=2, ensure_ascii=False, sort_keys=False))
        elif text:
            self._write(text)

    def line(self, text: str) -> None:
        """One of many answers, as they come."""
        self._write(text)

    def talk(self, text: str) -> None:
        """Progress and prompts: what people need while they wait."""
        if not self.quiet:
            self.warn(text)

    def detail(self, text: str) -> None:
        """What only `--verbose` wants to know."""
        if self.verbose and text:
            self.warn(text)

    def warn(self, text: str) -> None:
        """What must be seen, `--quiet` or not."""
        print(clean(text), file=sys.stderr, flush=True)

    def failure(self, failure: Failure) -> None:
        """A failure in the person's words; with `--json` as one object on stdout."""
        if self.json:
            error = {"reason": failure.reason, "message": failure.message, "advice": failure.advice}
            self._write(json.dumps({"error": error}, indent=2, ensure_ascii=False))
        else:
            self.warn("\n".join(filter(None, (failure.message, failure.advice))))

    def unexpected(self, log_file: str) -> None:
        """A bug of ours."""
        told = f"The details are in {log_file}." if log_file else "The details could not be written to a log."
        self.failure(Failure("unexpected", f"Something went wrong that should not have. {told}"))

    @staticmethod
    def _write(text: str) -> None:
        print(clean(text), flush=True)


def table(rows: Iterable[tuple[str, str]], indent: str = "") -> str:
    """Names and values in two columns; rows without a value are left out."""
    kept = [(name, value) for name, value in rows if value]
    width = max((len(name) for name, _ in kept), default=0)
    return "\n".join(f"{indent}{name:<{width}}  {value}" for name, value in kept)


def clean(text: str) -> str:
    """`text` without control and direction characters: a name from a server must not drive a terminal."""
    return "".join(c for c in text if c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs"))


def forget_stdout() -> None:
    """After a reader went away: keeps the interpreter from complaining about it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
