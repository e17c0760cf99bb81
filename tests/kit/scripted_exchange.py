"""A provider that exchanges tokens (RFC 8693) for a client with a secret, as Keycloak's standard token exchange does.

keycloak.org/securing-apps/token-exchange, "Standard token exchange": the requester is a confidential client and in
the subject token's audience; `audience` names the target client. RFC 8693 section 4.1: `act` says who acts.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import jwt

from tests.kit.scripted_idp import Form, Refused, ScriptedIdp

GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"


@dataclass
class ExchangingIdp(ScriptedIdp):
    """Access tokens from a sign-in are for the client itself; what a server takes has to be exchanged."""

    secret: str = "the-clients-secret"
    targets: set[str] = field(default_factory=set[str])
    """Resources and audiences that may be asked for."""
    acting: bool = True

    def metadata(self) -> dict[str, Any]:
        return {**super().metadata(), "token_endpoint_auth_methods_supported": ["client_secret_post"]}

    def access_claims(self, user: str, form: Form) -> dict[str, Any]:
        return {"sub": user, "client_id": self.client_id, "aud": self.client_id}

    def _token(self, form: Form) -> dict[str, Any]:
        if form.get("client_secret") != self.secret:
            raise Refused("invalid_client", "Invalid client or Invalid client credentials", 401)
        if form.get("grant_type") != GRANT:
            return super()._token(form)
        if not self.acting:
            raise Refused("unauthorized_client", "Standard token exchange is not enabled for the requested client")
        if form.get("subject_token_type") != ACCESS_TOKEN:
            raise Refused("invalid_request", "subject_token_type")
        subject = jwt.decode(form.get("subject_token", ""), options={"verify_signature": False})
        self.check_user(subject["sub"])
        target = form.get("audience") or form.get("resource") or ""
        if form["subject_token"] not in self.issued or subject["aud"] != self.client_id or target not in self.targets:
            raise Refused("invalid_target", target)
        claims = {"sub": subject["sub"], "client_id": self.client_id, "aud": target, "scope": form.get("scope", "")}
        return {
            "access_token": self._sign({**claims, "act": {"sub": self.client_id}}, self.forge_access_token),
            "issued_token_type": ACCESS_TOKEN,
            "token_type": "Bearer",
            "expires_in": self.access_ttl,
        }
