"""What a sign-in asks for, so that one grant serves every upstream (RFC 8707 section 2.2)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import httpx2

from acp_stdio.errors import Failure
from acp_stdio.oauth.presets import Preset, token_request_params
from acp_stdio.oauth.resource import protected_resource
from acp_stdio.settings.model import Settings, UpstreamSettings

_ADMIN_CONSENTS = frozenset({"entra"})
"""Providers that issue refresh tokens without asking again, and where asking may mean asking an administrator."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The parameters of one sign-in."""

    scopes: tuple[str, ...]
    resources: Mapping[str, str]
    """Upstream name to its resource identifier, byte for byte."""
    audiences: Mapping[str, tuple[str, ...]]
    """`resource` and `audience`, as far as they are asked for."""
    first_token: Mapping[str, str]
    """What the code's exchange adds: a token is for one resource, so it names the first."""


def plan(
    settings: Settings,
    preset: Preset,
    http: httpx2.Client,
    extra_scopes: Iterable[str],
    talk: Callable[[str], None],
) -> Wanted:
    """Asks each upstream which resource it is (RFC 9728) and adds up what its tokens will need.

    An upstream that cannot be reached is left out, and said, where there is another one.
    Raises `Failure`: upstream_unreachable, wrong_audience, configuration_invalid.
    """
    identity = settings.identity
    scopes = list(identity.scopes)
    resources: dict[str, str] = {}
    audiences: dict[str, list[str]] = {"resource": [], "audience": []}
    first: Mapping[str, str] | None = None
    unreachable: list[Failure] = []
    for upstream in settings.upstreams.values():
        try:
            resource = _resource(upstream, identity.issuer, preset, http)
        except Failure as failure:
            if failure.reason != "upstream_unreachable":
                raise
            unreachable.append(failure)
            talk(f"{upstream.name} is left out of this sign-in. {failure.message}")
            continue
        resources[upstream.name] = resource
        parameters = token_request_params(upstream, preset, resource)
        first = parameters if first is None else first
        scopes += upstream.scopes
        for name, values in audiences.items():
            if name in parameters:
                values.append(parameters[name])
    if unreachable and not resources:
        raise unreachable[0]
    return Wanted(
        scopes=tuple(dict.fromkeys([*scopes, *extra_scopes])),
        resources=resources,
        audiences={name: tuple(dict.fromkeys(values)) for name, values in audiences.items() if values},
        first_token=first or {},
    )


def prompt_for(wanted: Wanted, preset: Preset, *, force: bool) -> str | None:
    """OpenID Connect's `prompt`. Core section 11: `offline_access` is ignored without `consent`.

    `force` asks the person to choose again: the provider may remember the wrong account.
    """
    if preset.name in _ADMIN_CONSENTS:
        return "select_account" if force else None
    words = ["login"] if force else []
    if "offline_access" in wanted.scopes:
        words.append("consent")
    return " ".join(words) or None


def _resource(upstream: UpstreamSettings, issuer: str, preset: Preset, http: httpx2.Client) -> str:
    metadata = protected_resource(upstream.url, http)
    if metadata is None:
        return upstream.url
    metadata.require_issuer(issuer, preset)
    return metadata.resource
