"""No token is believed before its signature, issuer, audience, time and person are proven."""

import base64
import functools
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from acp_stdio.errors import Failure
from acp_stdio.identity import claims
from acp_stdio.identity.claims import ClaimNames
from acp_stdio.identity.model import Account
from acp_stdio.secrets import Secret

NOW = 1_800_000_000.0
ISSUER = "https://login.example.com"
AUDIENCE = "https://finance.example.com/mcp"
CLIENT = "acp-stdio"
ALICE = Account("alice", "alice@example.com", "alice", ISSUER)
ENTRA = ClaimNames(
    key=("tid", "oid"), label=("preferred_username", "sub"), email=("upn", "preferred_username"), tenant="tid",
    client=("azp", "appid"),
)  # fmt: skip

ID: dict[str, Any] = {
    "iss": ISSUER, "sub": "alice", "aud": CLIENT, "iat": NOW - 5, "exp": NOW + 300, "nonce": "n",
    "email": "alice@example.com", "email_verified": True,
}  # fmt: skip
AT: dict[str, Any] = {
    "iss": ISSUER, "sub": "alice", "aud": AUDIENCE, "iat": NOW - 5, "exp": NOW + 300, "client_id": CLIENT,
}  # fmt: skip


@functools.cache
def private_key(name: str) -> Any:
    if name.startswith("ec"):
        return ec.generate_private_key(ec.SECP256R1())
    if name.startswith("ed"):
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_jwk(name: str, **changes: Any) -> dict[str, Any]:
    key = private_key(name).public_key()
    algorithm: Any = ECAlgorithm if name.startswith("ec") else OKPAlgorithm if name.startswith("ed") else RSAAlgorithm
    return {**json.loads(algorithm.to_jwk(key)), "kid": name, "use": "sig", **changes}


@functools.cache
def key_set(*names: str) -> jwt.PyJWKSet:
    return jwt.PyJWKSet.from_dict({"keys": [public_jwk(name) for name in names]})


def sign(
    body: dict[str, Any], *, key: str = "rsa", kid: str | None = None, alg: str = "RS256", typ: str = ""
) -> Secret:
    header = {"kid": kid or key} | ({"typ": typ} if typ else {})
    return Secret(jwt.encode(body, private_key(key), algorithm=alg, headers=header))


def with_algorithm(body: dict[str, Any], header: dict[str, Any], secret: bytes = b"") -> Secret:
    """A token put together by hand: libraries refuse to make these."""

    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    signed = f"{part(json.dumps(header).encode())}.{part(json.dumps(body).encode())}"
    mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest() if secret else b""
    return Secret(f"{signed}.{part(mac)}")


def id_token(token: Secret, **changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "keys": key_set("rsa"), "issuers": [ISSUER], "client_id": CLIENT, "nonce": "n", "now": NOW,
        "leeway": 60.0,
    }  # fmt: skip
    return claims.verify_id_token(token, **(given | changes))


def access_token(token: Secret, **changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "keys": key_set("rsa"), "issuers": [ISSUER], "audiences": [AUDIENCE], "account": ALICE,
        "names": ClaimNames(), "client_id": CLIENT, "now": NOW, "leeway": 60.0,
    }  # fmt: skip
    return claims.verify_access_token(token, **(given | changes))


VERIFIERS: list[tuple[Callable[..., dict[str, Any]], dict[str, Any]]] = [(id_token, ID), (access_token, AT)]
both = pytest.mark.parametrize(("verify", "good"), VERIFIERS, ids=["id_token", "access_token"])


def refusal(attempt: Callable[[], object], reason: str = "wrong_audience") -> str:
    with pytest.raises(Failure) as caught:
        attempt()
    assert caught.value.reason == reason
    assert caught.value.advice
    return caught.value.message


@both
def test_a_good_token_gives_its_claims(verify: Callable[..., dict[str, Any]], good: dict[str, Any]) -> None:
    assert verify(sign(good)) == good


