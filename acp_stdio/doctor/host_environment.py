"""The same machine as a host's child sees it: hosts hand on a handful of variables.

A proxy, a certificate bundle or a directory that only the shell knows works in every terminal and
in no host. So the checks that depend on the environment run once more, in a process that has
nothing else, and what differs is told with its cause.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, cast

from acp_stdio.doctor import inside
from acp_stdio.doctor.check import Case
from acp_stdio.doctor.finding import Finding, ok, problem, warning
from acp_stdio.doctor.host_entries import entry_environment
from acp_stdio.doctor.route import PROXY_VARIABLES, TRUST_VARIABLES
from acp_stdio.errors import EXIT_CONFIGURATION
from acp_stdio.hosts.entry import MANAGED, environment
from acp_stdio.vault.session_bus import ADDRESS

_WITHIN: Final = 13.0
"""Seconds for the whole child, whose checks run side by side."""
_HANDED_ON: Final = {
    "win32": (
        "APPDATA", "HOMEDRIVE", "HOMEPATH", "LOCALAPPDATA", "PATH", "PROCESSOR_ARCHITECTURE",
        "SYSTEMDRIVE", "SYSTEMROOT", "TEMP", "USERNAME", "USERPROFILE",
    ),
}  # fmt: skip
_HANDED_ON_ELSEWHERE: Final = ("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER")
"""What hosts let through: the MCP SDKs' default environment, which Claude Desktop uses."""


def probe(case: Case) -> Finding:
    """Compares what this process found with what a host's child finds."""
    entry = entry_environment()
    added = entry if entry is not None else environment(case.environ, Path.home())  # what `install` would write
    environ = {**reduced(case.environ), **added}
    again = [name for name, finding in case.found.items() if finding.passed and inside.depends(name)]
    theirs = _ask(environ, case.arguments, again)
    details = {"variables": sorted(environ), "checks": sorted(theirs)}
    for name, each in theirs.items():
        if not each.passed:
            message = f"Where only a host's variables are set, {name} fails: {each.message}"
            step = cause(case.found.get(name), each, case.environ) or each.next
            return Finding("problem", message, step, details, each.exit_code or EXIT_CONFIGURATION)
    for name, each in theirs.items():
        here = case.found.get(name)
        if here is not None and (step := cause(here, each, case.environ)):
            return warning(
                f"A host's child sees another {_what(here, each)} than this shell ({name}).", step, **details
            )
    return ok("the few variables that a host hands on are enough", **details)


def reduced(environ: Mapping[str, str]) -> dict[str, str]:
    """What a host leaves of `environ`."""
    names = _HANDED_ON.get(sys.platform, _HANDED_ON_ELSEWHERE)
    return {name: environ[name] for name in names if name in environ}


def cause(here: Finding | None, there: Finding, environ: Mapping[str, str]) -> str:
    """The step that makes both alike; empty where they are, or where no variable is to blame."""
    mine: Mapping[str, Any] = here.details if here else {}
    if mine.get("proxy", "") != there.details.get("proxy", "") and (variable := _set(PROXY_VARIABLES, environ)):
        proxy = mine.get("proxy") or "HOST:PORT"
        return f'{variable} is set in this shell only: put [network] proxy = "http://{proxy}" into the configuration.'
    if mine.get("trust", "") != there.details.get("trust", "") and (variable := _set(TRUST_VARIABLES, environ)):
        bundle = environ[variable]
        return f'{variable} is set in this shell only: put [network] ca_bundle = "{bundle}" into the configuration.'
    if "backend" in mine and not there.passed and environ.get(ADDRESS):
        return f"{ADDRESS} is set in this shell only: put it into the `env` of the host's entry."
    moved = [kind for kind in ("config", "state", "cache") if mine.get(kind, "") != there.details.get(kind, "")]
    if moved and (variable := _set(MANAGED, environ)):
        return f"{variable} is set in this shell only: run `acp-stdio install` again, which tells the host."
    return ""


def _what(here: Finding, there: Finding) -> str:
    words = {"proxy": "proxy", "trust": "set of certificates"}
    return next((word for key, word in words.items() if here.details.get(key) != there.details.get(key)), "directory")


def _set(names: Iterable[str], environ: Mapping[str, str]) -> str:
    return next((name for name in names if environ.get(name)), "")


def _ask(environ: Mapping[str, str], arguments: tuple[str, ...], names: list[str]) -> dict[str, Finding]:
    """Raises `TimeoutError` where the child does not answer."""
    try:
        ran = subprocess.run(
            [sys.executable, "-P", "-m", inside.__name__, json.dumps(names), *arguments],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_WITHIN,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    try:
        answer = cast("dict[str, dict[str, Any]]", json.loads(ran.stdout))
        return {name: Finding(**each) for name, each in answer.items()}
    except (ValueError, TypeError, AttributeError):
        message = "This program does not start where only a host's variables are set."
        why = "Install acp-stdio so that it runs without PYTHONPATH and the like."
        return {"start": problem("configuration_invalid", message, why)}
