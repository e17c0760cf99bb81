"""A DPoP proof says what RFC 9449 wants it to say, is good for one request, and shows nothing of its key."""

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from acp_stdio.errors import Failure
from acp_stdio.identity.proof import ProofKey, digest_of_body, digest_of_token
from acp_stdio.identity.thumbprint import bare_thumbprint
from acp_stdio.login.possession import proof_key
from acp_stdio.oauth.metadata import AuthorizationServer
from acp_stdio.secrets import Secret
from acp_stdio.settings.model import IdentitySettings

SERVER = AuthorizationServer("https://idp.example", "https://idp.example/a", "https://idp.example/t")
RFC_KEY = {
    "kty": "EC",
    "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
    "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
    "crv": "P-256",
}
"""Of RFC 9449, figures 2 and 9; its private half is not in there."""


@pytest.fixture
def stored() -> Secret:
    key = proof_key(IdentitySettings("", "", dpop="require"), SERVER)
    assert key is not None
    return key


def opened(proof: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, after the signature was checked with the key that the proof brings along."""
    header = jwt.get_unverified_header(proof)
    claims = jwt.decode(proof, jwt.PyJWK(header["jwk"]), algorithms=["ES256"], options={"verify_iat": False})
    return header, claims


def test_the_names_of_key_and_token_are_those_of_the_rfcs_examples() -> None:
    assert bare_thumbprint(RFC_KEY) == "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
    assert digest_of_token("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU") == (
        "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"
    )
    assert digest_of_body(b'{"hello": "world"}') == "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"


def test_a_proof_for_the_token_endpoint_has_what_figure_2_has(stored: Secret) -> None:
    proof = ProofKey(stored).proof("POST", "https://server.example.com/token", now=1562262616.9, jti="-BwC3ESc6acc2lTc")
    header, claims = opened(proof)
    public = {name: value for name, value in json.loads(stored.reveal()).items() if name != "d"}
    assert header == {"typ": "dpop+jwt", "alg": "ES256", "jwk": public}
    assert claims == {
        "jti": "-BwC3ESc6acc2lTc",
        "htm": "POST",
        "htu": "https://server.example.com/token",
        "iat": 1562262616,
    }


def test_a_proof_for_a_server_is_for_one_token_one_body_and_its_nonce(stored: Secret) -> None:
    _, claims = opened(
        ProofKey(stored).proof(
            "POST",
            "https://mcp.example.com/mcp?tenant=7#top",
            now=1.0,
            jti="e1j3V_bKic8-LAEB",
            token_digest=digest_of_token("token"),
            nonce="eyJ7S_zG.eyJH0-Z.HX4w-7v",
            body_digest=digest_of_body(b"{}"),
        )
    )
    assert claims["htu"] == "https://mcp.example.com/mcp", "without query and fragment (section 4.2)"
    assert claims["nonce"] == "eyJ7S_zG.eyJH0-Z.HX4w-7v"
    assert claims["ath"] == digest_of_token("token")
    assert claims["content_digest"] == digest_of_body(b"{}")


def test_the_private_half_is_in_nothing_that_can_be_seen(stored: Secret) -> None:
    key, private = ProofKey(stored), json.loads(stored.reveal())["d"]
    proof = key.proof("GET", "https://mcp.example.com/mcp", now=1.0, jti="1")
    seen = [repr(key), str(key), repr(stored), *(part + "==" for part in proof.split(".")[:2])]
    readable = [base64.urlsafe_b64decode(each).decode() if each.endswith("==") else each for each in seen]
    assert not [each for each in [*seen, *readable] if private in each]


@pytest.mark.parametrize("record", ["", "{}", "[]", '{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "d": "AA"}'])
def test_a_damaged_record_is_told_without_its_content(record: str) -> None:
    with pytest.raises(Failure, match="is damaged") as caught:
        ProofKey(Secret(record))
    assert caught.value.reason == "keyring_locked"


def test_each_sign_in_has_a_key_of_its_own(stored: Secret) -> None:
    other = proof_key(IdentitySettings("", "", dpop="require"), SERVER)
    assert other is not None
    assert ProofKey(other).thumbprint != ProofKey(stored).thumbprint
    public = json.loads(stored.reveal())
    numbers = ec.EllipticCurvePublicNumbers(_number(public["x"]), _number(public["y"]), ec.SECP256R1())
    assert numbers.public_key().curve.name == "secp256r1"


def _number(text: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(text + "="))
