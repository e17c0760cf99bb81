"""The audit trail's folder: without it no call is made."""

import shutil
from typing import Any, Final

from acp_stdio.audit.delivery import installed, undelivered, undelivered_words
from acp_stdio.audit.folder import Folder
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
    details: dict[str, Any] = {"path": str(folder)}
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
    if settings.audit.otlp and not installed():
        return problem(
            "configuration_invalid",
            "[audit] otlp names a collector, and the OpenTelemetry SDK is missing: `run` does not start.",
            "Install it with `pip install '.[otlp]'`, or remove the key.",
            **details,
        )
    waiting = undelivered(settings.audit, Folder(folder))
    if waiting:
        details |= waiting
        if waiting["trouble"] or waiting["undelivered"] >= settings.audit.max_backlog:
            return warning(
                f"Of the audit trail in {folder} {undelivered_words(waiting)}.",
                "Check the network to the collector; what is missing is sent while a host runs `acp-stdio run`.",
                **details,
            )
        return ok(f"writable, in {folder}; {undelivered_words(waiting)}", free_bytes=free, **details)
    return ok(f"writable, in {folder}", free_bytes=free, **details)
