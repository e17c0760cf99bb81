"""The audit trail's folder: without it no call is made."""

import shutil
from typing import Final

from acp_stdio.doctor.check import Case
from acp_stdio.doctor.directories import look
from acp_stdio.doctor.finding import Finding, ok, problem, warning

_ENOUGH: Final = 100 * 1024 * 1024
"""Bytes; a record has about one thousand."""


def probe(case: Case) -> Finding:
    """Writable, ours alone, and with room for some time to come."""
    settings = case.settings
    folder = settings.audit_dir
    seen = look(folder)
    details = {"path": str(folder)}
    if seen.fault:
        message = f"The audit trail's folder {folder} {seen.fault}: no call is made without a record."
        return problem("audit_unavailable", message, seen.next, **details)
    free = shutil.disk_usage(folder).free
    if free < _ENOUGH:
        return warning(
            f"Only {free // 1_000_000} MB are left for the audit trail in {folder}; without room no call is made.",
            "Free some space, or name another folder with [audit] path.",
            free_bytes=free,
            **details,
        )
    if seen.doubt:
        return warning(f"The audit trail's folder {folder} {seen.doubt}.", seen.next, **details)
    return ok(f"writable, in {folder}", free_bytes=free, **details)
