"""A token that is bound to a key gets nobody in without a fresh proof of that key, for this very request."""

import json
from typing import Any

import anyio
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from acp_stdio.backend import InvalidToken, ProofVerifier
from acp_stdio.backend.mcp_sdk import SdkVerifier
from acp_stdio.backend.proof import InvalidProof, Proof
from acp_stdio.identity.proof import digest_of_body, digest_of_token
from acp_stdio.identity.thumbprint import bare_thumbprint
from tests.unit.backend.issuers import AUDIENCE, NOW, Issuer
from tests.unit.backend.test_backend_middleware import CALL, Answer, Stage, ask

BODY = json.dumps(CALL).encode()


class Client:
    """Holds a key and signs what it is told to, right or wrong."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.jwk: dict[str, Any] = json.loads(ECAlgorithm.to_jwk(self._key.public_key()))
        self.private: dict[str, Any] = json.loads(ECAlgorithm.to_jwk(self._key))
        self.jkt = bare_thumbprint(self.jwk)

    def proof(self, token: str, *, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A proof that is right but for `claims` and `header`; None leaves one out."""
        said = {
            "jti": "p-1", "htm": "POST", "htu": AUDIENCE, "iat": NOW, "ath": digest_of_token(token),
            "content_digest": digest_of_body(BODY),
        } | claims  # fmt: skip
        said = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(
            said, self._key, algorithm="ES256", headers={"typ": "dpop+jwt", "jwk": self.jwk} | (header or {})
        )


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def stage() -> Stage:
    return Stage()


def app(stage: Stage, **options: Any) -> Any:
    return stage.app(proofs=ProofVerifier(clock=lambda: NOW, **options))


def bound(stage: Stage, client: Client) -> str:
    return stage.issuer.token(cnf={"jkt": client.jkt})


def send(app: Any, token: str, *proofs: str, scheme: str = "DPoP", **request: Any) -> Answer:
    headers = [("authorization", f"{scheme} {token}"), *(("dpop", proof) for proof in proofs)]
    return ask(app, headers=headers, **request)


def test_whoever_proves_the_key_gets_in(stage: Stage, client: Client) -> None:
    token = bound(stage, client)
    answer = send(app(stage), token, client.proof(token))
    assert (answer.status, answer.document["user"]) == (200, "u-1001")
    assert "outcome=ok" in stage.lines[-1]


@pytest.mark.parametrize(
    ("path", "htu"),
    [
        ("/mcp", "HTTPS://FINANCE.example.com:443/mcp"),
        ("/mcp", "https://finance.example.com/mcp?tenant=7#top"),
        ("/messages/ä b", "https://finance.example.com/messages/%C3%A4%20b"),
        ("/", "https://finance.example.com"),
    ],
)
def test_the_same_place_may_be_spelled_otherwise(stage: Stage, client: Client, path: str, htu: str) -> None:
    token = bound(stage, client)
    assert send(app(stage), token, client.proof(token, htu=htu), path=path).status == 200


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_streams_and_goodbyes_are_proved_too(stage: Stage, client: Client, method: str) -> None:
    token, server = bound(stage, client), app(stage)
    assert send(server, token, client.proof(token, htm=method, content_digest=None), method=method).status == 200
    assert send(server, token, client.proof(token, jti="p-2"), method=method).status == 401


@pytest.mark.parametrize(
    "claims",
    [
        {"htm": "GET"},
        {"htm": None},
        {"htu": "https://finance.example.com/other"},
        {"htu": "https://evil.example/mcp"},
        {"htu": "http://finance.example.com/mcp"},
        {"htu": "https://finance.example.com:99999/mcp"},
        {"htu": None},
        {"iat": NOW - 301},
        {"iat": NOW + 301},
        {"iat": None},
        {"iat": "now"},
        {"iat": float("nan")},
        {"jti": ""},
        {"jti": None},
        {"ath": digest_of_token("another")},
        {"ath": None},
        {"content_digest": digest_of_body(b"{}")},
        {"header": {"typ": "JWT"}},
        {"header": {"jwk": None}},
        {"header": {"jwk": {"kty": "oct", "k": "AAAA"}}},
        {"header": {"jwk": "key"}},
    ],
)
def test_a_proof_for_anything_else_is_refused(stage: Stage, client: Client, claims: dict[str, Any]) -> None:
    token = bound(stage, client)
    answer = send(app(stage), token, client.proof(token, **claims))
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith('DPoP error="invalid_dpop_proof", algs="ES256", resource_meta')
    assert "outcome=denied" in stage.lines[-1]


