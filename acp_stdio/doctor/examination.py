"""The whole examination, from the configuration to the report."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from acp_stdio.doctor import host_entries, host_environment, installation
from acp_stdio.doctor.check import Case, Check, examine
from acp_stdio.doctor.finding import Finding, failed
from acp_stdio.doctor.plan import CONFIGURATION, plan
from acp_stdio.doctor.report import Report
from acp_stdio.errors import Failure
from acp_stdio.settings import checks
from acp_stdio.settings.load import load
from acp_stdio.settings.model import IdentitySettings, Settings
from acp_stdio.settings.paths import user_paths

_INDEPENDENT: Final = ("directories", "lock", "processes", "hosts")
"""What can be looked at although the configuration cannot be read."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a command line asks to be examined."""

    environ: Mapping[str, str]
    processes: Callable[[Path], Iterable[Mapping[str, Any]]]
    """The live `run` processes of a state directory."""
    config: str = ""
    profile: str = ""
    targets: tuple[str, ...] = ()
    may_prompt: bool = False
    """The keyring may ask the person to unlock it."""

    @property
    def arguments(self) -> tuple[str, ...]:
        """The same for a process of its own; options that were not given are left out."""
        options = [f"--{name}={value}" for name, value in (("config", self.config), ("profile", self.profile)) if value]
        return (*options, "--", *self.targets) if self.targets else tuple(options)


def examine_all(request: Request, progress: Callable[[str], None]) -> Report:
    """Runs on after a failed check; what builds on it is reported as not checked. Raises nothing of its own."""
    found: dict[str, Finding] = {"installation": installation.look(request.environ)}
    try:
        settings = load(
            config=Path(request.config) if request.config else None,
            profile=request.profile,
            targets=request.targets,
            environ=request.environ,
        )
    except Failure as failure:
        found[CONFIGURATION] = failed(failure)
        settings = _defaults(request)
    case = Case(settings, request.environ, request.processes, request.may_prompt, request.arguments, found)
    planned = [
        *plan(settings, may_prompt=request.may_prompt),
        Check("hosts", host_entries.probe),
        Check("host_environment", host_environment.probe),
    ]
    if CONFIGURATION in found:
        planned = [
            check if check.name in _INDEPENDENT else replace(check, needs=(CONFIGURATION,))
            for check in planned
            if check.name != CONFIGURATION
        ]
    return Report(examine(planned, case, progress))


def _defaults(request: Request) -> Settings:
    """Enough to find this user's directories where the configuration cannot be read."""
    profile = request.profile if not checks.name(request.profile) else "default"
    return Settings(IdentitySettings("", ""), {}, user_paths(request.environ), profile)
