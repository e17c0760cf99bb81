"""Identity providers by script, each as its vendor documents it: what it refuses, leaves out and names otherwise."""

from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from tests.kit.scripted_idp import DEVICE_GRANT, Form, Refused, ScriptedIdp

_OPENID: Final = {"openid", "profile", "email", "offline_access"}
_DRIVE, _YOUTUBE = "https://www.googleapis.com/auth/drive", "https://www.googleapis.com/auth/youtube"


@dataclass
class OktaIdp(ScriptedIdp):
    """Okta's custom authorization server. developer.okta.com/docs: concepts/auth-servers; guides/refresh-tokens
    (native apps: persistent tokens, `offline_access` in both requests); guides/validate-access-tokens (claims)."""

    metadata_paths: tuple[str, ...] = ("/oauth2/default/.well-known/openid-configuration",)
    endpoints: str = "/oauth2/default/v1"
    policy: frozenset[str] = frozenset({*_OPENID, "finance.read"})
    """The scopes that the access policy's rule covers."""

    @property
    def issuer(self) -> str:
        return f"{self.origin}/oauth2/default"

    def check_request(self, form: Form) -> None:
        """support.okta.com, "Policy evaluation failed for this request" Error."""
        if not set(form.get("scope", "").split()) <= self.policy:
            said = "Policy evaluation failed for this request, please check the policy configurations."
            raise Refused("access_denied", said)

    def id_claims(self, user: str) -> dict[str, Any]:
        return {"sub": f"00u{user}", "preferred_username": f"{user}@example.com", "ver": 1}

    def access_claims(self, user: str, form: Form) -> dict[str, Any]:
        """The audience is a setting of the authorization server; `sub` is the login name, `uid` the person."""
        return {
            "ver": 1,
            "aud": "api://finance",
            "cid": self.client_id,
            "uid": f"00u{user}",
            "sub": f"{user}@example.com",
            "scp": form.get("scope", "").split(),
        }

    rotates: bool = False
    """guides/refresh-tokens: off for native apps unless an administrator sets it."""
    outlived: bool = False
    """The policy's lifetime of refresh tokens is over; it counts from the sign-in, rotated or not."""

    def check_user(self, user: str) -> None:
        super().check_user(user)
        if self.outlived:
            raise Refused("invalid_grant", "The refresh token is invalid or expired.")

    def next_refresh_token(self, spent: str | None) -> str:
        """Rotation has a grace period in which the token that was spent last still serves. Whoever comes with an
        older one is a thief, or was robbed: all end."""
        if not self.rotates:
            return spent or self._secret()
        if spent is not None:
            self._refresh = {spent: self._refresh[spent]}
        return self._secret()


@dataclass
class OktaOrg(OktaIdp):
    """One org with the custom authorization servers `default` and `crm`, which share the browser's session.

    developer.okta.com/docs/reference/api/oidc: `prompt=none` answers login_required where nobody is signed in.
    """

    session: bool = False
    """Whether the person's browser is signed in at the org."""
    refuses_silence: str = ""
    """Another error that `prompt=none` is answered with, though somebody is signed in."""
    server: str = "default"
    """Whose request is being answered: the sign-ins come one after the other."""

    @property
    def issuer(self) -> str:
        return f"{self.origin}/oauth2/{self.server}"

    def answer(self, method: str, path: str, form: Form) -> tuple[int, dict[str, Any] | str]:
        for name in ("default", "crm"):
            if path.startswith(f"/oauth2/{name}/"):
                self.server, self.endpoints = name, f"/oauth2/{name}/v1"
                self.metadata_paths = (f"/oauth2/{name}/.well-known/openid-configuration",)
        return super().answer(method, path, form)

    def check_request(self, form: Form) -> None:
        super().check_request(form)
        if form.get("prompt") == "none" and not self.session:
            said = "The client specified not to prompt, but the user is not logged in."
            raise Refused("login_required", said)
        if form.get("prompt") == "none" and self.refuses_silence:
            raise Refused(self.refuses_silence, "The client specified not to prompt.")
        self.session = self.session or "response_type" in form

    def access_claims(self, user: str, form: Form) -> dict[str, Any]:
        audience = "api://finance" if self.server == "default" else f"api://{self.server}"
        return {**super().access_claims(user, form), "aud": audience}


