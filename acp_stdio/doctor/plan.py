"""Which checks there are, in the order in which they build on each other."""

from dataclasses import replace
from functools import partial
from typing import Final

from acp_stdio.doctor import (
    child,
    configuration,
    directories,
    keyring,
    lock,
    network,
    processes,
    provider,
    session,
    trail,
    upstream,
)
from acp_stdio.doctor.check import LIMIT, PERSON_LIMIT, Check, Probe
from acp_stdio.settings.model import Settings, UpstreamSettings
from acp_stdio.tokens.sign_ins import by_sign_in

CONFIGURATION: Final = "configuration"


def plan(settings: Settings, *, may_prompt: bool = False) -> list[Check]:
    """The checks of one configuration. Those that start once more from a host's environment are `examination`'s."""
    sign_ins = by_sign_in(settings)
    people = any(mine.needs_sign_in for mine in sign_ins)
    own = {f"/{_label(mine)}" if len(sign_ins) > 1 else "": mine for mine in sign_ins}
    return [
        Check(CONFIGURATION, configuration.probe),
        Check("directories", directories.probe),
        Check("lock", lock.probe, ("directories",)),
        *(check for label, mine in own.items() for check in _provider(label, mine)),
        *(check for mine in sign_ins for each in mine.upstreams.values() for check in _upstream(each, mine)),
        *([Check("keyring", keyring.probe, limit=PERSON_LIMIT if may_prompt else LIMIT)] if people else []),
        *(check for label, mine in own.items() for check in _sign_in(label, mine)),
        Check("trail", trail.probe),
        Check("processes", processes.probe, ("directories",)),
    ]


def _label(mine: Settings) -> str:
    """A sign-in's own word in the names of its checks, where there are several."""
    return "/".join(part for part in (mine.identity.name, mine.issuer_dir.rpartition("/")[2]) if part)


def _provider(label: str, mine: Settings) -> list[Check]:
    if not mine.needs_sign_in:
        return []
    name, url = f"provider{label}", provider.address_of(mine)
    there = partial(network.probe, url=url, provider=True) if url else provider.unknown
    return [
        Check(f"{name}/network", _with(mine, there)),
        Check(f"{name}/discovery", _with(mine, provider.discovery), (f"{name}/network",)),
        Check(f"{name}/clock", _with(mine, provider.clock), (f"{name}/network",)),
    ]


def _upstream(each: UpstreamSettings, mine: Settings) -> list[Check]:
    name = f"upstream/{each.name}"
    if each.transport == "stdio":
        return [Check(f"{name}/command", partial(child.probe, upstream=each))]
    return [
        Check(f"{name}/network", partial(network.probe, url=each.url, provider=False)),
        Check(f"{name}/access", partial(upstream.access, upstream=each), (f"{name}/network",)),
        Check(f"{name}/metadata", _with(mine, partial(upstream.metadata, upstream=each)), (f"{name}/network",)),
    ]


def _sign_in(label: str, mine: Settings) -> list[Check]:
    if not mine.needs_sign_in:
        return []
    return [
        Check(f"session{label}", _with(mine, session.probe), ("directories",)),
        Check(f"grant{label}", _with(mine, session.stored), (f"session{label}", "keyring")),
    ]


def _with(mine: Settings, probe: Probe) -> Probe:
    """`probe` with one sign-in at hand."""
    return lambda case: probe(replace(case, settings=mine))