@both
@pytest.mark.parametrize(("key", "alg"), [("rsa", "PS256"), ("ec", "ES256"), ("ed", "EdDSA")])
def test_every_asymmetric_signature_is_understood(
    verify: Callable[..., dict[str, Any]], good: dict[str, Any], key: str, alg: str
) -> None:
    assert verify(sign(good, key=key, alg=alg), keys=key_set("rsa", "ec", "ed"))["sub"] == "alice"


@both
def test_a_forged_token_is_refused(verify: Callable[..., dict[str, Any]], good: dict[str, Any]) -> None:
    public = json.dumps(public_jwk("rsa")).encode()
    body, kid = good, "rsa"
    forged = [
        with_algorithm(body, {"alg": "none", "kid": kid}),
        with_algorithm(body, {"alg": "None", "kid": kid}),
        with_algorithm(body, {"kid": kid}),
        with_algorithm(body, {"alg": ["RS256"], "kid": kid}),
        with_algorithm(body, {"alg": "HS256", "kid": kid}, public),
        with_algorithm(body, {"alg": "RS256", "kid": kid}, public),
        with_algorithm(body, {"alg": "RS256", "kid": kid, "jwk": public_jwk("stranger")}, public),
        sign(good, key="stranger", kid=kid),
        sign(good, key="stranger"),
        sign(good, key="ec", kid=kid, alg="ES256"),
        Secret(sign(good).reveal()[:-6] + "AAAAAA"),
        Secret("not.a.jwt"),
        Secret(""),
        Secret("opaque"),
    ]
    for token in forged:
        refusal(lambda token=token: verify(token))


@both
def test_an_algorithm_that_the_provider_did_not_name_is_refused(
    verify: Callable[..., dict[str, Any]], good: dict[str, Any]
) -> None:
    assert "RS256" in refusal(lambda: verify(sign(good), algorithms=["ES256", "HS256", "none"]))
    refusal(lambda: verify(with_algorithm(good, {"alg": "HS256", "kid": "rsa"}, b"x" * 32), algorithms=["HS256"]))


@both
def test_a_key_for_encryption_or_one_of_several_without_a_name_proves_nothing(
    verify: Callable[..., dict[str, Any]], good: dict[str, Any]
) -> None:
    encryption = jwt.PyJWKSet.from_dict({"keys": [public_jwk("rsa", use="enc")]})
    refusal(lambda: verify(sign(good), keys=encryption))
    nameless = Secret(jwt.encode(good, private_key("rsa"), algorithm="RS256"))
    assert verify(nameless)
    refusal(lambda: verify(nameless, keys=key_set("rsa", "stranger")))


@both
@pytest.mark.parametrize("name", ["iss", "aud", "exp", "iat", "sub"])
def test_a_claim_that_every_token_has_is_not_optional(
    verify: Callable[..., dict[str, Any]], good: dict[str, Any], name: str
) -> None:
    assert name in refusal(lambda: verify(sign({k: v for k, v in good.items() if k != name})))


@both
@pytest.mark.parametrize("issuer", [f"{ISSUER}/", "https://evil.example", ISSUER.upper()])
def test_another_issuers_token_is_refused_and_both_are_named(
    verify: Callable[..., dict[str, Any]], good: dict[str, Any], issuer: str
) -> None:
    message = refusal(lambda: verify(sign({**good, "iss": issuer})))
    assert issuer in message
    assert ISSUER in message


@both
def test_the_clock_may_be_a_minute_off_and_no_more(verify: Callable[..., dict[str, Any]], good: dict[str, Any]) -> None:
    for tolerable in ({"exp": NOW - 59}, {"iat": NOW + 59}, {"nbf": NOW + 59}):
        assert verify(sign({**good, **tolerable}))
    for wrong in ({"exp": NOW - 61}, {"iat": NOW + 61}, {"nbf": NOW + 61}):
        assert "clock" in refusal(lambda wrong=wrong: verify(sign({**good, **wrong})))
    for day in (-86400, 86400):
        refusal(lambda day=day: verify(sign(good), now=NOW + day))


