"""Tokens that no server may let in, made of a proper one: what an attacker who has seen one would try."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import get_default_algorithms

from acp_stdio.secrets import Secret

_CURVES: Final = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
STRANGERS_KEY: Final = "acp-stdio-check"
"""The `kid` of keys that are not the issuer's."""
_SIGNATURE: Final = "Verify each token's signature with the issuer's published keys, and allow its algorithms only."


@dataclass(frozen=True, slots=True)
class Forgery:
    """A token that must be refused, and what a server gets wrong that lets it in."""

    name: str
    token: Secret
    meaning: str
    advice: str = _SIGNATURE


@dataclass(frozen=True, slots=True)
class Stranger:
    """An issuer of our own, which no server has reason to trust."""

    issuer: str
    algorithm: str
    key: Any
    """Private, made for this check alone."""

    def jwk(self) -> dict[str, Any]:
        """The public half (RFC 7517)."""
        public: Any = json.loads(cast("Any", get_default_algorithms()[self.algorithm]).to_jwk(self.key.public_key()))
        return {**public, "kid": STRANGERS_KEY, "use": "sig", "alg": self.algorithm}


def algorithm_of(token: Secret) -> str:
    """The algorithm of a JWT that is signed with a key pair; nothing for any other token."""
    try:
        algorithm = jwt.get_unverified_header(token.reveal()).get("alg")
    except jwt.PyJWTError:
        return ""
    return algorithm if isinstance(algorithm, str) and algorithm[:2] in ("RS", "PS", "ES", "Ed") else ""


def new_key(algorithm: str) -> Any:
    """A key pair for this algorithm."""
    if algorithm in _CURVES:
        return ec.generate_private_key(_CURVES[algorithm]())
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def not_a_token() -> Forgery:
    """For servers that look only whether something is there."""
    return Forgery("a made-up token", Secret("acp-stdio-check-not-a-token"), "anybody who sends anything is let in")


def forgeries(token: Secret, keys: jwt.PyJWKSet | None, stranger: Stranger) -> Iterator[Forgery]:
    """All that can be made of a proper JWT. `keys`: the issuer's, which everybody can read."""
    text = token.reveal()
    header = jwt.get_unverified_header(text)
    claims: dict[str, Any] = jwt.decode(text, options={"verify_signature": False})
    _, body, signature = text.split(".")
    algorithm = stranger.algorithm
    yield Forgery(
        "forged: not signed (alg none)",
        Secret(f"{_part(header | {'alg': 'none'})}.{body}."),
        "anybody can write a token in anybody's name",
    )
    yield Forgery(
        "forged: signed with another key",
        Secret(jwt.encode(claims, stranger.key, algorithm=algorithm, headers=header)),
        "the signature is not checked",
    )
    yield Forgery(
        "forged: claims changed, old signature",
        Secret(f"{text.split('.')[0]}.{_part(claims | {'sub': 'acp-stdio-check'})}.{signature}"),
        "the signature is not checked: whoever has one token can be anybody",
    )
    if keys is not None and (password := _public_pem(keys, header)):
        signed = f"{_part(header | {'alg': 'HS256'})}.{body}"
        mac = hmac.new(password, signed.encode(), hashlib.sha256).digest()
        yield Forgery(
            "forged: the public key used as a password",
            Secret(f"{signed}.{_base64(mac)}"),
            "the token itself chooses the algorithm (RFC 8725 section 2.1)",
        )
    own = header | {"kid": STRANGERS_KEY, "jwk": stranger.jwk(), "jku": f"{stranger.issuer}/jwks"}
    yield Forgery(
        "forged: brings its own key",
        Secret(jwt.encode(claims, stranger.key, algorithm=algorithm, headers=own)),
        "the key is taken from the token itself (RFC 8725 section 3.10)",
    )
    elsewhere = claims | {"iss": stranger.issuer}
    yield Forgery(
        "another issuer's token",
        Secret(jwt.encode(elsewhere, stranger.key, algorithm=algorithm, headers={**header, "kid": STRANGERS_KEY})),
        "tokens of any issuer are taken",
        "Compare `iss` with the one issuer that you trust before looking for its keys.",
    )


def _public_pem(keys: jwt.PyJWKSet, header: dict[str, Any]) -> bytes:
    """What a library that is told HS256 would take for the password: the key as text."""
    found = next((key for key in keys.keys if header.get("kid") in (None, key.key_id)), None)
    if found is None or found.key_type not in ("RSA", "EC"):
        return b""
    return found.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _part(document: dict[str, Any]) -> str:
    return _base64(json.dumps(document, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
