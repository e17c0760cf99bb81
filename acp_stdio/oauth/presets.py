"""What identity providers do differently, as data. A new provider is a new entry in `PRESETS`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from acp_stdio.errors import Failure
from acp_stdio.identity.claims import ClaimNames
from acp_stdio.settings.model import IdentitySettings, UpstreamSettings

_GUID: Final = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_URI_SCOPE: Final = re.compile(rf"(?:[a-z][a-z0-9+.-]*://\S+/|(?:\S+/)?{_GUID}/)\S+|\S+/\.default")


@dataclass(frozen=True, slots=True)
class Preset:
    """One provider's ways. The defaults are the specifications'."""

    name: str
    sends_resource: bool = True
    """RFC 8707. Where false, a token is asked for by its scopes."""
    pkce_unadvertised: bool = False
    """PKCE works although the metadata does not say so; it is used all the same."""
    tenant_path: str = ""
    """A regular expression with one group, the tenant, that an issuer's path matches."""
    any_tenant: frozenset[str] = frozenset()
    """Tenants that stand for many, whose metadata names a template as issuer."""
    issuer_aliases: tuple[str, ...] = ()
    """Other `iss` values of the same server; `{tenantid}` stands for the tenant."""
    user_key: tuple[str, ...] = ("sub",)
    """Used where the settings leave `user_key` at its default."""
    user_label: tuple[str, ...] = ("email", "preferred_username", "sub")
    email_claims: tuple[str, ...] = ("email",)
    tenant_claim: str = ""
    client_claims: tuple[str, ...] = ("client_id", "azp")
    """The first that an access token carries names the client that it was issued to."""
    redirect_host: str = ""
    """The loopback host that the provider wants in a redirect, where it is particular about it."""
    uri_scopes: bool = False
    """Scopes name their resource: `api://app/scope` or `…/.default`."""
    steady_scopes: tuple[str, ...] = ()
    """Repeated whenever scopes are sent, or the answer lacks the ID or refresh token."""
    deviations: tuple[str, ...] = ()
    """In words, for logs and `status`."""

    def tenant(self, issuer: str) -> str:
        """The tenant that `issuer` names, or nothing."""
        match = re.fullmatch(self.tenant_path, urlsplit(issuer).path) if self.tenant_path else None
        return match[1] if match else ""

    def issuer_template(self, issuer: str) -> str | None:
        """What the metadata of a many-tenant `issuer` calls itself; None for every other issuer."""
        tenant = self.tenant(issuer)
        return issuer.replace(f"/{tenant}/", "/{tenantid}/", 1) if tenant in self.any_tenant else None

    def shared_issuers(self, issuer: str) -> tuple[str, ...]:
        """The names under which many-tenant servers know the provider of `issuer`."""
        tenant = self.tenant(issuer)
        return tuple(issuer.replace(f"/{tenant}/", f"/{every}/", 1) for every in sorted(self.any_tenant) if tenant)

    def issuer_alternatives(self, issuer: str) -> tuple[str, ...]:
        """Further `iss` values of the tokens of `issuer`, of its tenant only where it names one."""
        tenant = self.tenant(issuer)
        if tenant in self.any_tenant:
            return self.issuer_aliases
        return tuple(alias.replace("{tenantid}", tenant) for alias in self.issuer_aliases if tenant)


GENERIC: Final = Preset("generic")

# learn.microsoft.com/entra/identity-platform: v2-protocols-oidc, v2-oauth2-auth-code-flow,
# access-token-claims-reference, id-token-claims-reference, reply-url, claims-validation.
ENTRA: Final = Preset(
    "entra",
    sends_resource=False,
    pkce_unadvertised=True,
    tenant_path=r"/([^/]+)/v2\.0/?",
    any_tenant=frozenset({"common", "organizations", "consumers"}),
    issuer_aliases=("https://sts.windows.net/{tenantid}/",),
    user_key=("tid", "oid"),
    user_label=("preferred_username", "upn", "email", "sub"),
    email_claims=("upn", "preferred_username", "email"),
    tenant_claim="tid",
    client_claims=("azp", "appid"),
    redirect_host="localhost",
    uri_scopes=True,
    steady_scopes=("openid", "profile", "offline_access"),
    deviations=(
        "`resource` (RFC 8707) is not sent: tokens are asked for by scope",
        "PKCE is used although the metadata does not offer it",
        "tokens may come from the v1 issuer, https://sts.windows.net",
        "sign-out cannot be told to the provider: it has no revocation endpoint (RFC 7009)",
    ),
)