@both
@pytest.mark.parametrize("value", ["soon", None, True, [], float("nan"), float("inf"), 10**400])
def test_a_time_that_is_none_is_refused(
    verify: Callable[..., dict[str, Any]], good: dict[str, Any], value: object
) -> None:
    for name in ("exp", "iat", "nbf"):
        token = with_algorithm({**good, name: value}, {"alg": "RS256", "kid": "rsa"}, b"x")
        refusal(lambda token=token: verify(token))
        refusal(lambda name=name: verify(sign_raw({**good, name: value})))


def sign_raw(body: dict[str, Any]) -> Secret:
    """Signs any JSON at all: `jwt.encode` is particular about times."""
    payload = json.dumps(body).encode()
    return Secret(jwt.api_jws.encode(payload, private_key("rsa"), algorithm="RS256", headers={"kid": "rsa"}))


def test_a_refusal_never_quotes_the_token() -> None:
    token = sign({**AT, "aud": "https://other.example"})
    message = refusal(lambda: access_token(token))
    assert "https://other.example" in message
    assert AUDIENCE in message
    for part in token.reveal().split("."):
        assert part not in message


# ID tokens


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "somebody-else"},
        {"aud": ["somebody-else"]},
        {"aud": []},
        {"aud": [CLIENT, "somebody-else"]},
        {"aud": [CLIENT, "somebody-else"], "azp": "somebody-else"},
        {"azp": "somebody-else"},
    ],
)
def test_an_id_token_for_another_client_is_refused(changes: dict[str, Any]) -> None:
    refusal(lambda: id_token(sign({**ID, **changes})))


def test_an_id_token_for_several_audiences_must_name_us_as_the_one_it_was_issued_to() -> None:
    assert id_token(sign({**ID, "aud": [CLIENT, "backend"], "azp": CLIENT}))
    assert id_token(sign({**ID, "aud": [CLIENT]}))


def test_an_id_token_of_another_sign_in_is_refused() -> None:
    for nonce in ("other", "", None, 7):
        refusal(lambda nonce=nonce: id_token(sign({**ID, "nonce": nonce})), "denied")
    refusal(lambda: id_token(sign({k: v for k, v in ID.items() if k != "nonce"})), "denied")
    assert id_token(sign(ID), nonce=None)


def test_an_id_token_names_the_access_token_that_it_came_with() -> None:
    token = Secret("the-access-token")
    half = hashlib.sha256(b"the-access-token").digest()[:16]
    at_hash = base64.urlsafe_b64encode(half).rstrip(b"=").decode()
    assert id_token(sign({**ID, "at_hash": at_hash}), access_token=token)
    assert id_token(sign(ID), access_token=token)
    refusal(lambda: id_token(sign({**ID, "at_hash": at_hash}), access_token=Secret("another")))
    refusal(lambda: id_token(sign({**ID, "at_hash": 7}), access_token=token))


def test_an_access_token_is_no_id_token() -> None:
    refusal(lambda: id_token(sign({**ID, "aud": CLIENT}, typ="at+jwt")))
    refusal(lambda: id_token(sign({**ID, "aud": CLIENT}, typ="application/AT+JWT")))


# Access tokens


@pytest.mark.parametrize("aud", ["default-audience", f"{AUDIENCE}/", [], ["a", "b"], {"a": 1}, 7])
def test_a_token_for_another_audience_is_not_attached(aud: object) -> None:
    refusal(lambda: access_token(sign_raw({**AT, "aud": aud})))


def test_one_fitting_audience_among_several_is_enough() -> None:
    assert access_token(sign({**AT, "aud": ["x", AUDIENCE]}))
    assert access_token(sign(AT), audiences=["y", AUDIENCE])


def test_a_token_of_another_person_is_never_attached() -> None:
    message = refusal(lambda: access_token(sign({**AT, "sub": "mallory"})), "denied")
    assert "alice@example.com" in message


def test_a_token_issued_to_another_client_is_refused() -> None:
    refusal(lambda: access_token(sign({**AT, "client_id": "other-app"})))
    without = {name: value for name, value in AT.items() if name != "client_id"}
    assert access_token(sign(without))


