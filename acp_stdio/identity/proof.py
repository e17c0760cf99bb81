"""A DPoP proof: that whoever sends a request holds the key that its token is bound to (RFC 9449 section 4). Pure."""

import base64
import hashlib
import json
from typing import Final

import jwt
from jwt.api_jws import PyJWS

from acp_stdio.errors import Failure
from acp_stdio.identity.thumbprint import bare_thumbprint
from acp_stdio.secrets import Secret

HEADER: Final = "DPoP"
KIND: Final = "dpop+jwt"
"""The proof's `typ`."""
ALGORITHM: Final = "ES256"


class ProofKey:
    """The EC key of one sign-in. It signs; nothing shows its private half."""

    __slots__ = ("_header", "_private", "thumbprint")

    def __init__(self, stored: Secret) -> None:
        """`stored`: a private P-256 key as a JWK. Raises `Failure(keyring_locked)` where it is none."""
        try:
            jwk = json.loads(stored.reveal())
            public = {name: str(jwk[name]) for name in ("kty", "crv", "x", "y")}
            self._private = jwt.PyJWK({**public, "d": jwk["d"]}, algorithm=ALGORITHM).key
        except (ValueError, KeyError, TypeError, jwt.PyJWTError):
            raise Failure(
                "keyring_locked", "The key of your stored sign-in is damaged.", "Run `acp-stdio login --force`."
            ) from None
        self._header = {"typ": KIND, "jwk": public}
        self.thumbprint: Final = bare_thumbprint(public)
        """What `cnf.jkt` of a token says that is bound to this key."""

    def __repr__(self) -> str:
        return f"ProofKey({self.thumbprint})"

    def proof(
        self,
        method: str,
        url: str,
        *,
        now: float,
        jti: str,
        token_digest: str = "",
        nonce: str = "",
        body_digest: str = "",
    ) -> str:
        """The proof for one request, and for no other: `jti` is new each time, `now` in epoch seconds.

        `token_digest`: the access token's that goes along, see `digest_of_token`. `body_digest`: the body's, see
        `digest_of_body`. `nonce`: what the server gave us for this (sections 8 and 9).
        """
        claims: dict[str, str | int] = {
            "jti": jti,
            "htm": method,
            "htu": url.partition("#")[0].partition("?")[0],
            "iat": int(now),
        }
        optional = {"ath": token_digest, "nonce": nonce, "content_digest": body_digest}
        claims |= {name: value for name, value in optional.items() if value}
        payload = json.dumps(claims, separators=(",", ":")).encode()
        return PyJWS().encode(payload, self._private, algorithm=ALGORITHM, headers=self._header)


def digest_of_token(token: str) -> str:
    """`ath` (RFC 9449 section 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(token.encode("ascii")).digest()).rstrip(b"=").decode()


def digest_of_body(body: bytes) -> str:
    """`content_digest` of MCP's DPoP profile (SEP-1932, a draft; RFC 9530): the proof is good for this body alone."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"