@pytest.mark.parametrize("proof", ["", "x", "a.b.c", "e30." * 4000])
def test_so_is_what_is_no_proof(stage: Stage, client: Client, proof: str) -> None:
    assert send(app(stage), bound(stage, client), proof).status == 401


def test_a_proof_is_good_once_and_two_are_too_many(stage: Stage, client: Client) -> None:
    token, server = bound(stage, client), app(stage)
    assert send(server, token, client.proof(token)).status == 200
    assert send(server, token, client.proof(token)).status == 401
    assert send(server, token, client.proof(token, jti="p-2"), client.proof(token, jti="p-3")).status == 400
    assert send(server, token, client.proof(token, jti="p-3")).status == 200


def test_a_key_that_comes_with_its_private_half_proves_nothing(stage: Stage, client: Client) -> None:
    token = bound(stage, client)
    assert send(app(stage), token, client.proof(token, header={"jwk": client.private})).status == 401


def test_a_stolen_token_is_of_no_use(stage: Stage, client: Client) -> None:
    token, thief, server = bound(stage, client), Client(), app(stage)
    for answer in (
        send(server, token, scheme="Bearer"),
        send(server, token, client.proof(token), scheme="Bearer"),
        send(server, token),
        send(server, token, thief.proof(token)),
        send(server, token, thief.proof(token, header={"jwk": client.jwk})),
    ):
        assert answer.status == 401


def test_a_bearer_token_is_not_taken_with_somebodys_proof(stage: Stage, client: Client) -> None:
    token = stage.issuer.token()
    assert send(app(stage), token, client.proof(token)).status == 401
    assert send(app(stage), token, scheme="Bearer").status == 200


def test_proofs_without_a_good_token_take_no_place_and_a_full_memory_lets_nobody_in(
    stage: Stage, client: Client
) -> None:
    server = app(stage, remembered=2)
    forged = stage.issuer.token(aud="somebody-else", cnf={"jkt": client.jkt})
    for number in range(5):
        assert send(server, forged, client.proof(forged, jti=f"x-{number}")).status == 401
    token = bound(stage, client)
    answers = [send(server, token, client.proof(token, jti=f"p-{number}")).status for number in range(3)]
    assert answers == [200, 200, 503]


def test_what_is_remembered_of_a_proof_is_small_however_long_its_name_is(client: Client) -> None:
    token, verifier = Issuer().token(cnf={"jkt": client.jkt}), ProofVerifier(clock=lambda: NOW)

    def proof(jti: str) -> Proof:
        made, place = client.proof(token, jti=jti), {"origin": "https://finance.example.com", "path": "/mcp"}
        return verifier.verify(made, method="POST", token=token, **place)

    long = "j" * 4000
    verifier.take(proof(f"{long}1"))
    verifier.take(proof(f"{long}2"))
    with pytest.raises(InvalidProof, match="seen before"):
        verifier.take(proof(f"{long}1"))
    assert len(proof(long).name) == 32


def test_the_verifier_alone_refuses_a_bound_token_also_when_it_knows_it(client: Client) -> None:
    issuer = Issuer()
    verifier, token = issuer.verifier(), issuer.token(cnf={"jkt": client.jkt})
    assert verifier.verify(token, key=client.jkt).user == "u-1001"
    for key in ("", "another"):
        with pytest.raises(InvalidToken):
            verifier.verify(token, key=key)


@pytest.mark.parametrize("cnf", [{"x5t#S256": "a-certificate"}, {"jkt": ["a list"]}, {}, "text"])
def test_a_token_that_is_bound_to_what_nobody_can_check_is_no_bearer_token(
    stage: Stage, client: Client, cnf: Any
) -> None:
    token = stage.issuer.token(cnf=cnf)
    assert send(app(stage), token, scheme="Bearer").status == 401
    assert send(app(stage), token, client.proof(token)).status == 401


def test_the_mcp_sdk_reads_bearer_tokens_only_so_its_adapter_refuses_bound_ones(client: Client) -> None:
    issuer = Issuer()
    adapter = SdkVerifier(issuer.verifier())
    assert anyio.run(adapter.verify_token, issuer.token()) is not None
    assert anyio.run(adapter.verify_token, issuer.token(cnf={"jkt": client.jkt})) is None
