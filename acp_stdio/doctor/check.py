"""One check, and the runner that goes on after a failed one."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from acp_stdio.doctor.finding import Finding, failed, skipped
from acp_stdio.errors import EXIT_NETWORK, EXIT_UNEXPECTED, Failure
from acp_stdio.settings.model import Settings
from acp_stdio.vault.bounded import OneAtATime

LIMIT: Final = 15.0
"""Seconds that one check may take."""
PERSON_LIMIT: Final = 75.0
"""Seconds where the person may be typing a pass phrase meanwhile."""


@dataclass(frozen=True, slots=True)
class Case:
    """What the checks look at."""

    settings: Settings
    environ: Mapping[str, str]
    processes: Callable[[Path], Iterable[Mapping[str, Any]]]
    """The live `run` processes of a state directory."""
    may_prompt: bool = False
    """The keyring may ask the person to unlock it."""
    arguments: tuple[str, ...] = ()
    """The options and targets of this command line, for a process that shall see the same configuration."""
    found: dict[str, Finding] = field(default_factory=dict[str, Finding])
    """What the checks before this one found, by name."""


class Probe(Protocol):
    """Looks at one thing. Raises `Failure` where another room refuses; that is its finding then."""

    def __call__(self, case: Case, /) -> Finding: ...


@dataclass(frozen=True, slots=True)
class Check:
    """A probe, its stable name, and what it builds on."""

    name: str
    probe: Probe
    needs: tuple[str, ...] = ()
    """Names of checks without which this one would only repeat their problem."""
    limit: float = LIMIT


def examine(checks: Sequence[Check], case: Case, progress: Callable[[str], None]) -> dict[str, Finding]:
    """Runs every check in order and fills `case.found`; `progress` is told each name before its turn."""
    for check in checks:
        progress(check.name)
        case.found[check.name] = _unmet(check, case.found) or bounded(check, case)
    return case.found


def bounded(check: Check, case: Case) -> Finding:
    """Runs one check for its `limit` at most. Raises nothing but what ends the program."""
    try:
        return OneAtATime().run(lambda: check.probe(case), check.limit)
    except Failure as failure:
        return failed(failure)
    except TimeoutError:
        return Finding(
            "problem",
            f"The check did not finish within {check.limit:g} s.",
            "Run `acp-stdio doctor` again; if it stays so, see what hangs: a network share, a proxy, a keyring.",
            exit_code=EXIT_NETWORK,
        )
    except Exception as error:  # one broken check must not hide what the others find
        return Finding(
            "problem",
            f"The check itself failed with {type(error).__name__}.",
            "Please report this, with what `acp-stdio doctor --json` prints.",
            exit_code=EXIT_UNEXPECTED,
        )


def _unmet(check: Check, found: Mapping[str, Finding]) -> Finding | None:
    for name in check.needs:
        if name in found and not found[name].passed:
            state = found[name].state
            return skipped(f"{name} has a problem" if state == "problem" else f"{name} was not checked")
    return None
