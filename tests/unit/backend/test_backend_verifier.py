"""A server's side: no token is believed before it is proven, whichever provider issued it."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable
from typing import Any

import anyio
import jwt
import pytest

from acp_stdio.backend import Caller, InsufficientScope, InvalidToken, KeysUnavailable, TokenVerifier
from acp_stdio.backend.keys import FLOOR, RENEW_AFTER, USED_UNTIL, SigningKeys
from tests.unit.backend.issuers import AUDIENCE, ISSUER, NOW, Issuer, private_key, public_jwk

TENANT = "11111111-2222-3333-4444-555555555555"
APP = "99999999-8888-7777-6666-555555555555"
ENTRA = Issuer(f"https://login.microsoftonline.com/{TENANT}/v2.0")


def part(data: Any) -> str:
    return (
        base64.urlsafe_b64encode(data if isinstance(data, bytes) else json.dumps(data).encode()).rstrip(b"=").decode()
    )


def unsigned(token: str, header: dict[str, Any]) -> str:
    return f"{part(header)}.{token.split('.')[1]}."


def edited(token: str, **claims: Any) -> str:
    head, body, signature = token.split(".")
    told = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return f"{head}.{part(told | claims)}.{signature}"


def hmac_of_public_key(token: str) -> str:
    header = {"alg": "HS256", "kid": "rsa1", "typ": "at+jwt"}
    signed = f"{part(header)}.{token.split('.')[1]}"
    secret = json.dumps(public_jwk("rsa1")).encode()
    return f"{signed}.{part(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def test_a_proper_token_says_who_is_asking() -> None:
    issuer = Issuer()
    caller = issuer.verifier(scopes=["finance.read"]).verify(issuer.token())
    assert (caller.user, caller.label, caller.client) == ("u-1001", "sarah@acme.example", "acp-stdio")
    assert caller.scopes == {"finance.read"}
    assert caller.claims["jti"] == "t1"


FORGERIES: dict[str, tuple[Callable[[str], str], str]] = {
    "no algorithm": (lambda t: unsigned(t, {"alg": "none", "typ": "at+jwt"}), "signed with none"),
    "no algorithm, shouted": (lambda t: unsigned(t, {"alg": "NONE", "typ": "at+jwt"}), "signed with NONE"),
    "the public key as a password": (hmac_of_public_key, "signed with HS256"),
    "edited": (lambda t: edited(t, sub="u-1"), "signature is not"),
    "cut": (lambda t: t[:-6], "signature is not|not a JWT"),
    "without a signature": (lambda t: t.rpartition(".")[0], "not a JWT"),
    "a key": (lambda t: "sk-live-1234567890", "not a JWT"),
    "too long": (lambda t: t + "x" * 20_000, "too long"),
    "nothing": (lambda t: "", "not a JWT"),
    "not ASCII": (lambda t: "ä.ö.ü", "not a JWT"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_token_is_refused(name: str) -> None:
    spoil, why = FORGERIES[name]
    issuer = Issuer()
    verifier = issuer.verifier()
    verifier.verify(issuer.token())  # so that it is remembered: the forged one is still another
    with pytest.raises(InvalidToken, match=why):
        verifier.verify(spoil(issuer.token()))


def test_a_key_in_the_tokens_own_header_counts_for_nothing() -> None:
    issuer = Issuer()
    header = {"kid": "mine", "typ": "at+jwt", "jwk": public_jwk("mine"), "jku": "https://evil.example/jwks"}
    body = jwt.decode(issuer.token(), options={"verify_signature": False})
    with pytest.raises(InvalidToken, match="does not publish"):
        issuer.verifier().verify(jwt.encode(body, private_key("mine"), algorithm="RS256", headers=header))
    assert not [url for url in issuer.asked if not url.startswith(ISSUER)]


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"aud": "https://hr.example.com/mcp"}, "it is for https://hr.example.com/mcp"),
        ({"aud": AUDIENCE + "/"}, "it is for"),
        ({"aud": ["a", "b"]}, "it is for a or b"),
        ({"aud": None}, "has no aud"),
        ({"iss": "https://login.example.com/"}, "comes from"),
        ({"iss": "https://evil.example"}, "comes from"),
        ({"exp": NOW - 31}, "expired 31 s ago"),
        ({"exp": None}, "has no exp"),
        ({"exp": "never"}, "(?i)exp"),
        ({"iat": NOW + 60}, "valid only in 60 s"),
        ({"nbf": NOW + 60}, "valid only in 60 s"),
        ({"sub": None}, "has no sub"),
        ({"sub": "acp-stdio"}, "token of a program"),
        ({"typ": "ID"}, ""),
    ],
)
def test_a_token_for_something_else_is_refused(claims: dict[str, Any], why: str) -> None:
    issuer = Issuer()
    if not why:
        assert issuer.verifier().verify(issuer.token(**claims))  # at+jwt says it all
        return
    with pytest.raises(InvalidToken, match=why):
        issuer.verifier().verify(issuer.token(**claims))


@pytest.mark.parametrize("typ", ["JWT", "", "dpop+jwt"])
def test_without_a_preset_the_type_is_what_the_standard_says(typ: str) -> None:
    issuer = Issuer()
    with pytest.raises(InvalidToken, match="expected at\\+jwt"):
        issuer.verifier().verify(issuer.token(header_typ=typ))
    assert issuer.verifier().verify(issuer.token(header_typ="application/AT+JWT"))


def test_clocks_may_differ_a_little() -> None:
    issuer = Issuer()
    assert issuer.verifier().verify(issuer.token(exp=NOW - 29, iat=NOW + 29))


def test_a_missing_scope_is_another_refusal() -> None:
    issuer = Issuer()
    with pytest.raises(InsufficientScope) as refused:
        issuer.verifier(scopes=["finance.read", "finance.write"]).verify(issuer.token())
    assert refused.value.scopes == ("finance.write",)


def test_only_named_programs_get_in_where_any_are_named() -> None:
    issuer = Issuer()
    assert issuer.verifier(clients=["acp-stdio"]).verify(issuer.token())
    with pytest.raises(InvalidToken, match="client other"):
        issuer.verifier(clients=["acp-stdio"]).verify(issuer.token(client_id="other"))
    with pytest.raises(InvalidToken, match="client None"):
        issuer.verifier(clients=["acp-stdio"]).verify(issuer.token(client_id=None))


def test_a_programs_token_gets_in_where_that_is_wanted() -> None:
    issuer = Issuer()
    assert issuer.verifier(programs=True).verify(issuer.token(sub="acp-stdio")).user == "acp-stdio"


def test_an_address_that_the_provider_has_not_verified_names_nobody() -> None:
    issuer = Issuer()
    assert issuer.verifier().verify(issuer.token(email="ceo@acme.example", email_verified=False)).label == "u-1001"


# -- the providers ---------------------------------------------------------------------------------

_V2 = {"tid": TENANT, "oid": "o-1", "azp": "client", "client_id": None, "preferred_username": "sarah@acme.example",
       "aud": APP, "scp": "Finance.Read", "scope": None, "email": None}  # fmt: skip
_V1 = {**_V2, "iss": f"https://sts.windows.net/{TENANT}/", "aud": f"api://{APP}", "azp": None, "appid": "client",
       "preferred_username": None, "upn": "sarah@acme.example"}  # fmt: skip
_OKTA = {"cid": "client", "uid": "00u1", "sub": "sarah@acme.example", "scp": ["finance.read"], "client_id": None,
         "scope": None, "email": None}  # fmt: skip
_COGNITO = {"aud": None, "token_use": "access", "scope": "https://finance.example.com/read openid"}


@pytest.mark.parametrize(
    ("preset", "options", "claims", "user", "scope"),
    [
        ("entra", {"audience": APP}, _V2, f"{TENANT}/o-1", "Finance.Read"),
        ("entra", {"audience": f"api://{APP}"}, _V2, f"{TENANT}/o-1", "Finance.Read"),
        ("entra", {"audience": APP}, _V1, f"{TENANT}/o-1", "Finance.Read"),
        ("okta", {}, _OKTA, "00u1", "finance.read"),
        ("auth0", {}, {"aud": [AUDIENCE, "https://a.auth0.com/userinfo"], "azp": "client"}, "u-1001", "finance.read"),
        ("keycloak", {}, {"typ": "Bearer", "azp": "client", "aud": ["account", AUDIENCE]}, "u-1001", "finance.read"),
        ("cognito", {"clients": ["acp-stdio"], "scopes": ["https://finance.example.com/read"]}, _COGNITO, "u-1001",
         "openid"),
        ("google", {"audience": "desktop"}, {"aud": "desktop", "azp": "desktop", "at_hash": "x"}, "u-1001",
         "finance.read"),
        ("ping", {}, {}, "u-1001", "finance.read"),
    ],
)  # fmt: skip
def test_each_providers_tokens_say_who_is_asking(
    preset: str, options: dict[str, Any], claims: dict[str, Any], user: str, scope: str
) -> None:
    issuer = ENTRA if preset == "entra" else Issuer()
    caller = issuer.verifier(**({"preset": preset} | options)).verify(issuer.token(header_typ="JWT", **claims))
    assert (caller.user, caller.label) == (user, "sarah@acme.example")
    assert scope in caller.scopes
    assert caller.client in ("client", "acp-stdio", "desktop")


@pytest.mark.parametrize(
    ("preset", "options", "claims", "why"),
    [
        ("entra", {"audience": APP}, _V2 | {"iss": "https://sts.windows.net/another/"}, "comes from"),
        ("entra", {"audience": APP}, _V2 | {"aud": "api://00000003-0000-0000-c000-000000000000"}, "it is for"),
        ("entra", {"audience": APP}, _V2 | {"oid": None}, "no oid"),
        ("entra", {"audience": APP}, _V2 | {"idtyp": "app"}, "program"),
        ("entra", {"audience": APP}, _V2 | {"nonce": "n"}, "not an access token"),
        ("okta", {}, _OKTA | {"uid": None}, "no uid"),
        ("auth0", {}, {"sub": "client@clients", "azp": "client"}, "program"),
        ("auth0", {}, {"gty": "client-credentials"}, "program"),
        ("keycloak", {}, {"typ": "ID"}, "not an access token"),
        ("keycloak", {}, {"typ": "Refresh"}, "not an access token"),
        ("keycloak", {}, {"aud": "account"}, "it is for account"),
        ("cognito", {"clients": ["acp-stdio"], "scopes": ["x"]}, _COGNITO | {"token_use": "id"}, "not an access"),
        ("cognito", {"clients": ["acp-stdio"], "scopes": ["x"]}, _COGNITO | {"client_id": "other"}, "client other"),
        ("cognito", {"clients": ["acp-stdio"], "scopes": ["x"]}, _COGNITO | {"aud": "https://b.example"}, "it is for"),
        ("ping", {}, {"aud": None}, "has no aud"),
    ],
)
def test_each_providers_other_tokens_are_refused(
    preset: str, options: dict[str, Any], claims: dict[str, Any], why: str
) -> None:
    issuer = ENTRA if preset == "entra" else Issuer()
    with pytest.raises(InvalidToken, match=why):
        issuer.verifier(**({"preset": preset} | options)).verify(issuer.token(header_typ="JWT", **claims))


def test_settings_that_would_let_anybody_in_are_refused() -> None:
    with pytest.raises(ValueError, match="audience"):
        TokenVerifier(ISSUER, [])
    with pytest.raises(ValueError, match="clients and scopes"):
        TokenVerifier(ISSUER, AUDIENCE, preset="cognito", clients=["c"])
    with pytest.raises(ValueError, match="https"):
        TokenVerifier("http://login.example.com", AUDIENCE)


# -- the keys --------------------------------------------------------------------------------------


def test_the_keys_are_fetched_once_for_many_tokens() -> None:
    issuer = Issuer()
    verifier = issuer.verifier(remembered=0)
    for _ in range(5):
        verifier.verify(issuer.token())
    assert issuer.key_fetches == 1


def test_a_token_with_a_new_key_fetches_the_keys_once_more_and_strangers_do_not_make_us_a_nuisance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1000.0]
    issuer = Issuer(kids=["rsa1"])
    keys = SigningKeys(ISSUER, fetch=issuer.fetch, clock=lambda: now[0])
    verifier = issuer.verifier()
    monkeypatch.setattr(verifier, "_keys", keys)
    verifier.verify(issuer.token())
    for number in range(50):
        with pytest.raises(InvalidToken, match="does not publish"):
            verifier.verify(jwt.encode({}, private_key("mine"), algorithm="RS256", headers={"kid": f"x{number}"}))
    assert issuer.key_fetches == 1, "within the floor nobody is asked"
    issuer.kids = ["rsa2"]
    now[0] += FLOOR
    assert verifier.verify(issuer.token("rsa2"))
    with pytest.raises(InvalidToken):
        verifier.verify(issuer.token("rsa1"))  # withdrawn, though it was remembered
    assert issuer.key_fetches == 2


def test_keys_are_used_a_while_longer_when_the_issuer_is_down_and_not_for_ever() -> None:
    now = [0.0]
    issuer = Issuer()
    keys = SigningKeys(ISSUER, fetch=issuer.fetch, clock=lambda: now[0])
    first = keys.renewed(None)
    issuer.down = True
    now[0] = RENEW_AFTER
    assert keys.at_hand() is None
    assert keys.renewed(None) is first
    now[0] = USED_UNTIL
    with pytest.raises(KeysUnavailable, match="no route"):
        keys.renewed(first)
    issuer.down = False
    now[0] += FLOOR
    assert keys.renewed(first) is not first


def test_many_threads_fetch_the_keys_once() -> None:
    issuer = Issuer()
    verifier, token = issuer.verifier(), issuer.token()
    gate, found = threading.Barrier(8), list[Caller]()

    def ask() -> None:
        gate.wait(30)
        found.append(verifier.verify(token))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 8
    assert issuer.key_fetches == 1


@pytest.mark.parametrize("backend", ["asyncio"])
def test_an_event_loop_goes_on_while_the_keys_are_fetched(backend: str) -> None:
    issuer = Issuer()
    turned, slow = threading.Event(), issuer.fetch

    def fetch(url: str) -> dict[str, Any] | None:
        assert turned.wait(30), "the loop stood still"
        return slow(url)

    verifier = TokenVerifier(ISSUER, AUDIENCE, fetch=fetch, clock=lambda: NOW)

    async def both() -> Caller:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(turn)
            return await verifier.verify_async(issuer.token())
        raise AssertionError

    async def turn() -> None:
        turned.set()

    assert anyio.run(both, backend=backend).user == "u-1001"


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://evil.example", "jwks_uri": f"{ISSUER}/jwks"},
        {"issuer": ISSUER, "jwks_uri": "http://login.example.com/jwks"},
        {"issuer": ISSUER, "jwks_uri": "http://127.0.0.1/jwks"},
        {"issuer": ISSUER},
        {"issuer": ISSUER, "jwks_uri": 7},
    ],
)
def test_another_issuers_metadata_or_keys_without_https_are_not_used(document: dict[str, Any]) -> None:
    verifier = TokenVerifier(ISSUER, AUDIENCE, fetch=lambda url: document if "known" in url else {"keys": []})
    with pytest.raises(KeysUnavailable):
        verifier.verify(Issuer().token())


def test_remembered_tokens_are_bounded_and_still_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [NOW]
    issuer = Issuer()
    verifier = TokenVerifier(ISSUER, AUDIENCE, fetch=issuer.fetch, clock=lambda: now[0], remembered=2)
    tokens = [issuer.token(jti=str(number)) for number in range(4)]
    for token in tokens:
        verifier.verify(token)
    known: dict[bytes, Any] = vars(verifier)["_known"]
    assert len(known) == 2
    now[0] = NOW + 331
    with pytest.raises(InvalidToken, match="expired"):
        verifier.verify(tokens[-1])
