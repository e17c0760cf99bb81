"""What a sign-in asks for, so that one grant serves every upstream (RFC 8707 section 2.2)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import httpx2

from acp_stdio.errors import Failure
from acp_stdio.identity.model import Session
from acp_stdio.identity.step_up import united
from acp_stdio.oauth.asking import token_request_params
from acp_stdio.oauth.metadata import AuthorizationServer
from acp_stdio.oauth.presets import Preset
from acp_stdio.oauth.upstream import Described, describe
from acp_stdio.settings.model import Settings, UpstreamSettings


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
    claims: str = ""
    """What servers challenged for in `claims`, where the provider is sent those for each token."""

    def with_claims(self, challenged: str) -> "Wanted":
        """`challenged`, too; the same where the provider is sent no claims for tokens."""
        if not challenged or "claims" not in self.first_token:
            return self
        first = {**self.first_token, "claims": united(self.first_token["claims"], challenged)}
        return replace(self, first_token=first, claims=united(self.claims, challenged))


def survey(upstreams: Iterable[UpstreamSettings], http: httpx2.Client, talk: Callable[[str], None]) -> list[Described]:
    """Asks each upstream which resource it is (RFC 9728) and whose tokens it takes.

    An upstream that cannot be reached is left out, and said, where there is another one.
    Raises `Failure`: upstream_unreachable, wrong_audience.
    """
    found: list[Described] = []
    unreachable: list[Failure] = []
    for upstream in upstreams:
        try:
            found.append(describe(upstream, http))
        except Failure as failure:
            if failure.reason != "upstream_unreachable":
                raise
            unreachable.append(failure)
            talk(f"{upstream.name} is left out of this sign-in. {failure.message}")
    if unreachable and not found:
        raise unreachable[0]
    return found


def plan(
    settings: Settings,
    preset: Preset,
    server: AuthorizationServer,
    described: Iterable[Described],
    extra_scopes: Iterable[str],
) -> Wanted:
    """Adds up what the tokens of the upstreams will need. Raises `Failure(configuration_invalid)`."""
    scopes = list(settings.identity.scopes or _offered(server))
    resources: dict[str, str] = {}
    audiences: dict[str, list[str]] = {"resource": [], "audience": []}
    first: Mapping[str, str] | None = None
    for each in described:
        upstream, resource = each.upstream, each.resource
        if each.metadata is not None:
            each.metadata.require_issuer(server.issuer, preset)
        resources[upstream.name] = resource
        parameters = token_request_params(upstream, preset, resource)
        first = parameters if first is None else first
        # What a server asks for is by the book; providers with presets have scopes of their own making.
        theirs = upstream.scopes or (each.scopes if preset.name == "generic" else ())
        # Those of an exchanged token are asked for with the exchange (RFC 8693 section 2.1).
        scopes += () if upstream.token_request == "exchange" else theirs  # noqa: S105 - a way of asking
        for name, values in audiences.items():
            if name in parameters:
                values.append(parameters[name])
    return Wanted(
        scopes=tuple(dict.fromkeys([*scopes, *extra_scopes])),
        resources=resources,
        audiences={name: _asked(values, preset) for name, values in audiences.items() if values},
        first_token=first or {},
    )


def with_earlier(wanted: Wanted, session: Session | None, server: AuthorizationServer, *, more: bool = False) -> Wanted:
    """`wanted`, and what the present sign-in at `server` is for beside it: to add one upstream must not lose another.

    Only where all is asked for by `resource`; `login --force` asks for nothing but what it names.
    `more`: this adds to the rights of the present sign-in, so all that it asked for is asked for again
    (MCP 2026-07-28, scope challenge handling).
    """
    if session is None or not session.signed_in or session.issuer != server.issuer:
        return wanted
    if more:
        wanted = replace(wanted, scopes=tuple(dict.fromkeys([*wanted.scopes, *(session.asked or session.scopes)])))
        wanted = wanted.with_claims(session.claims)
    others = {name: resource for name, resource in session.resources.items() if name not in wanted.resources}
    if not others or set(wanted.audiences) != {"resource"}:
        return wanted
    return replace(
        wanted,
        scopes=tuple(dict.fromkeys([*wanted.scopes, *(session.asked or session.scopes)])),
        resources={**wanted.resources, **others},
        audiences={"resource": tuple(dict.fromkeys([*wanted.audiences["resource"], *others.values()]))},
    )


def prompt_for(wanted: Wanted, preset: Preset, *, force: bool) -> str | None:
    """OpenID Connect's `prompt`. Core section 11: `offline_access` is ignored without `consent`.

    Providers that issue refresh tokens all the same are not asked, since asking may mean asking an
    administrator. `force` has the person choose again: the provider may remember the wrong account.
    """
    words: list[str] = []
    if force:
        words.append("select_account" if preset.chooses_account else "login")
    if preset.prompts_consent == "always" or preset.prompts_consent in wanted.scopes:
        words.append("consent")
    return " ".join(words) or None


def _asked(values: list[str], preset: Preset) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))[: 1 if preset.one_audience else None]


def _offered(server: AuthorizationServer) -> list[str]:
    """What makes a sign-in last and says who it is, as far as a discovered server has it."""
    openid = ["openid"] if server.openid else []
    return [*openid, *(["offline_access"] if "offline_access" in server.scopes_supported else [])]
