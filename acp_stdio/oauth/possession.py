"""Shows an authorization server that we hold the key of a sign-in (DPoP, RFC 9449 sections 5 and 8)."""

import os
import time

from acp_stdio.identity.proof import HEADER, ProofKey
from acp_stdio.oauth.http import Answer
from acp_stdio.secrets import Secret

NONCE = "dpop-nonce"


class Prover:
    """One key at one server; remembers the newest nonce that the server gave."""

    def __init__(self, key: Secret) -> None:
        """`key`: as it is stored. Raises `Failure(keyring_locked)` where it is damaged."""
        self._key = ProofKey(key)
        self._nonce = ""

    @property
    def thumbprint(self) -> str:
        """The key's name, for `dpop_jkt` (section 10) and to compare a token's `cnf` with."""
        return self._key.thumbprint

    def headers(self, method: str, url: str) -> dict[str, str]:
        """The proof for one request."""
        proof = self._key.proof(method, url, now=time.time(), jti=os.urandom(16).hex(), nonce=self._nonce)
        return {HEADER: proof}

    def wants_another(self, answer: Answer) -> bool:
        """Whether the server refused the proof for want of the nonce that it gives with this answer; takes it up."""
        return self.take_nonce(answer) and (answer.json_object() or {}).get("error") == "use_dpop_nonce"

    def take_nonce(self, answer: Answer) -> bool:
        """Keeps the nonce for the next proof, which any answer may bring (section 8.2); whether this one does."""
        nonce = answer.headers.get(NONCE, "")
        if nonce:
            self._nonce = nonce
        return bool(nonce)
