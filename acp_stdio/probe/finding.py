"""What was found out about a backend, row by row, for a developer to hand to the security team."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from acp_stdio import __version__
from acp_stdio.errors import EXIT_BACKEND, EXIT_OK

State = Literal["pass", "fail", "warning", "not tested", "info"]
NOTHING_TO_DO: Final = "Nothing to do: this server knows who is asking."


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried."""

    name: str
    state: State
    said: str
    """What the server did, and what that means where it is wrong."""
    advice: str = ""
    """What its developers should change."""
    request_ids: tuple[str, ...] = ()
    """`X-Request-Id` of what was sent, to look for in the server's log."""

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "state": self.state,
            "said": self.said,
            "advice": self.advice,
            "request_ids": list(self.request_ids),
        }


@dataclass(frozen=True, slots=True)
class Report:
    """All rows, and who looked at what."""

    target: str
    url: str
    account: str
    issuer: str
    era: str
    tried: str
    """What each attempt asked for: `tools/list`, or a tool."""
    time: str
    findings: Sequence[Finding] = field(default_factory=tuple[Finding, ...])

    @property
    def failed(self) -> list[Finding]:
        return [each for each in self.findings if each.state == "fail"]

    @property
    def exit_code(self) -> int:
        """`EXIT_BACKEND` where anything failed. What could not be tested does not fail; the report says so."""
        return EXIT_BACKEND if self.failed else EXIT_OK

    @property
    def next(self) -> str:
        """The first thing to change."""
        for state in ("fail", "warning"):
            for each in self.findings:
                if each.state == state and each.advice:
                    return each.advice
        return NOTHING_TO_DO

    def to_json(self) -> dict[str, Any]:
        """The published fields of `check-backend --json`."""
        return {
            "ok": not self.failed,
            "version": __version__,
            "target": self.target,
            "url": self.url,
            "account": self.account,
            "issuer": self.issuer,
            "era": self.era,
            "tried": self.tried,
            "time": self.time,
            "findings": [each.to_json() for each in self.findings],
            "next": self.next,
        }
