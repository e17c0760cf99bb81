"""Which checks there are, in the order in which they build on each other."""

from functools import partial
from typing import Final

from acp_stdio.doctor import (
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
from acp_stdio.doctor.check import LIMIT, PERSON_LIMIT, Check
from acp_stdio.settings.model import Settings

CONFIGURATION: Final = "configuration"


def plan(settings: Settings, *, may_prompt: bool = False) -> list[Check]:
    """The checks of one configuration. Those that start once more from a host's environment are `examination`'s."""
    at_provider = ("provider/network",)
    issuer = provider.issuer_of(settings)
    checks = [
        Check(CONFIGURATION, configuration.probe),
        Check("directories", directories.probe),
        Check("lock", lock.probe, ("directories",)),
        Check("provider/network", partial(network.probe, url=issuer, provider=True) if issuer else provider.unknown),
        Check("provider/discovery", provider.discovery, at_provider),
        Check("provider/clock", provider.clock, at_provider),
    ]
    for name, each in settings.upstreams.items():
        there = (f"upstream/{name}/network",)
        checks += [
            Check(there[0], partial(network.probe, url=each.url, provider=False)),
            Check(f"upstream/{name}/access", partial(upstream.access, upstream=each), there),
            Check(f"upstream/{name}/metadata", partial(upstream.metadata, upstream=each), there),
        ]
    return [
        *checks,
        Check("keyring", keyring.probe, limit=PERSON_LIMIT if may_prompt else LIMIT),
        Check("session", session.probe, ("directories",)),
        Check("grant", session.stored, ("session", "keyring")),
        Check("trail", trail.probe),
        Check("processes", processes.probe, ("directories",)),
    ]