@dataclass
class Auth0Idp(ScriptedIdp):
    """Auth0. auth0.com/docs/secure/tokens: access-tokens/get-access-tokens (without `audience` an opaque token);
    refresh-tokens/multi-resource-refresh-token (unknown audiences are ignored); access-token-profiles (claims)."""

    apis: set[str] = field(default_factory=set[str])
    policies: set[str] = field(default_factory=set[str])
    """The audiences that the application's refresh token policy names, besides the one that was signed in for."""

    names_itself: bool = False
    """RFC 9207's parameter is a tenant's setting, off unless switched on (auth0.com/docs: get-started/applications/
    configure-mix-up-attack-protection)."""
    resource_profile: bool = False
    """`resource` counts as `audience` (tenant setting "Resource Parameter Compatibility Profile")."""
    metadata_paths: tuple[str, ...] = ("/.well-known/openid-configuration",)
    default: str = ""

    @property
    def issuer(self) -> str:
        return f"{self.origin}/"

    def metadata(self) -> dict[str, Any]:
        return {**super().metadata(), "authorization_response_iss_parameter_supported": self.names_itself}

    def check_request(self, form: Form) -> None:
        audience = self._named(form)
        if "response_type" not in form:
            return
        if audience and audience not in self.apis:
            raise Refused("access_denied", f"Service not found: {audience}")
        self.default = audience

    def id_claims(self, user: str) -> dict[str, Any]:
        return {**super().id_claims(user), "sub": f"auth0|{user}"}

    def access_token(self, user: str, form: Form) -> str:
        return super().access_token(user, form) if self.default else self._secret()

    def access_claims(self, user: str, form: Form) -> dict[str, Any]:
        asked = self._named(form)
        audience = asked if asked in self.policies else self.default
        return {
            "sub": f"auth0|{user}",
            "aud": [audience, f"{self.origin}/userinfo"],
            "azp": self.client_id,
            "scope": form.get("scope", ""),
        }

    def _named(self, form: Form) -> str:
        return form.get("audience", "") or (form.get("resource", "") if self.resource_profile else "")


@dataclass
class GoogleIdp(ScriptedIdp):
    """Google. developers.google.com/identity: openid-connect/openid-connect (`access_type`, `hd`),
    openid-connect/reference (both issuers), protocols/oauth2/native-app (client_secret, refresh answers);
    cloud.google.com/docs/authentication/token-types (opaque access tokens, ID tokens for servers of one's own);
    protocols/oauth2/limited-input-device (the device flow: scopes, client type, `verification_url`)."""

    client_id: str = "407408718192.apps.googleusercontent.com"
    secret: str = "GOCSPX-not-a-secret"
    domain: str = "example.com"
    renews_id_token: bool = True
    testing: bool = False
    """The consent screen's publishing status (protocols/oauth2, "Refresh token expiration"): a week, said as
    `refresh_token_expires_in` with the sign-in; public answers of such apps have 604799 or a little less."""
    for_devices: bool = True
    """The client's type is "TVs and Limited Input devices"."""
    old_issuer: bool = False
    """`accounts.google.com` without https in ID tokens, as the reference allows."""
    metadata_paths: tuple[str, ...] = ("/.well-known/openid-configuration",)

    def metadata(self) -> dict[str, Any]:
        methods = ["client_secret_post", "client_secret_basic"]
        return {**super().metadata(), "token_endpoint_auth_methods_supported": methods}

    def check_request(self, form: Form) -> None:
        if "offline_access" in form.get("scope", "").split():
            raise Refused("invalid_scope", "Some requested scopes were invalid. {invalid=[offline_access]}")
        if "grant_type" in form and "client_secret" not in form:
            raise Refused("invalid_request", "client_secret is missing.")
        if "grant_type" in form and form["client_secret"] != self.secret:
            raise Refused("invalid_client", "The provided client secret is invalid.", 401)

    def _device(self, form: Form) -> dict[str, Any]:
        """Words of refusals: hickford/git-credential-oauth#38, anxdpanic/plugin.video.youtube#299."""
        if form.get("in_the_form", self.client_id) != self.client_id:
            raise Refused("invalid_request", "Missing required parameter: client_id")
        if not self.for_devices:
            kind = "Only clients of type 'TVs and Limited Input devices' can use the OAuth 2.0 flow for TV and Limited-"
            raise Refused(
                "invalid_client", f"{kind}Input Device Applications. Please create an appropriate client.", 401
            )
        allowed = {
            "openid",
            "email",
            "profile",
            f"{_DRIVE}.appdata",
            f"{_DRIVE}.file",
            _YOUTUBE,
            f"{_YOUTUBE}.readonly",
        }
        for scope in form.get("scope", "").split():
            if scope not in allowed:
                raise Refused("invalid_scope", f"Invalid device flow scope: {scope}")
        document = super()._device(form)
        return {"verification_url": document.pop("verification_uri"), **document}

    def besides(self, scopes: tuple[str, ...], form: Form) -> dict[str, Any]:
        return {"refresh_token_expires_in": 604799} if self.testing and form["grant_type"] != "refresh_token" else {}

    def id_claims(self, user: str) -> dict[str, Any]:
        claims = {**super().id_claims(user), "azp": self.client_id}
        claims |= {"hd": self.domain} if self.domain else {}
        return claims | ({"iss": "accounts.google.com"} if self.old_issuer else {})

    def access_token(self, user: str, form: Form) -> str:
        return self._secret()

    def keeps(self, scopes: tuple[str, ...], form: Form) -> bool:
        if form.get("grant_type") in ("refresh_token", DEVICE_GRANT):
            return form["grant_type"] == DEVICE_GRANT
        return form.get("access_type") == "offline" and "consent" in form.get("prompt", "").split()

    def identifies(self, scopes: tuple[str, ...], form: Form) -> bool:
        return form.get("grant_type") != "refresh_token" or self.renews_id_token


