"""What the hosts on this machine would start: our entries in their files, and others in their way."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from acp_stdio.doctor.check import Case
from acp_stdio.doctor.finding import Finding, ok, problem, warning
from acp_stdio.errors import Failure
from acp_stdio.hosts.entry import Wanted, is_ours, is_passing, serves, this_executable
from acp_stdio.hosts.known import HOSTS, Host, places, this_machine
from acp_stdio.hosts.plan import Config, look, rivals
from acp_stdio.settings.model import Settings


@dataclass(frozen=True, slots=True)
class Entry:
    """One of our entries in a host's file."""

    config: Config
    name: str

    @property
    def host(self) -> Host:
        return self.config.host

    @property
    def value(self) -> Mapping[str, Any]:
        return cast("Mapping[str, Any]", self.config.entries[self.name])

    @property
    def where(self) -> str:
        """For people."""
        return f"the entry {self.name!r} in {self.config.snapshot.path}"


def probe(case: Case) -> Finding:
    """Raises `Failure` where a host's file cannot be understood: the host cannot read it either."""
    configs = [look(host, path) for host, path in _files()]
    ours = [entry for config in configs for entry in _ours(config)]
    details = {
        "found": [{"host": each.host.name, "file": str(each.snapshot.path), "entries": each.ours} for each in configs]
    }
    for entry in ours:
        if fault := _fault(entry):
            return problem("configuration_invalid", *fault, **details)
    if not configs:
        return ok("no host that acp-stdio knows is installed here", **details)
    if not ours:
        hosts = list(dict.fromkeys(each.host.name for each in configs))
        message = f"No host starts acp-stdio yet; found: {', '.join(hosts)}."
        return warning(message, f"Run `acp-stdio install {hosts[0]}`.", **details)
    for doubt in (*filter(None, map(_doubt, ours)), *_twice(ours), *_others(configs, case.settings)):
        return warning(*doubt, **details)
    named = ", ".join(f"{entry.host.title}: {entry.name}" for entry in ours)
    return ok(f"{named}; each starts this program", **details)


def entry_environment() -> Mapping[str, str] | None:
    """The variables that the first of our entries adds to a host's own; None where there is no entry."""
    for host, path in _files():
        try:
            entries = _ours(look(host, path))
        except Failure:
            continue  # `probe` tells it
        for entry in entries:
            env: object = entry.value.get("env")
            named = cast("dict[str, object]", env) if isinstance(env, dict) else {}
            return {name: value for name, value in named.items() if isinstance(value, str)}
    return None


def _files() -> Iterator[tuple[Host, Path]]:
    machine = this_machine()
    for host in HOSTS:
        for path in places(host, machine):
            yield host, path


def _ours(config: Config) -> list[Entry]:
    return [Entry(config, name) for name in config.ours]


def _fault(entry: Entry) -> tuple[str, str] | None:
    command = Path(str(entry.value.get("command", "")))
    again = f"Run `acp-stdio install {entry.host.name}`, then: {entry.host.reopen}"
    if not command.is_absolute():
        return f"{entry.where} starts {str(command)!r}, but hosts do not have a shell's PATH.", again
    if not command.is_file() or not os.access(command, os.X_OK):
        return f"{entry.where} starts {command}, which does not exist or is no program.", again
    return None


def _doubt(entry: Entry) -> tuple[str, str] | None:
    command = Path(str(entry.value["command"]))
    if is_passing(command):
        return (
            f"{entry.where} starts {command}, which lies where things are cleaned away.",
            "Install acp-stdio for good and run `acp-stdio install` from there.",
        )
    try:
        own = this_executable()
    except Failure:
        return None  # this one runs from a source tree, so there is nothing to compare
    if not os.path.samefile(command, own):
        message = f"{entry.where} starts {command}, and this is {own}."
        return message, f"Run `{own} install {entry.host.name}`, or remove one of the two."
    return None


def _twice(ours: list[Entry]) -> Iterator[tuple[str, str]]:
    counted = Counter((str(entry.config.snapshot.path), *serves(entry.value)) for entry in ours)
    for (path, target, _), count in counted.items():
        if count > 1:
            what = target or "all upstreams"
            yield f"{count} entries in {path} start acp-stdio for {what}.", "Remove all but one of them."


def _others(configs: list[Config], settings: Settings) -> Iterator[tuple[str, str]]:
    wanted = [
        Wanted(name, (each.url,), settings.profile, frozenset({name, each.url}), "", ())
        for name, each in settings.upstreams.items()
    ]
    for config in configs:
        for rival in rivals(config, wanted):
            where = f"the entry {rival.name!r} in {config.snapshot.path}"
            if is_ours(config.entries[rival.name]):
                continue
            if rival.same_url:
                yield (
                    f"{where} leads to the same server without acp-stdio.",
                    f"Run `acp-stdio install {config.host.name}`, which offers to replace it.",
                )
            elif rival.credential:
                yield (
                    f"{where} seems to hold a credential ({rival.credential}).",
                    "Put that server behind acp-stdio, and revoke the credential.",
                )
