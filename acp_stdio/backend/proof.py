"""Checks that whoever sends a bound token holds its key (DPoP, RFC 9449 section 4.3)."""

import hashlib
import hmac
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import unquote, urlsplit

import jwt

from acp_stdio.backend.refusals import KeysUnavailable, Refused
from acp_stdio.identity.proof import ALGORITHM, KIND, digest_of_body, digest_of_token
from acp_stdio.identity.signed import NotProven, media_type, shown, text
from acp_stdio.identity.thumbprint import bare_thumbprint

MAX_PROOF: Final = 8 * 1024
ALGORITHMS: Final = (ALGORITHM,)
"""What proofs may be signed with; the metadata says so (RFC 9728, `dpop_signing_alg_values_supported`)."""


class InvalidProof(Refused):
    """Missing, forged, stale, used twice, or for another request: 401 `invalid_dpop_proof` (section 7.1)."""


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof that holds for a request's method, address and token."""

    thumbprint: str
    """Of the key: what the token's `cnf.jkt` must be."""
    name: bytes = b""
    """A digest of its key and `jti`, which may be long (section 11.1)."""
    until: float = 0.0
    """Epoch seconds after which it is too old."""
    body_digest: str = ""
    """`content_digest` of MCP's profile (SEP-1932); empty where the client says nothing of the body."""

    def check_body(self, body: bytes) -> None:
        """Raises `InvalidProof` where it is about another body."""
        if self.body_digest and not hmac.compare_digest(self.body_digest, digest_of_body(body)):
            raise InvalidProof("the proof was not taken: it is for another body")


NO_PROOF: Final = Proof("")
"""What comes with a bearer token."""


class ProofVerifier:
    """Verifies proofs. Keep it: it remembers which it has seen. Safe in threads."""

    def __init__(
        self, *, leeway: float = 300.0, remembered: int = 100_000, clock: Callable[[], float] = time.time
    ) -> None:
        """`leeway`: seconds by which a proof's time may differ from ours; five minutes are MCP's profile.

        `remembered`: proofs that are kept for as long as they are good, so that none is taken twice; above it
        everything is refused with 503. Several processes each remember their own.
        """
        self._leeway = leeway
        self._remembered = remembered
        self._clock = clock
        self._seen: dict[bytes, float] = {}
        self._lock = threading.Lock()

    def verify(self, proof: str, *, method: str, origin: str, path: str, token: str) -> Proof:
        """What it proves of this request, whose token has to be verified still; then `take` it.

        `origin`: scheme://host[:port] as clients know it. `path`: decoded, as ASGI has it. Raises `InvalidProof`.
        """
        try:
            claims, thumbprint = self._signed(proof)
            self._check_request(claims, method, origin, path, token)
        except NotProven as error:
            raise InvalidProof(f"the proof was not taken: {error.why}") from None
        name = hashlib.sha256(f"{thumbprint} {claims['jti']}".encode(errors="surrogatepass")).digest()
        return Proof(thumbprint, name, claims["iat"] + self._leeway, text(claims, "content_digest"))

    def take(self, proof: Proof) -> None:
        """Takes it this once. Only beside a token that was verified: everybody can make proofs for nothing.

        Raises `InvalidProof`, `KeysUnavailable`.
        """
        now, name = self._clock(), proof.name
        with self._lock:
            if len(self._seen) >= self._remembered:
                self._seen = {each: good for each, good in self._seen.items() if good > now}
            if name in self._seen:
                raise InvalidProof("the proof was not taken: it was seen before")
            if len(self._seen) >= self._remembered:
                raise KeysUnavailable("more proofs than can be remembered while they are good")
            self._seen[name] = proof.until

    def _signed(self, proof: str) -> tuple[dict[str, Any], str]:
        if not proof or len(proof) > MAX_PROOF:
            raise NotProven("it is too long" if proof else "there is none")
        try:
            header = jwt.get_unverified_header(proof)
            jwk: object = header.get("jwk")
            if media_type(header) != KIND or header.get("alg") not in ALGORITHMS or not isinstance(jwk, dict):
                raise NotProven(f"it is a {shown(header.get('typ'))} with {shown(header.get('alg'))}")
            public = cast("dict[str, Any]", jwk)
            if "d" in public:
                raise NotProven("it gives its private key away")
            key = jwt.PyJWK(public, algorithm=ALGORITHM)
            options: Any = {"require": ["jti", "iat"], "verify_iat": False, "verify_aud": False, "verify_exp": False}
            return jwt.decode(proof, key, algorithms=list(ALGORITHMS), options=options), bare_thumbprint(public)
        except (jwt.PyJWTError, KeyError, ValueError, TypeError):
            raise NotProven("its signature does not hold") from None

    def _check_request(self, claims: Mapping[str, Any], method: str, origin: str, path: str, token: str) -> None:
        if claims.get("htm") != method:
            raise NotProven(f"it is for {shown(claims.get('htm'))}")
        if not _same_place(text(claims, "htu"), origin, path):
            raise NotProven(f"it is for {shown(claims.get('htu'))}, and this is {shown(origin + path)}")
        if not hmac.compare_digest(text(claims, "ath").encode(), digest_of_token(token).encode()):
            raise NotProven("it is for another token")
        issued: object = claims["iat"]
        if isinstance(issued, bool) or not isinstance(issued, int | float):
            raise NotProven("its iat is no time")
        if not abs(self._clock() - issued) <= self._leeway:
            raise NotProven("it is too old, or from a clock that is ahead")
        if not text(claims, "jti"):
            raise NotProven("its jti is empty")


def _same_place(htu: str, origin: str, path: str) -> bool:
    """Section 4.3, step 9: without query and fragment, after normalization (RFC 3986 section 6.2)."""
    try:
        theirs, ours = urlsplit(htu), urlsplit(origin)
        ports = {"https": 443, "http": 80}
        places = [(each.scheme, each.hostname, each.port or ports.get(each.scheme)) for each in (theirs, ours)]
    except ValueError:
        return False
    return places[0] == places[1] and (unquote(theirs.path) or "/") == (path or "/")