@dataclass
class KeycloakIdp(ScriptedIdp):
    """Keycloak. keycloak.org/docs/latest/server_admin: "Audience support" (no mapper, no `aud`; `azp` is the client),
    "Offline access" (the scope needs a role); securing-apps/oidc-layers (endpoints)."""

    metadata_paths: tuple[str, ...] = ("/realms/company/.well-known/openid-configuration",)
    endpoints: str = "/realms/company/protocol/openid-connect"
    ends_everything: bool = True
    """services: TokenRevocationEndpoint.revokeClient."""
    offline_role: bool = True
    revokes_refresh_tokens: bool = False
    """The realm's setting "Revoke Refresh Token" with a reuse of 0 (server_admin, "Session and token timeouts"):
    whoever brings a spent one ends the session (services: TokenManager.validateTokenReuse)."""
    reuses: int = 0
    resource_feature: bool = False
    """The experimental feature of 26.6: of the audiences that mappers add, those stay that `resource` names."""
    mapped: tuple[str, ...] = ("finance-api", "account")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._offline = False
        self._spent: set[str] = set()

    @property
    def issuer(self) -> str:
        return f"{self.origin}/realms/company"

    def check_request(self, form: Form) -> None:
        if "grant_type" in form and not self.offline_role and self._offline:
            raise Refused("not_allowed", "Offline tokens not allowed for the user or client")
        if (old := form.get("refresh_token", "")) in self._spent:
            self.reuses += 1
            self._refresh.clear()
            raise Refused("invalid_grant", "Maximum allowed refresh token reuse exceeded")
        if old and self.revokes_refresh_tokens:
            self._spent.add(old)
        self._offline = "offline_access" in form.get("scope", "").split()

    def id_claims(self, user: str) -> dict[str, Any]:
        return {**super().id_claims(user), "azp": self.client_id, "typ": "ID"}

    def access_claims(self, user: str, form: Form) -> dict[str, Any]:
        audience = list(self.mapped) if "finance" in form.get("scope", "").split() else ["account"]
        if self.resource_feature and (resource := form.get("resource")):
            audience = [each for each in audience if each == resource]
        return {
            "sub": user,
            "azp": self.client_id,
            "typ": "Bearer",
            "aud": audience,
            "scope": form.get("scope", ""),
        }

    def keeps(self, scopes: tuple[str, ...], form: Form) -> bool:
        """Without `offline_access` the refresh token is bound to the browser's session, but there is one."""
        return True

    def next_refresh_token(self, spent: str | None) -> str:
        """A new one in any case; the old one stays good unless the realm revokes it."""
        return super().next_refresh_token(spent if self.revokes_refresh_tokens else None)

    def besides(self, scopes: tuple[str, ...], form: Form) -> dict[str, Any]:
        """`refresh_expires_in` is the session's idle time, and 0 for an offline session without a limit."""
        return {"refresh_expires_in": 0 if "offline_access" in scopes else 1800, "not-before-policy": 0}