PRESETS: Final[Mapping[str, Preset]] = {preset.name: preset for preset in (GENERIC, ENTRA)}
_DEFAULT_KEY: Final = IdentitySettings("", "").user_key
_DEFAULT_LABEL: Final = IdentitySettings("", "").user_label
_DEFAULT_REDIRECT: Final = IdentitySettings("", "").redirect


def preset_of(identity: IdentitySettings) -> Preset:
    """The preset that the settings name."""
    return PRESETS[identity.preset]


def claim_names(identity: IdentitySettings) -> ClaimNames:
    """Which claims say who a person is: the settings', or the preset's where those are the default."""
    preset = preset_of(identity)
    return ClaimNames(
        key=identity.user_key if identity.user_key != _DEFAULT_KEY else preset.user_key,
        label=identity.user_label if identity.user_label != _DEFAULT_LABEL else preset.user_label,
        email=preset.email_claims,
        tenant=preset.tenant_claim,
        client=preset.client_claims,
    )


def redirect_address(identity: IdentitySettings) -> str:
    """The address to listen on: the settings', or the default on the host that the preset wants."""
    host = preset_of(identity).redirect_host
    if not host or identity.redirect != _DEFAULT_REDIRECT:
        return identity.redirect
    return identity.redirect.replace("127.0.0.1", host, 1)


def token_request_params(upstream: UpstreamSettings, preset: Preset, resource: str) -> dict[str, str]:
    """What a token request (code exchange, device, refresh) adds to get a token for `upstream`.

    `resource` is the protected resource's identifier, byte for byte. Raises
    `Failure(configuration_invalid)` where the scopes cannot say which token is meant.
    """
    check_scopes(upstream, preset)
    match upstream.token_request:
        case "resource" if preset.sends_resource:
            return {"resource": resource}
        case "audience":
            return {"audience": upstream.audience[0] if upstream.audience else resource}
        case "omit":
            return {}
        case "resource" | "scope":
            return {"scope": " ".join(dict.fromkeys((*upstream.scopes, *preset.steady_scopes)))}


def expected_audiences(upstream: UpstreamSettings, preset: Preset, resource: str) -> tuple[str, ...]:
    """The values of which a token for `upstream` must name one in `aud`."""
    if upstream.audience:
        return upstream.audience
    if not preset.uri_scopes:
        return (resource,)
    found: list[str] = []
    for scope in upstream.scopes:
        app = scope.rpartition("/")[0]
        found.append(app)
        if guid := re.fullmatch(rf"api://({_GUID})", app):
            found.append(guid[1])  # v2 tokens carry the application's id, v1 tokens its URI
    return tuple(dict.fromkeys(found))


def check_scopes(upstream: UpstreamSettings, preset: Preset) -> None:
    """Refuses scopes that the provider would answer with another resource's token.

    Raises `Failure(configuration_invalid)`.
    """
    if not preset.uri_scopes:
        return
    bare = [scope for scope in upstream.scopes if not _URI_SCOPE.fullmatch(scope)]
    apps = {scope.rpartition("/")[0] for scope in upstream.scopes}
    if not upstream.scopes:
        problem = "has no scopes, and this provider knows by them which token is meant"
    elif bare:
        problem = f"has the scope {bare[0]!r}, which this provider takes for one of another resource"
    elif len(apps) > 1:
        problem = f"has scopes of {len(apps)} resources ({', '.join(sorted(apps))}); a token is for one"
    else:
        return
    raise Failure(
        "configuration_invalid",
        f"Upstream {upstream.name} {problem} (preset {preset.name}).",
        'Write scopes in full, such as scopes = ["api://<application>/<scope>"] or "api://<application>/.default".',
    )


def check_identity(identity: IdentitySettings) -> None:
    """Refuses a `require_account` that a stranger's tenant could satisfy.

    Anybody may create a tenant and write any e-mail address into it. Raises
    `Failure(configuration_invalid)`.
    """
    preset = preset_of(identity)
    if "domain" in identity.require_account and preset.tenant(identity.issuer) in preset.any_tenant:
        raise Failure(
            "configuration_invalid",
            f"The issuer {identity.issuer} lets every tenant in, and each can claim any domain.",
            'Name your own tenant in `issuer`, or require its id: require_account = { tid = "…" }.',
        )
