"""Where the token is attached. The only file that writes an `Authorization` header, or a token into a message.

1. The request can go to one origin only: the connector has no other.
2. The token was proven for that origin (issuer, audience, person, expiry) by the refresh that
   brought it; here its origin is compared once more.
3. The header is written, into bytes that go to the socket and nowhere else. A token that is bound to a key goes with
   a proof, which `upstream.possession` adds last.
4. A redirect is an answer like another: it is not followed.

A child server gets none, unless the configuration names the `_meta` key under which its requests carry one; then
the same holds, and its stdin is the only place that they can go to.
"""

from typing import Protocol

from msgspec import Raw

from acp_stdio.errors import Failure
from acp_stdio.identity.binding import BOUND
from acp_stdio.identity.model import AccessToken
from acp_stdio.upstream.http import Connector, Exchange, Receiver
from acp_stdio.upstream.possession import ProvingConnector
from acp_stdio.wire import frames
from acp_stdio.wire.members import encoded, joined, members


class Attacher(Protocol):
    """Sends requests as a person, in the way of one upstream."""

    def request(
        self,
        token: AccessToken,
        method: str,
        target: str,
        header_block: bytes,
        body: bytes,
        receiver: Receiver,
    ) -> Exchange:
        """Sends one request. Raises `Failure("wrong_audience")`, with nothing sent, for another's token."""
        ...

    def hold(self, held: bool) -> None:
        """See `upstream.http.Connector`."""
        ...

    async def aclose(self) -> None:
        """Ends whatever is open."""
        ...


def header_of(token: AccessToken) -> str:
    """As a JSON object, for a program that sends the token itself (`acp-stdio token --headers`): a bearer's."""
    import json

    return json.dumps({"Authorization": f"{token.token_type} {token.value.reveal()}"})


class AuthorizedConnector:
    """A connector to one origin that adds the person's token."""

    def __init__(
        self, connector: Connector, origin: str, upstream: str, proving: ProvingConnector | None = None
    ) -> None:
        """`origin`: scheme://host:port of what `connector` reaches. `proving`: what it reaches that with; without it
        no token is sent that needs a proof."""
        self._connector = connector
        self._origin = origin
        self._proving = proving
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
        _compare(token, self._origin, self._upstream)
        if token is not self._token:
            line = f"Authorization: {token.token_type} {token.value.reveal()}\r\n".encode("ascii")
            if token.token_type == BOUND:
                self._with_proofs(token, line)
            self._token, self._authorization = token, line
        return self._connector.request(
            method,
            target,
            self._authorization + header_block,
            body,
            receiver,
            head_timeout=None,  # the relay has each call's deadline
        )

    def _with_proofs(self, token: AccessToken, line: bytes) -> None:
        if self._proving is None or token.proof_key is None:
            raise Failure(
                "wrong_audience",
                f"The token for {self._upstream} is bound to a key that is not at hand.",
                "Run `acp-stdio login --force`.",
            )
        self._proving.take_up(token, line)

    def hold(self, held: bool) -> None:
        """See `upstream.http.Connector`."""
        self._connector.hold(held)

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._connector.aclose()


class ChildAttacher:
    """A connector to a child of ours that puts the token into each request's `_meta`, where that is configured."""

    def __init__(self, connector: Connector, origin: str, upstream: str, meta_key: str) -> None:
        """`meta_key`: empty where the child gets no token."""
        self._connector = connector
        self._origin = origin
        self._upstream = upstream
        self._meta_key = meta_key

    def request(
        self,
        token: AccessToken,
        method: str,
        target: str,
        header_block: bytes,
        body: bytes,
        receiver: Receiver,
    ) -> Exchange:
        """See `Attacher`."""
        if self._meta_key:
            _compare(token, self._origin, self._upstream)
            if token.token_type == BOUND:  # the settings refuse it; a helper may have read newer ones than we
                why = f"The token for {self._upstream} is bound to a key, with which a child could prove nothing."
                raise Failure("wrong_audience", why, 'Set dpop = "off" under [identity], then sign in again.')
            if method == "POST" and frames.parse(body).is_request:
                body = _with_meta(body, self._meta_key, encoded(token.value.reveal()))
        return self._connector.request(method, target, header_block, body, receiver, head_timeout=None)

    def hold(self, held: bool) -> None:
        """See `upstream.http.Connector`."""
        self._connector.hold(held)

    async def aclose(self) -> None:
        """Ends the child."""
        await self._connector.aclose()


def _compare(token: AccessToken, origin: str, upstream: str) -> None:
    if token.origin != origin or token.upstream != upstream:
        raise Failure("wrong_audience", f"The token at hand is not for {upstream}.", "Run `acp-stdio login`.")


def _with_meta(body: bytes, key: str, value: Raw) -> bytes:
    """The request with this member in its `_meta`; a host's own of that name does not get through."""
    frame = members(body)
    params = members(frame.get("params"))
    meta = {**members(params.get("_meta")), key: value}
    return joined({**frame, "params": Raw(joined({**params, "_meta": Raw(joined(meta))}))})
