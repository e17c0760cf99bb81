"""Which upstreams a command line means."""

import zlib
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from acp_stdio.settings import checks
from acp_stdio.settings.model import IdentitySettings, UpstreamSettings
from acp_stdio.settings.presets import token_format_default, token_request_default
from acp_stdio.settings.sources import Problems, closest

Upstreams = dict[str, UpstreamSettings]


def select(
    upstreams: dict[str, UpstreamSettings],
    targets: Sequence[str],
    identity: IdentitySettings,
    problems: Problems,
) -> dict[str, UpstreamSettings]:
    """The upstreams that the command line names, all of them where it names none."""
    if not targets:
        return upstreams
    chosen: Upstreams = {}
    for target in targets:
        if "://" not in target:
            if target in upstreams:
                chosen[target] = upstreams[target]
            else:
                problems.say(f"There is no upstream {target!r} in the configuration{closest(target, upstreams)}")
        elif problem := checks.url(target):
            # never repeated in the message: what was pasted may hold a password
            problems.say(f"The address given as TARGET {problem}")
        else:
            same = [upstream for upstream in upstreams.values() if upstream.url == target]
            upstream = same[0] if same else _from_url(target, upstreams, identity, problems)
            chosen[upstream.name] = upstream
    return chosen


def _from_url(
    url: str, taken: Mapping[str, UpstreamSettings], identity: IdentitySettings, problems: Problems
) -> UpstreamSettings:
    request = token_request_default(identity.preset)
    if request == "scope":
        problems.say(f"{url} needs a table [upstreams.NAME] with scopes: preset = {identity.preset!r} asks by scope")
    return UpstreamSettings(
        name=name_of(url, taken), url=url, token_request=request, token_format=token_format_default(identity.preset)
    )


def name_of(url: str, taken: Mapping[str, object]) -> str:
    """A name for an upstream known by its URL alone: its host, and a checksum where that is not enough."""
    parts = urlsplit(url)
    host = f"{parts.hostname}-{parts.port}" if parts.port else f"{parts.hostname}"
    label = "".join(letter if letter.isalnum() else "-" for letter in host).strip("-")
    if parts.path == "/mcp" and not parts.query and label not in taken and checks.NAME.fullmatch(label):
        return label
    return f"{label[:23]}-{zlib.crc32(url.encode()):08x}"
