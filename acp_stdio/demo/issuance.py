"""The tokens that the demo's identity provider signs: JWT access tokens (RFC 9068) and ID tokens."""

# Authlib ships no types, so everything that comes out of it is unknown to pyright:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeArgument=false, reportUntypedBaseClass=false
# pyright: reportIncompatibleMethodOverride=false, reportIncompatibleVariableOverride=false

import time
from typing import TYPE_CHECKING, Any

from authlib.common.security import generate_token
from authlib.oauth2.rfc6749 import scope_to_list
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from authlib.oidc.core import OpenIDCode
from joserfc.jwk import KeySet

from acp_stdio.demo.client import ALGORITHM
from acp_stdio.demo.memory import Subject

if TYPE_CHECKING:
    from acp_stdio.demo.rules import Rules


def _refresh_token_value(**_: Any) -> str:
    return generate_token(48)


class AccessTokens(JWTBearerTokenGenerator):
    """RFC 9068 access tokens for the resource that was asked for."""

    def __init__(self, rules: "Rules", seconds: int) -> None:
        super().__init__(rules.issuer, ALGORITHM, _refresh_token_value, expires_generator=seconds)
        self._rules = rules

    def get_jwks(self) -> KeySet:
        return self._rules.keys

    def get_audiences(self, client: Any, user: Subject, scope: str) -> str:
        return user.audience

    def get_auth_time(self, user: Subject) -> int:
        return user.auth_time

    def get_extra_claims(self, client: Any, grant_type: str, user: Subject, scope: str) -> dict[str, Any]:
        return {"email": user.person.email, "groups": list(user.person.groups)}

    def generate(
        self,
        grant_type: str,
        client: Any,
        user: Any = None,
        scope: str | None = None,
        expires_in: int | None = None,
        include_refresh_token: bool = True,
    ) -> dict[str, Any]:
        """OpenID Connect Core section 11: a refresh token only where `offline_access` was asked for."""
        offline = include_refresh_token and "offline_access" in scope_to_list(scope or "")
        return super().generate(grant_type, client, user, scope, expires_in, offline)


class IdToken(OpenIDCode):
    """The ID token, also with each refresh."""

    def __init__(self, rules: "Rules") -> None:
        super().__init__(require_nonce=False)
        self._rules = rules

    def exists_nonce(self, nonce: str, request: Any) -> bool:
        return any(code.nonce == nonce for code in self._rules.memory.codes.values())

    def resolve_client_private_key(self, client: Any) -> KeySet:
        return self._rules.keys

    def get_client_claims(self, client: Any) -> dict[str, Any]:
        return {"iss": self._rules.issuer, "aud": client.get_client_id(), "exp": int(time.time()) + 300}

    def generate_user_info(self, user: Subject, scope: str) -> dict[str, Any]:
        person = user.person
        claims: dict[str, Any] = {"sub": person.sub, "auth_time": user.auth_time}
        words = scope_to_list(scope)
        if "email" in words:
            claims |= {"email": person.email, "email_verified": True}
        if "profile" in words:
            claims |= {"name": person.name, "preferred_username": person.account}
        return claims