@dataclass
class CognitoIdp(ScriptedIdp):
    """Amazon Cognito. docs.aws.amazon.com/cognito/latest/developerguide: federation-endpoints (two hosts),
    amazon-cognito-user-pools-using-the-access-token (claims), token-endpoint, revocation-endpoint,
    authorization-endpoint (scopes); cognito-user-identity-pools/latest/APIReference/API_RefreshTokenRotationType."""

    metadata_paths: tuple[str, ...] = ("/eu-central-1_AbCdEf/.well-known/openid-configuration",)
    endpoints: str = "/oauth2"
    drops_scope: str = ""
    """A scope that tokens lack although it was asked for, as where the app client may not have it."""
    token_use: str = "access"
    rotates: bool = False
    """The app client's setting."""
    published_domain: str = ""
    """The domain that the metadata names; empty: the one that works. A custom domain may not be in it."""
    grace: bool = False
    """A spent refresh token stays good for up to 60 seconds (`RetryGracePeriodSeconds`)."""

    @property
    def issuer(self) -> str:
        return f"{self.origin}/eu-central-1_AbCdEf"

    def metadata(self) -> dict[str, Any]:
        """The endpoints are the domain's, not the issuer's; no device grant, no PKCE methods, no `iss` parameter."""
        domain = self.published_domain or self.domain
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{domain}/authorize",
            "token_endpoint": f"{domain}/token",
            "revocation_endpoint": f"{domain}/revoke",
            "jwks_uri": f"{self.origin}{self.endpoints}/keys",
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["code", "token"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        }

    @property
    def domain(self) -> str:
        return f"http://localhost:{urlsplit(self.origin).port}{self.endpoints}"

    def check_request(self, form: Form) -> None:
        if "offline_access" in form.get("scope", "").split():
            raise Refused("invalid_scope")

    def id_claims(self, user: str) -> dict[str, Any]:
        return {**super().id_claims(user), "cognito:username": user, "token_use": "id"}

    def access_claims(self, user: str, form: Form) -> dict[str, Any]:
        scopes = [scope for scope in form.get("scope", "").split() if scope != self.drops_scope]
        return {
            "sub": user,
            "client_id": self.client_id,
            "token_use": self.token_use,
            "username": user,
            "version": 2,
            "scope": " ".join(scopes),
        }

    def keeps(self, scopes: tuple[str, ...], form: Form) -> bool:
        """A refresh brings no new refresh token, where rotation is not switched on."""
        return self.rotates or form.get("grant_type") == "authorization_code"

    def next_refresh_token(self, spent: str | None) -> str:
        return super().next_refresh_token(None if self.grace else spent)


@dataclass
class PingIdp(ScriptedIdp):
    """PingOne. developer.pingidentity.com/pingone-api: auth/openid-connect-oauth-2 (endpoints, discovery),
    foundations/authentication-concepts/access-tokens-and-id-tokens/token-claims and grant-types (refresh tokens
    come with the application's grant type), platform/resources (a custom resource is the audience)."""

    metadata_paths: tuple[str, ...] = ("/abfba8f6-49eb-49f5-a5d9-80ad5c98f9f6/as/.well-known/openid-configuration",)
    endpoints: str = "/abfba8f6-49eb-49f5-a5d9-80ad5c98f9f6/as"

    @property
    def issuer(self) -> str:
        return self.origin + self.endpoints

    def metadata(self) -> dict[str, Any]:
        missing = ("code_challenge_methods_supported", "authorization_response_iss_parameter_supported")
        document = super().metadata()
        return {name: document[name] for name in document if name not in missing}

    def access_claims(self, user: str, form: Form) -> dict[str, Any]:
        custom = set(form.get("scope", "").split()) - _OPENID
        audience = ["https://finance.example.com"] if custom else ["https://api.pingone.com"]
        return {"sub": user, "client_id": self.client_id, "aud": audience, "scope": form.get("scope", "")}

    def keeps(self, scopes: tuple[str, ...], form: Form) -> bool:
        return True
