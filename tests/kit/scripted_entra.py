"""Microsoft Entra ID by script: what it refuses, leaves out and calls by other names."""

import hashlib
import json
import time
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from tests.kit.scripted_idp import Form, Refused, ScriptedIdp

TENANT: Final = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490"
APP: Final = "11112222-bbbb-3333-cccc-4444dddd5555"
"""The application id of the protected API; its scopes are `api://<APP>/…`."""
LONG_LIVED: Final = 28 * 3600
"""Seconds."""


@dataclass
class EntraIdp(ScriptedIdp):
    """Microsoft Entra ID, one tenant, as far as a public client meets it.

    From learn.microsoft.com/entra/identity-platform: v2-oauth2-auth-code-flow, v2-oauth2-device-code,
    v2-protocols-oidc, scopes-oidc, id-token-claims-reference, access-token-claims-reference, reply-url,
    refresh-tokens, reference-error-codes.
    """

    client_id: str = "00001111-aaaa-2222-bbbb-3333cccc4444"
    token_version: Literal[1, 2] = 2
    """The API's `requestedAccessTokenVersion`: decides `iss`, `aud` and the client claim of its tokens."""
    contexts: frozenset[str] | None = None
    """The authentication contexts that a renewal still satisfies; None: every one
    (developer-guide-conditional-access-authentication-context)."""
    policy: int = 0
    """The error of a Conditional Access policy that stands against every token now, such as 53003; 0: none."""
    metadata_paths: tuple[str, ...] = (f"/{TENANT}/v2.0/.well-known/openid-configuration",)
    endpoints: str = f"/{TENANT}/oauth2/v2.0"

    @property
    def issuer(self) -> str:
        return f"{self.origin}/{TENANT}/v2.0"

    def metadata(self) -> dict[str, Any]:
        """v2-protocols-oidc: no PKCE methods, no `iss` parameter, no revocation endpoint."""
        missing = ("code_challenge_methods_supported", "authorization_response_iss_parameter_supported")
        document = super().metadata()
        return {name: document[name] for name in document if name not in (*missing, "revocation_endpoint")}

    def check_redirect(self, uri: str) -> bool:
        """reply-url: the port of `http://localhost` is ignored, its path is not; 127.0.0.1 is another host."""
        parts = urlsplit(uri)
        return (parts.scheme, parts.hostname) == ("http", "localhost") and parts.path in ("", "/", "/callback")

    def lifetime(self, form: Form) -> int:
        """entra/identity/conditional-access/concept-continuous-access-evaluation, "Token lifetime": up to 28 hours
        for clients that say that they can be told before."""
        return LONG_LIVED if "cp1" in self.capabilities(form) else super().lifetime(form)

    def capabilities(self, form: Form) -> list[str]:
        """claims-challenge, "Client capabilities"."""
        values: list[str] = self.claims(form).get("xms_cc", {}).get("values", [])
        return values

    def claims(self, form: Form) -> dict[str, Any]:
        """claims-challenge: what is asked of the access token. Raises `Refused` for what is no JSON."""
        try:
            return dict(json.loads(form.get("claims", "{}")).get("access_token", {}))
        except (ValueError, AttributeError):
            raise Refused("invalid_request", "The claims parameter is not valid.") from None

    def check_request(self, form: Form) -> None:
        """scopes-oidc: a scope names its resource, one resource per token, and nothing else does."""
        context = self.claims(form).get("acrs", {}).get("value", "")
        renewed = form.get("grant_type") == "refresh_token"
        if renewed and context and self.contexts is not None and context not in self.contexts:
            raise _aadsts("interaction_required", 50076, "You must use multi-factor authentication to access this.")
        scopes = form.get("scope", "").split()
        if "resource" in form and not any("/" in scope for scope in scopes):
            raise _aadsts("invalid_request", 901002, "The 'resource' request parameter is not supported.")
        if "resource" in form:
            said = "The resource parameter provided in the request doesn't match with the requested scopes."
            raise _aadsts("invalid_target", 9010010, said)
        own = {"openid", "profile", "email", "offline_access"}
        for scope in scopes:
            if scope not in own and "/" not in scope:
                said = f"asked for scope '{scope}' that doesn't exist on the resource"
                graph = "00000003-0000-0000-c000-000000000000"
                raise _aadsts("invalid_client", 650053, f"The application {said} '{graph}'. Contact the app vendor.")
        if len({scope.rpartition("/")[0] for scope in scopes if scope not in own}) > 1:
            raise _aadsts("invalid_scope", 28000, "The scope is not valid because it contains more than one resource.")

    def check_user(self, user: str) -> None:
        if user in self.disabled:
            raise _aadsts("invalid_grant", 50057, "The user account is disabled.")
        if self.policy:
            raise _aadsts("invalid_grant", self.policy, "Conditional Access stands against it.")

    def id_claims(self, user: str) -> dict[str, Any]:
        """id-token-claims-reference: `sub` is this application's own; `email` comes only where it is configured."""
        return {
            "sub": _pairwise(user, self.client_id),
            "tid": TENANT,
            "oid": user,
            "preferred_username": f"{user}@example.com",
            "name": user,
            "ver": "2.0",
        }

    def access_claims(self, user: str, form: Form) -> dict[str, Any]:
        """access-token-claims-reference: `sub` is the API's own, so it is not the ID token's."""
        scopes = [scope for scope in form.get("scope", "").split() if "/" in scope]
        if not scopes:  # only OpenID scopes: a token for Microsoft Graph, opaque to everybody else
            return {"sub": "graph", "aud": "00000003-0000-0000-c000-000000000000", "tid": TENANT, "oid": user}
        claims: dict[str, Any] = {
            "sub": _pairwise(user, APP),
            "tid": TENANT,
            "oid": user,
            "scp": " ".join(scope.rpartition("/")[2] for scope in scopes),
            "exp": int(time.time()) + self.clock_offset + self.lifetime(form),
            # access-token-claims-reference: an API that asks for the optional claim is told what the client can do.
            "xms_cc": self.capabilities(form),
        }
        if "acrs" in self.claims(form):  # developer-guide-conditional-access-authentication-context
            claims["acrs"] = [self.claims(form)["acrs"]["value"]]
        if self.token_version == 1:
            issuer = f"https://sts.windows.net/{TENANT}/"
            return {**claims, "iss": issuer, "aud": f"api://{APP}", "appid": self.client_id, "ver": "1.0"}
        return {**claims, "aud": APP, "azp": self.client_id, "ver": "2.0"}

    def next_refresh_token(self, spent: str | None) -> str:
        """refresh-tokens: a new one comes with every use, and the old one is not revoked by it."""
        return self._secret()


def _pairwise(user: str, audience: str) -> str:
    return hashlib.sha256(f"{user}/{audience}".encode()).hexdigest()[:43]


def _aadsts(error: str, code: int, text: str) -> Refused:
    """reference-error-codes: the shape of an error answer."""
    refused = Refused(error, f"AADSTS{code}: {text}\r\nTrace ID: 255d1aef\r\nTimestamp: 2026-01-09 02:02:12Z")
    refused.document |= {"error_codes": [code], "trace_id": "255d1aef", "correlation_id": "fb3d2015"}
    return refused
