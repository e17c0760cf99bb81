"""What a test run left out, said loudly; in CI a skip is a failure unless only another OS can run the test."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

OS_ONLY = Path(__file__).parent.parent / "os_only.txt"
"""Test ids, or their beginnings, one a line: `ID  # why only another OS can run it`."""


def allowed(listed: str) -> dict[str, str]:
    """Beginnings of test ids that may be skipped in CI, each with its reason. Raises ValueError without one."""
    found: dict[str, str] = {}
    for line in listed.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        test, _, reason = (part.strip() for part in line.partition("  # "))
        if not reason:
            raise ValueError(f"{OS_ONLY.name}: {test} gives no reason")
        found[test] = reason
    return found


def not_allowed(skipped: Iterable[str], listed: str) -> list[str]:
    """The ids of skipped tests that could have run here."""
    beginnings = tuple(allowed(listed))
    return sorted(test for test in set(skipped) if not test.startswith(beginnings))


def summary(skipped: Mapping[str, str], listed: str, *, ci: bool) -> list[str]:
    """The block that ends a run in which tests were skipped; `skipped`: test id to reason."""
    if not skipped:
        return []
    forbidden = not_allowed(skipped, listed) if ci else []
    return [
        f"{len(skipped)} tests DID NOT RUN, so nothing is known about what they promise:",
        *(f"  {test}: {reason}" for test, reason in sorted(skipped.items())),
        *(
            [f"CI forbids {len(forbidden)} of these skips: list a test in tests/{OS_ONLY.name} only if"]
            if forbidden
            else []
        ),
        *(["another OS is needed to run it; otherwise make scripts/test install what it needs."] if forbidden else []),
    ]


def in_ci(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a CI runs us: it sets CI to anything but an empty text, 0 or false."""
    return environ.get("CI", "").lower() not in {"", "0", "false"}
