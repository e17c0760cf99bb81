"""Make-believe issuers that sign for real; what they publish is counted as it is fetched."""

import functools
import json
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from acp_stdio.backend import TokenVerifier

ISSUER = "https://login.example.com"
AUDIENCE = "https://finance.example.com/mcp"
NOW = 1_800_000_000.0


@functools.cache
def private_key(kid: str) -> Any:
    if kid.startswith("ec"):
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_jwk(kid: str) -> dict[str, Any]:
    algorithm: Any = ECAlgorithm if kid.startswith("ec") else RSAAlgorithm
    return {**json.loads(algorithm.to_jwk(private_key(kid).public_key())), "kid": kid, "use": "sig"}


@dataclass
class Issuer:
    """Its metadata and keys, and how often they were asked for."""

    name: str = ISSUER
    kids: list[str] = field(default_factory=lambda: ["rsa1"])
    down: bool = False
    asked: list[str] = field(default_factory=list[str])

    def fetch(self, url: str) -> dict[str, Any] | None:
        self.asked.append(url)
        if self.down:
            raise OSError("no route to host")
        if url == f"{self.name}/jwks":
            return {"keys": [public_jwk(kid) for kid in self.kids]}
        if url.endswith("/.well-known/openid-configuration"):
            return {"issuer": self.name, "jwks_uri": f"{self.name}/jwks"}
        return None

    @property
    def key_fetches(self) -> int:
        return self.asked.count(f"{self.name}/jwks")

    def verifier(self, **options: Any) -> TokenVerifier:
        given: dict[str, Any] = {"audience": AUDIENCE, "fetch": self.fetch, "clock": lambda: NOW}
        return TokenVerifier(self.name, **(given | options))

    def token(self, kid: str = "rsa1", header_typ: str = "at+jwt", **claims: Any) -> str:
        """A token that is right but for `claims`; None leaves one out."""
        body = {
            "iss": self.name, "sub": "u-1001", "aud": AUDIENCE, "iat": NOW - 5, "exp": NOW + 300,
            "client_id": "acp-stdio", "scope": "finance.read", "email": "sarah@acme.example", "jti": "t1",
        } | claims  # fmt: skip
        return jwt.encode(
            {name: value for name, value in body.items() if value is not None},
            private_key(kid),
            algorithm="ES256" if kid.startswith("ec") else "RS256",
            headers={"kid": kid} | ({"typ": header_typ} if header_typ else {}),
        )
