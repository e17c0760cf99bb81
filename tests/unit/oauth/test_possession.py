"""A token endpoint gets a proof; where it wants a nonce in it, a second one, and nothing was spent by the first."""

import json
from collections.abc import Callable
from typing import Any

import httpx2
import jwt
import pytest

from acp_stdio.errors import Failure
from acp_stdio.login.possession import proof_key
from acp_stdio.oauth import endpoint
from acp_stdio.oauth.endpoint import TokenError
from acp_stdio.oauth.metadata import AuthorizationServer
from acp_stdio.oauth.possession import Prover
from acp_stdio.secrets import Secret
from acp_stdio.settings.model import Dpop, IdentitySettings

SERVER = AuthorizationServer("https://idp.example", "https://idp.example/a", "https://idp.example/t?tenant=1")
GOOD = {"access_token": "at", "token_type": "dpop", "expires_in": 60, "refresh_token": "rt-1"}
Play = Callable[[dict[str, Any]], httpx2.Response]


def proofs() -> Prover:
    key = proof_key(IdentitySettings("", "", dpop="require"), SERVER)
    assert key is not None
    return Prover(key)


class Idp:
    """Answers by script; notes each proof's claims."""

    def __init__(self, *script: Play | Exception) -> None:
        self._script = list(script)
        self.seen: list[dict[str, Any]] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        proof = request.headers["DPoP"]
        key = jwt.PyJWK(jwt.get_unverified_header(proof)["jwk"])
        self.seen.append(jwt.decode(proof, key, algorithms=["ES256"]))
        play = self._script.pop(0)
        if isinstance(play, Exception):
            raise play
        return play(self.seen[-1])


def refresh(idp: Idp, prover: Prover) -> endpoint.TokenResponse:
    with httpx2.Client(transport=httpx2.MockTransport(idp)) as http:
        return endpoint.refresh(
            SERVER, http, client_id="acp-stdio", refresh_token=Secret("rt-0"), params={}, prover=prover
        )


def good(_: dict[str, Any]) -> httpx2.Response:
    return httpx2.Response(200, json=GOOD, headers={"DPoP-Nonce": "for-later"})


def refuses(error: str) -> Play:
    return lambda _: httpx2.Response(400, json={"error": error}, headers={"DPoP-Nonce": "for-later"})


def wants(nonce: str) -> Play:
    body = json.dumps({"error": "use_dpop_nonce", "error_description": "…"})
    return lambda _: httpx2.Response(400, content=body, headers={"DPoP-Nonce": nonce} if nonce else {})


def test_a_nonce_is_taken_up_and_the_newest_one_is_kept() -> None:
    idp, prover = Idp(wants("n-1"), good, good), proofs()
    assert refresh(idp, prover).token_type == "DPoP"
    refresh(idp, prover)
    assert [seen.get("nonce") for seen in idp.seen] == [None, "n-1", "for-later"]
    assert len({seen["jti"] for seen in idp.seen}) == 3, "no proof comes twice"
    assert {(seen["htm"], seen["htu"]) for seen in idp.seen} == {("POST", "https://idp.example/t")}


@pytest.mark.parametrize(
    ("script", "kind", "asked"),
    [
        ((wants("n-1"), wants("n-2")), "transient", 2),
        ((wants(""),), "transient", 1),
        ((wants("n-1"), httpx2.ConnectError("gone")), "unsent", 2),
        ((wants("n-1"), httpx2.ReadError("gone")), "answer_lost", 2),
        ((httpx2.ReadError("gone"),), "answer_lost", 1),
        ((refuses("invalid_grant"),), "invalid_grant", 1),
        ((refuses("invalid_dpop_proof"),), "misconfigured", 1),
    ],
)
def test_what_that_means_for_the_refresh_token(script: tuple[Play | Exception, ...], kind: str, asked: int) -> None:
    idp = Idp(*script)
    with pytest.raises(TokenError) as caught:
        refresh(idp, proofs())
    assert (caught.value.kind, len(idp.seen)) == (kind, asked)


def test_a_clock_that_is_wrong_is_named() -> None:
    with pytest.raises(TokenError) as caught:
        refresh(Idp(refuses("invalid_dpop_proof")), proofs())
    assert "date and time" in caught.value.failure().advice


@pytest.mark.parametrize(
    ("dpop", "algorithms", "bound"),
    [
        ("off", ("ES256",), False),
        ("auto", ("RS256", "ES256"), True),
        ("auto", ("RS256",), False),
        ("auto", (), False),
        ("require", ("ES256",), True),
        ("require", (), True),  # it does not say; its answer will
    ],
)
def test_whether_a_sign_in_has_a_key(dpop: Dpop, algorithms: tuple[str, ...], bound: bool) -> None:
    server = AuthorizationServer("https://i", "https://i/a", "https://i/t", dpop_algorithms=algorithms)
    assert (proof_key(IdentitySettings("", "", dpop=dpop), server) is not None) is bound


def test_what_is_required_and_cannot_be_is_said_before_anybody_signs_in() -> None:
    server = AuthorizationServer("https://i", "https://i/a", "https://i/t", dpop_algorithms=("RS256",))
    with pytest.raises(Failure, match="takes no proofs with ES256"):
        proof_key(IdentitySettings("", "", dpop="require"), server)