def test_a_person_is_known_by_the_configured_claims_although_sub_differs() -> None:
    person = Account("t1/o1", "alice", "pairwise-of-the-client", ISSUER, tenant="t1")
    token = {**AT, "sub": "pairwise-of-the-api", "tid": "t1", "oid": "o1", "azp": CLIENT}
    assert access_token(sign(token), account=person, names=ENTRA)
    refusal(lambda: access_token(sign({**token, "oid": "o2"}), account=person, names=ENTRA), "denied")
    refusal(lambda: access_token(sign({**token, "tid": "t2"}), account=person, names=ENTRA), "denied")
    half = {name: value for name, value in token.items() if name != "oid"}
    refusal(lambda: access_token(sign(half), account=person, names=ENTRA), "denied")


def test_the_issuer_template_is_filled_with_the_tokens_own_tenant() -> None:
    template = ["https://login.example.com/{tenantid}/v2.0"]
    own = {**ID, "iss": "https://login.example.com/t1/v2.0", "tid": "t1"}
    assert id_token(sign(own), issuers=template)
    refusal(lambda: id_token(sign({**own, "tid": "t2"}), issuers=template))
    refusal(lambda: id_token(sign({**ID, "iss": template[0]}), issuers=["https://login.example.com/t1/v2.0"]))


# Accounts


def test_an_account_has_a_stable_key_and_a_readable_label() -> None:
    assert claims.account_from_claims(ID, ClaimNames()) == Account(
        "alice", "alice@example.com", "alice", ISSUER, "alice@example.com"
    )
    entra = {**ID, "tid": "t1", "oid": "o1", "preferred_username": "alice@corp.example"}
    account = claims.account_from_claims(entra, ENTRA)
    assert (account.key, account.label, account.tenant) == ("t1/o1", "alice@corp.example", "t1")
    assert account.email == "alice@corp.example"


def test_an_unverified_address_is_nobodys_name() -> None:
    account = claims.account_from_claims({**ID, "email_verified": False}, ClaimNames())
    assert (account.label, account.email) == ("alice", "")


def test_a_label_cannot_move_the_cursor_or_fill_the_screen() -> None:
    account = claims.account_from_claims({**ID, "email": "\x1b[2J\u202ealice\n" + "x" * 999}, ClaimNames())
    assert account.label.isprintable()
    assert len(account.label) <= 200


def test_a_missing_identifying_claim_is_a_configuration_error() -> None:
    message = refusal(lambda: claims.account_from_claims(ID, ENTRA), "configuration_invalid")
    assert "tid, oid" in message


@pytest.mark.parametrize(
    ("changes", "required"),
    [
        ({}, {"domain": "example.com"}),
        ({}, {"domain": "EXAMPLE.com"}),
        ({"email_verified": None}, {"domain": "example.com"}),
        ({"hd": "example.com"}, {"hd": "example.com", "domain": "example.com"}),
        ({}, {"email_verified": "true"}),
        ({}, {}),
    ],
)
def test_the_required_account_is_let_in(changes: dict[str, Any], required: dict[str, str]) -> None:
    claims.check_required_account({**ID, **changes}, required, ClaimNames())


@pytest.mark.parametrize(
    ("changes", "required"),
    [
        ({"email": "alice@evil.example"}, {"domain": "example.com"}),
        ({"email": "alice@example.com.evil.example"}, {"domain": "example.com"}),
        ({"email": "alice@sub.example.com"}, {"domain": "example.com"}),
        ({"email": '"@example.com"@evil.example'}, {"domain": "example.com"}),
        ({"email": "example.com"}, {"domain": "example.com"}),
        ({"email": None}, {"domain": "example.com"}),
        ({"email": ["a@example.com"]}, {"domain": "example.com"}),
        ({"email_verified": False}, {"domain": "example.com"}),
        ({"email_verified": "false"}, {"domain": "example.com"}),
        ({}, {"hd": "example.com"}),
        ({"hd": "Example.com"}, {"hd": "example.com"}),
        ({"hd": ["example.com"]}, {"hd": "example.com"}),
    ],
)
def test_another_account_is_refused(changes: dict[str, Any], required: dict[str, str]) -> None:
    message = refusal(lambda: claims.check_required_account({**ID, **changes}, required, ClaimNames()), "denied")
    assert next(iter(required.values())) in message
