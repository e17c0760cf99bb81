"""What identity providers do differently, as data. A new provider is a new entry in `PRESETS`.

What then is asked of one, and refused before it is asked, is `oauth.asking`'s business.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from acp_stdio.identity.claims import ClaimNames
from acp_stdio.settings.model import IdentitySettings
from acp_stdio.settings.presets import identity_defaults


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
    email_claims: tuple[str, ...] = ("email",)
    tenant_claim: str = ""
    client_claims: tuple[str, ...] = ("client_id", "azp")
    """The first that an access token carries names the client that it was issued to."""
    token_key: tuple[str, ...] = ()
    """The claims of an access token that, joined, are the person's key, where its names differ from the ID token's."""
    audience_by_scope: bool = False
    """Access tokens may have no `aud`; what they are for is then told by their scopes and client."""
    one_audience: bool = False
    """The sign-in names one API; tokens of the others come from the refresh."""
    prompts_consent: Literal["offline_access", "always", "never"] = "never"
    """When the sign-in asks for consent again. OpenID Connect Core section 11 ties `offline_access` to it."""
    chooses_account: bool = False
    """A repeated sign-in asks which account, not for the password of the same one."""
    sso_silent: bool = False
    """Its issuers share one browser session: the second sign-in asks first without a page (`prompt=none`)."""
    authorize_params: Mapping[str, str] = field(default_factory=dict[str, str])
    """Sent with each sign-in."""
    account_params: tuple[str, ...] = ()
    """Claims of `require_account` that the sign-in page takes as a hint under the same name."""
    uri_scopes: bool = False
    """Scopes name their resource: `api://app/scope` or `…/.default`."""
    steady_scopes: tuple[str, ...] = ()
    """Repeated whenever scopes are sent, or the answer lacks the ID or refresh token."""
    client_capabilities: tuple[str, ...] = ()
    """What the provider is told that this program can do, in each request that brings a token."""
    short_lived: str = ""
    """Why a sign-in lasts a week or less, and what changes that, as one sentence."""
    endpoints: Mapping[str, str] = field(default_factory=dict[str, str])
    """Metadata of a provider that publishes none; `{issuer}`, `{origin}` and `{api}` stand for its addresses."""
    deviations: tuple[str, ...] = ()
    """In words, for logs and `status`."""

    def metadata(self, issuer: str) -> dict[str, Any] | None:
        """What `issuer` would publish; None where it does so itself."""
        if not self.endpoints:
            return None
        parts = urlsplit(issuer)
        origin = f"{parts.scheme}://{parts.netloc}"
        api = "https://api.github.com" if origin == "https://github.com" else f"{origin}/api/v3"
        places = {"issuer": issuer, "origin": origin, "api": api}
        found = {name: where.format_map(places) for name, where in self.endpoints.items()}
        return {"issuer": issuer, **found, "token_endpoint_auth_methods_supported": ["client_secret_post", "none"]}

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
        return tuple(
            alias.replace("{tenantid}", tenant) for alias in self.issuer_aliases if tenant or "{tenantid}" not in alias
        )


GENERIC: Final = Preset("generic", prompts_consent="offline_access")

# learn.microsoft.com/entra/identity-platform: v2-protocols-oidc, v2-oauth2-auth-code-flow,
# access-token-claims-reference, id-token-claims-reference, reply-url, claims-validation, claims-challenge.
ENTRA: Final = Preset(
    "entra",
    sends_resource=False,
    pkce_unadvertised=True,
    tenant_path=r"/([^/]+)/v2\.0/?",
    any_tenant=frozenset({"common", "organizations", "consumers"}),
    issuer_aliases=("https://sts.windows.net/{tenantid}/",),
    email_claims=("upn", "preferred_username", "email"),
    tenant_claim="tid",
    client_claims=("azp", "appid"),
    chooses_account=True,
    uri_scopes=True,
    steady_scopes=("openid", "profile", "offline_access"),
    client_capabilities=("cp1",),  # claims challenges are acted on: `identity.step_up`
    deviations=(
        "`resource` (RFC 8707) is not sent: tokens are asked for by scope",
        "PKCE is used although the metadata does not offer it",
        "tokens may come from the v1 issuer, https://sts.windows.net",
        "sign-out cannot be told to the provider: it has no revocation endpoint (RFC 7009)",
    ),
)

# developer.okta.com: concepts/auth-servers, guides/refresh-tokens, guides/validate-access-tokens,
# guides/request-user-consent; reference/api/oidc ("Access token payload", "ID token payload").
OKTA: Final = Preset(
    "okta",
    sends_resource=False,
    client_claims=("cid",),
    token_key=("uid",),
    steady_scopes=("openid", "offline_access"),
    sso_silent=True,
    deviations=(
        "`resource` (RFC 8707) is not sent: a custom authorization server has one audience, which is its setting",
        "access tokens name the client in `cid` and the person in `uid`; their `sub` is a login name",
    ),
)

# auth0.com/docs/secure/tokens: access-tokens/get-access-tokens, access-tokens/access-token-profiles,
# refresh-tokens/multi-resource-refresh-token; get-started/tenant-settings ("Resource Parameter Compatibility Profile").
AUTH0: Final = Preset(
    "auth0",
    client_claims=("azp", "client_id"),
    one_audience=True,
    deviations=(
        "tokens are asked for by `audience`, and by `resource` (RFC 8707) only where token_request says so",
        "an API that the refresh token's policy does not name is ignored in silence: each token's `aud` is looked at",
    ),
)

# developers.google.com/identity: openid-connect/openid-connect, openid-connect/reference, protocols/oauth2
# ("Refresh token expiration"), protocols/oauth2/{native-app,limited-input-device};
# cloud.google.com/docs/authentication/token-types.
GOOGLE: Final = Preset(
    "google",
    sends_resource=False,
    issuer_aliases=("accounts.google.com",),
    tenant_claim="hd",
    client_claims=("azp",),
    prompts_consent="always",
    chooses_account=True,
    authorize_params={"access_type": "offline"},
    account_params=("hd",),
    short_lived="Google ends this sign-in within a week, as it does while the consent screen is in Testing (have it "
    "published, or made Internal) and where you gave access for a time only.",
    deviations=(
        "the refresh token is asked for by access_type=offline and prompt=consent, not by a scope",
        "access tokens cannot be read by anybody but Google: servers of your own take the ID token "
        '(token_format = "id_token")',
        "desktop clients have a client_secret that is not one; the token endpoint wants it all the same",
    ),
)

# keycloak.org/docs/latest/server_admin: "Audience support", "Offline access"; securing-apps/oidc-layers.
KEYCLOAK: Final = Preset(
    "keycloak",
    client_claims=("azp", "client_id"),
    steady_scopes=("openid", "offline_access"),
    deviations=(
        "`resource` (RFC 8707) is sent only where token_request says so: a client scope with an audience mapper "
        "decides what a token is for",
    ),
)

# docs.aws.amazon.com/cognito/latest/developerguide: federation-endpoints, token-endpoint, revocation-endpoint,
# amazon-cognito-user-pools-using-the-access-token, cognito-user-pools-define-resource-servers.
COGNITO: Final = Preset(
    "cognito",
    pkce_unadvertised=True,
    client_claims=("client_id",),
    audience_by_scope=True,
    deviations=(
        "PKCE is used although the metadata does not offer it",
        "access tokens may have no `aud`: client and scopes tell what they are for, "
        "so a token is good at each server that has a scope in it",
        "the endpoints are on another host than the issuer",
    ),
)

# developer.pingidentity.com/pingone-api: auth/openid-connect-oauth-2, foundations/authentication-concepts/
# access-tokens-and-id-tokens/{token-claims,grant-types}, authorization-flow-by-grant-type/pkce-parameters.
PING: Final = Preset(
    "ping",
    sends_resource=False,
    pkce_unadvertised=True,
    client_claims=("client_id", "azp"),
    deviations=(
        "`resource` (RFC 8707) is not sent: the custom resource of the scopes decides what a token is for",
        "PKCE is used although the metadata may not offer it",
    ),
)

# docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app: generating-a-user-access-token-for-a-
# github-app (endpoints, PKCE, device flow), refreshing-user-access-tokens (both old tokens end at once).
GITHUB: Final = Preset(
    "github",
    sends_resource=False,
    pkce_unadvertised=True,
    chooses_account=True,
    endpoints={
        "authorization_endpoint": "{issuer}/authorize",
        "token_endpoint": "{issuer}/access_token",
        "device_authorization_endpoint": "{origin}/login/device/code",
        "user_endpoint": "{api}/user",
    },
    deviations=(
        "no OpenID Connect: GET /user tells who signed in, and is asked again with each new token",
        "tokens cannot be read and are good for all of GitHub: they go to the origin of the settings alone",
        "a renewal ends the access tokens of the other processes, which renew theirs at the next call",
        "sign-out cannot be told to the provider: it has no revocation endpoint (RFC 7009)",
    ),
)

PRESETS: Final[Mapping[str, Preset]] = {
    preset.name: preset for preset in (GENERIC, ENTRA, OKTA, AUTH0, GOOGLE, KEYCLOAK, COGNITO, PING, GITHUB)
}


def preset_of(identity: IdentitySettings) -> Preset:
    """The preset that the settings name; what it repeats in requests is what the sign-in asks for."""
    preset = PRESETS[identity.preset]
    return replace(preset, steady_scopes=tuple(each for each in preset.steady_scopes if each in identity.scopes))


def claim_names(identity: IdentitySettings) -> ClaimNames:
    """Which claims say who a person is; the settings have the preset's where nobody wrote others."""
    preset = PRESETS[identity.preset]
    as_usual = identity.user_key == identity_defaults(identity.preset).user_key
    return ClaimNames(
        key=identity.user_key,
        label=identity.user_label,
        email=preset.email_claims,
        tenant=preset.tenant_claim,
        client=preset.client_claims,
        token_key=preset.token_key if as_usual else (),
    )
