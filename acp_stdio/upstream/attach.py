"""Where the token is attached. The only file that writes an `Authorization` header.

1. The request can go to one origin only: the connector has no other.
2. The token was proven for that origin (issuer, audience, person, expiry) by the refresh that
   brought it; here its origin is compared once more.
3. The header is written, into bytes that go to the socket and nowhere else.
4. A redirect is an answer like another: it is not followed.
"""

from acp_stdio.errors import Failure
from acp_stdio.identity.model import AccessToken
from acp_stdio.upstream.http import Connector, Exchange, Receiver


def header_of(token: AccessToken) -> str:
    """As a JSON object, for a program that sends the token itself (`acp-stdio token --headers`)."""
    import json

    return json.dumps({"Authorization": f"{token.token_type} {token.value.reveal()}"})


class AuthorizedConnector:
    """A connector to one origin that adds the person's token."""

    def __init__(self, connector: Connector, origin: str, upstream: str) -> None:
        """`origin`: scheme://host:port of what `connector` reaches."""
        self._connector = connector
        self._origin = origin
        self._upstream = upstream
        self._token: AccessToken | None = None
        self._authorization = b""

    def request(
        self,
        token: AccessToken,
        method: str,
        target: str,
        header_block: bytes,
        body: bytes,
        receiver: Receiver,
    ) -> Exchange:
        """Sends one request as the token's person.

        Raises `Failure("wrong_audience")`, with nothing sent, for a token of another origin or upstream.
        """
        if token.origin != self._origin or token.upstream != self._upstream:
            raise Failure("wrong_audience", f"The token at hand is not for {self._upstream}.", "Run `acp-stdio login`.")
        if token is not self._token:
            self._token = token
            self._authorization = f"Authorization: {token.token_type} {token.value.reveal()}\r\n".encode("ascii")
        return self._connector.request(
            method,
            target,
            self._authorization + header_block,
            body,
            receiver,
            head_timeout=None,  # the relay has each call's deadline
        )

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._connector.aclose()
