"""What a check found: a state, its cause, and one next step. Safe to paste into a public issue."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from acp_stdio.errors import EXIT_OK, REASONS, Failure

State = Literal["ok", "warning", "problem", "skipped"]

_USERINFO: Final = re.compile(r"(?<=://)[^/\s@?#]*@")
_QUERY: Final = re.compile(r"(\w://[^\s?#\"'<>]*)[?#][^\s\"'<>]*")
_BEARER: Final = re.compile(r"(?i)\b(bearer|basic|dpop)\s+[\w.~+/=-]{12,}")


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check."""

    state: State
    message: str
    next: str = ""
    """One step that the person can take, a sentence; empty where there is nothing to do."""
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Facts for programs; JSON values."""
    exit_code: int = EXIT_OK
    """The class of a problem; `EXIT_OK` for every other state."""

    @property
    def passed(self) -> bool:
        """Whether checks that build on this one make sense."""
        return self.state in ("ok", "warning")

    def to_json(self) -> dict[str, Any]:
        """The published fields; the check's name is the caller's to add."""
        return {
            "state": self.state,
            "message": redacted(self.message),
            "next": redacted(self.next),
            "details": _redacted_value(dict(self.details)),
        }


def ok(message: str, **details: Any) -> Finding:
    """All is well."""
    return Finding("ok", message, details=details)


def warning(message: str, next: str, **details: Any) -> Finding:
    """It works, and somebody should look at it."""
    return Finding("warning", message, next, details)


def problem(reason: str, message: str, next: str, **details: Any) -> Finding:
    """It does not work. `reason`: a key of `errors.REASONS`, which has the exit code."""
    return Finding("problem", message, next, details, REASONS[reason].exit_code)


def skipped(why: str) -> Finding:
    """Nothing was looked at, because of `why`."""
    return Finding("skipped", f"not checked: {why}")


def failed(failure: Failure, **details: Any) -> Finding:
    """What another room refused, in its own words."""
    return problem(failure.reason, failure.message, failure.advice, **details)


def redacted(text: str) -> str:
    """`text` without what an address may hold of a secret: user information, query and fragment."""
    return _BEARER.sub(r"\1 …", _QUERY.sub(r"\1", _USERINFO.sub("", text)))


def _redacted_value(value: Any) -> Any:
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {str(name): _redacted_value(inner) for name, inner in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_redacted_value(inner) for inner in cast("list[Any]", value)]
    return value
