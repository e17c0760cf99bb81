"""Below every transport a request with a bound token gets its proof; one with a bearer token stays as it was."""

import json
from typing import Any

import jwt
import pytest

from acp_stdio.errors import Failure
from acp_stdio.identity.model import AccessToken
from acp_stdio.identity.proof import digest_of_body, digest_of_token
from acp_stdio.login.possession import proof_key
from acp_stdio.oauth.metadata import AuthorizationServer
from acp_stdio.secrets import Secret
from acp_stdio.settings.model import IdentitySettings
from acp_stdio.upstream.attach import AuthorizedConnector, ChildAttacher
from acp_stdio.upstream.http import Exchange, Receiver
from acp_stdio.upstream.possession import ProvingConnector

ORIGIN = "https://finance.example.com:443"
SERVER = AuthorizationServer("https://i", "https://i/a", "https://i/t")


class Wire:
    """The lowest connector: what is sent, and the pen to answer it with."""

    sent = True

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], bytes, Receiver]] = []

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
        lines = header_block.decode("ascii").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines if line)
        assert len(headers) == len(lines) - 1, "no header comes twice"
        self.requests.append((method, target, headers, body, receiver))
        return self

    def claims(self, number: int = -1) -> dict[str, Any]:
        """Of that request's proof, its signature checked."""
        proof = self.requests[number][2]["DPoP"]
        return jwt.decode(proof, jwt.PyJWK(jwt.get_unverified_header(proof)["jwk"]), algorithms=["ES256"])

    def abort(self) -> None: ...

    def hold(self, held: bool) -> None: ...

    async def aclose(self) -> None: ...


class Heard:
    """A receiver."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_head(self, status: int, headers: dict[str, str]) -> None:
        self.seen.append(status)

    def on_data(self, data: bytes) -> None:
        self.seen.append(data)

    def on_end(self) -> None:
        self.seen.append("end")

    def on_failed(self, sent: bool, why: str) -> None:
        self.seen.append(why)


def token(value: str = "at-1", *, bound: bool = True) -> AccessToken:
    key = proof_key(IdentitySettings("", "", dpop="require"), SERVER) if bound else None
    kind = "DPoP" if bound else "Bearer"
    return AccessToken(Secret(value), "finance", ORIGIN, 1, 0.0, 1e12, token_type=kind, proof_key=key)


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def attached(wire: Wire) -> AuthorizedConnector:
    proving = ProvingConnector(wire, ORIGIN)
    return AuthorizedConnector(proving, ORIGIN, "finance", proving)


def test_a_bound_token_goes_with_a_proof_for_this_request(attached: AuthorizedConnector, wire: Wire) -> None:
    attached.request(token(), "POST", "/mcp?tenant=7", b"X-Request-Id: 1\r\n", b'{"id":1}', Heard())
    method, target, headers, body, _ = wire.requests[0]
    assert (method, target, body) == ("POST", "/mcp?tenant=7", b'{"id":1}')
    assert headers["Authorization"] == "DPoP at-1"
    claims = wire.claims()
    assert claims["htu"] == "https://finance.example.com/mcp", "as the server is called: no port, no query"
    assert (claims["htm"], claims["ath"]) == ("POST", digest_of_token("at-1"))
    assert claims["content_digest"] == digest_of_body(b'{"id":1}')


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_so_do_the_stream_and_the_goodbye(attached: AuthorizedConnector, wire: Wire, method: str) -> None:
    attached.request(token(), method, "/mcp", b"", b"", Heard())
    assert wire.claims()["htm"] == method
    assert "content_digest" not in wire.claims()


def test_a_bearer_token_goes_alone_and_its_answer_straight_back(attached: AuthorizedConnector, wire: Wire) -> None:
    receiver = Heard()
    attached.request(token(bound=False), "POST", "/mcp", b"", b"{}", receiver)
    assert wire.requests[0][2] == {"Authorization": "Bearer at-1"}
    assert wire.requests[0][4] is receiver


def test_the_newest_nonce_goes_into_the_next_proof(attached: AuthorizedConnector, wire: Wire) -> None:
    bound, receiver = token(), Heard()
    for nonce in ("n-1", "n-2"):
        attached.request(bound, "POST", "/mcp", b"", b"{}", receiver)
        wire.requests[-1][4].on_head(200, {"dpop-nonce": nonce})
        wire.requests[-1][4].on_data(b"x")
        wire.requests[-1][4].on_end()
    attached.request(bound, "POST", "/mcp", b"", b"{}", receiver)
    wire.requests[-1][4].on_failed(True, "gone")
    assert [wire.claims(number).get("nonce") for number in range(3)] == [None, "n-1", "n-2"]
    assert len({wire.claims(number)["jti"] for number in range(3)}) == 3
    assert receiver.seen == [200, b"x", "end", 200, b"x", "end", "gone"]


def test_what_waited_for_its_place_is_proved_with_the_key_of_its_own_token(wire: Wire) -> None:
    """HTTP+SSE sends what came early once it knows where to; by then another token may be at hand."""
    proving = ProvingConnector(wire, ORIGIN)
    attached = AuthorizedConnector(proving, ORIGIN, "finance", proving)
    attached.request(token("at-1"), "POST", "/sse", b"", b"{}", Heard())
    attached.request(token("at-2"), "POST", "/sse", b"", b"{}", Heard())
    proving.request("POST", "/messages?x=1", b"Authorization: DPoP at-1\r\n", b"{}", Heard(), head_timeout=None)
    assert wire.claims()["ath"] == digest_of_token("at-1")
    assert wire.claims()["htu"] == "https://finance.example.com/messages"
    assert wire.claims(0)["htm"] == wire.claims()["htm"]
    first, last = (jwt.get_unverified_header(wire.requests[n][2]["DPoP"])["jwk"] for n in (0, 2))
    assert first == last


def test_without_the_key_nothing_is_sent(wire: Wire) -> None:
    bare = AuthorizedConnector(wire, ORIGIN, "finance")
    child = ChildAttacher(wire, ORIGIN, "finance", "example.com/token")
    for attacher in (bare, child):
        with pytest.raises(Failure) as caught:
            attacher.request(token(), "POST", "/mcp", b"", json.dumps({"id": 1, "method": "x"}).encode(), Heard())
        assert caught.value.reason == "wrong_audience"
    assert wire.requests == []
