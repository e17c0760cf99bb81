"""All findings together: what to do first, and the exit code."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from acp_stdio import __version__
from acp_stdio.doctor.finding import Finding, redacted
from acp_stdio.errors import EXIT_OK

NOTHING_TO_DO: Final = "Nothing to do."


@dataclass(frozen=True, slots=True)
class Report:
    """The findings by the checks' names, in the order of the checks."""

    found: Mapping[str, Finding]

    @property
    def next(self) -> str:
        """The one step to take now: checks build on each other, so the first problem comes first."""
        for state in ("problem", "warning"):
            for finding in self.found.values():
                if finding.state == state and finding.next:
                    return redacted(finding.next)
        return NOTHING_TO_DO

    @property
    def exit_code(self) -> int:
        """The class of the first problem; 0 where there are only warnings."""
        return next((each.exit_code for each in self.found.values() if each.state == "problem"), EXIT_OK)

    def to_json(self) -> dict[str, Any]:
        """The published fields of `doctor --json`."""
        return {
            "version": __version__,
            "checks": [{"name": name, **finding.to_json()} for name, finding in self.found.items()],
            "next": self.next,
        }
