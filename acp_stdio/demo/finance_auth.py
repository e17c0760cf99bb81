"""The two ways in which the finance server learns who calls: one key for all, or everybody's own token."""

import hmac
from typing import Any, Final

import anyio.to_thread
import jwt
from mcp.server.auth.provider import AccessToken

SERVICE_ACCOUNT: Final = "service-account-mcp-gateway"
ALGORITHMS: Final = ["RS256", "ES256"]


class SharedKey:
    """The usual way: whoever knows the key is the service account."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    async def verify_token(self, token: str) -> AccessToken | None:
        if not hmac.compare_digest(token.encode(), self._key):
            return None
        return AccessToken(token=token, client_id=SERVICE_ACCOUNT, scopes=[], subject=SERVICE_ACCOUNT)


class PersonalToken:
    """The other way: a JWT access token (RFC 9068) of this issuer, for this server."""

    def __init__(self, issuer: str, audience: str) -> None:
        self._issuer = issuer
        self._audience = audience
        self._keys = jwt.PyJWKClient(f"{issuer}/jwks", timeout=10)

    async def verify_token(self, token: str) -> AccessToken | None:
        try:
            key = await anyio.to_thread.run_sync(self._keys.get_signing_key_from_jwt, token)
            claims = self._claims(token, key)
        except jwt.PyJWTError:
            return None  # the SDK answers 401; why a token was refused is not the caller's business
        return AccessToken(
            token=token,
            client_id=claims["client_id"],
            scopes=str(claims.get("scope", "")).split(),
            expires_at=claims["exp"],
            resource=self._audience,
            subject=claims["sub"],
            claims=claims,
        )

    def _claims(self, token: str, key: jwt.PyJWK) -> dict[str, Any]:
        verified = jwt.decode_complete(
            token,
            key,
            algorithms=ALGORITHMS,
            issuer=self._issuer,
            audience=self._audience,
            options={"require": ["iss", "aud", "exp", "iat", "sub", "client_id"]},
        )
        if verified["header"].get("typ", "").lower().removeprefix("application/") != "at+jwt":
            raise jwt.InvalidTokenError("not an access token")  # RFC 9068 section 4: an ID token is none
        return verified["payload"]
