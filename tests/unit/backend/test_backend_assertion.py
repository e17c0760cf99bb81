"""A signed statement is about one request, of one enrolled computer, once; anything else is refused."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import pytest

from acp_stdio.backend import AssertionVerifier, BearerAuth, Caller, InvalidAssertion, KeysUnavailable
from acp_stdio.backend.body import Asked, asked
from acp_stdio.identity.statement import HEADER, KIND, digest, statement
from acp_stdio.identity.thumbprint import thumbprint
from acp_stdio.wire.canonical import canonical
from tests.unit.backend.issuers import AUDIENCE, ISSUER, NOW, Issuer, private_key, public_jwk
from tests.unit.backend.test_backend_middleware import ask, echo

TOKEN = Issuer().token()
CALLER = Caller("u-1001", "sarah", claims={"iss": ISSUER, "sub": "u-1001", "aud": AUDIENCE})
BODY = (
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"salary","arguments":{"person":"ceo","year":1e3}}}'
)
NAME = thumbprint(public_jwk("ec-laptop"))


def said(**changes: Any) -> dict[str, Any]:
    """What acp-stdio would say about `BODY`."""
    claims = statement(
        key=NAME,
        user={"iss": ISSUER, "sub": "u-1001"},
        token=CALLER.claims,
        token_digest=digest(TOKEN.encode()),
        act={"name": "claude-ai", "version": "0.1.0", "evidence": "self_reported"},
        method="tools/call",
        tool="salary",
        params=canonical(b'{"name":"salary","arguments":{"person":"ceo","year":1e3}}'),
        request_id="r-7",
        now=NOW,
        log={"chain": "c", "seq": 3, "hash": "h"},
    )
    return {name: value for name, value in (claims | changes).items() if value is not None}


def signed(
    claims: dict[str, Any], *, kid: str = NAME, key: str = "ec-laptop", typ: str = KIND, alg: str = "ES256"
) -> str:
    return jwt.encode(claims, private_key(key), algorithm=alg, headers={"typ": typ, "kid": kid})


@dataclass
class Backend:
    folder: Path
    now: list[float] = field(default_factory=lambda: [NOW])

    def __post_init__(self) -> None:
        (self.folder / "keys.json").write_text(json.dumps({"keys": [public_jwk("ec-laptop")]}))
        self.verifier = AssertionVerifier(self.folder, clock=lambda: self.now[0], remembered=3)

    def take(self, text: str, *, body: bytes = BODY, request_id: str = "r-7", token: str = TOKEN) -> dict[str, Any]:
        return self.verifier.verify(text, token=token, caller=CALLER, asked=asked(body), request_id=request_id)


@pytest.fixture
def backend(tmp_path: Path) -> Backend:
    return Backend(tmp_path)


def test_a_proper_statement_says_agent_and_trail(backend: Backend) -> None:
    taken = backend.take(signed(said()))
    assert taken["act"]["evidence"] == "self_reported"
    assert taken["log"] == {"chain": "c", "seq": 3, "hash": "h"}
    assert taken["exp"] - taken["iat"] == 60
    assert taken["iss"].startswith("urn:ietf:params:oauth:jwk-thumbprint:sha-256:")


@pytest.mark.parametrize(
    "body",
    [
        b'{"method":"tools/call","id":1,"params":{"arguments":{"year":1000,"person":"ceo"},"name":"salary"}}',
        b'{ "id":9, "params": { "name" : "sal\\u0061ry" , "arguments":{"person":"ceo",'
        b' "year":1000.0}},"method":"tools/call"}',
    ],
)
def test_another_spelling_of_the_same_arguments_is_the_same_request(backend: Backend, body: bytes) -> None:
    assert backend.take(signed(said()), body=body)


@pytest.mark.parametrize(
    "body",
    [
        BODY.replace(b"ceo", b"cfo"),
        BODY.replace(b"1e3", b"1001"),
        BODY.replace(b"salary", b"report"),
        BODY.replace(b"tools/call", b"prompts/get"),
        BODY.replace(b'"arguments"', b'"_meta":{},"arguments"'),
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call"}',
    ],
)
def test_another_request_cannot_use_it(backend: Backend, body: bytes) -> None:
    with pytest.raises(InvalidAssertion, match="another request"):
        backend.take(signed(said()), body=body)


def test_large_numbers_that_differ_are_different_arguments(backend: Backend) -> None:
    def body(number: int) -> bytes:
        return b'{"id":1,"method":"tools/call","params":{"name":"pay","arguments":{"to":%d}}}' % number

    first = 9_007_199_254_740_993
    mine = canonical(b'{"name":"pay","arguments":{"to":%d}}' % first)
    text = signed(said(tool="pay", args_digest=digest(mine)))
    with pytest.raises(InvalidAssertion, match="args_digest"):
        backend.take(text, body=body(first - 1))
    assert backend.take(text, body=body(first))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"ath": digest(b"another token")}, "ath"),
        ({"sub": "u-1"}, "sub"),
        ({"token_iss": "https://evil.example"}, "token_iss"),
        ({"aud": "https://hr.example.com/mcp"}, "aud"),
        ({"aud": None}, "aud"),
        ({"jti": "r-8"}, "jti"),
        ({"tool": "report"}, "tool"),
        ({"tool": None}, "tool"),
        ({"method": None}, "method"),
        ({"exp": NOW + 61}, "lives longer"),
        ({"exp": NOW - 31, "iat": NOW - 60}, "expired"),
        ({"iat": NOW + 31, "exp": NOW + 91}, "valid only in"),
        ({"iat": None}, "signature does not hold"),
        ({"exp": 10**13}, "not a time"),
    ],
)
def test_a_statement_about_something_else_is_refused(backend: Backend, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidAssertion, match=why):
        backend.take(signed(said(**changes)))


def test_a_stolen_statement_is_worth_nothing_with_another_token(backend: Backend) -> None:
    with pytest.raises(InvalidAssertion, match="ath"):
        backend.take(signed(said()), token=Issuer().token(sub="u-1002"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "there is none"),
        ("x" * 9000, "too long"),
        ("a.b.c", "signature"),
        (signed(said(), key="ec-thief"), "signature"),
        (signed(said(), kid=thumbprint(public_jwk("ec-thief")), key="ec-thief"), "not enrolled"),
        (signed(said(iss=thumbprint(public_jwk("ec-thief")))), "another key"),
        (signed(said(), typ="JWT"), "it is a JWT"),
        (signed(said(), typ="acp-checkpoint+jws"), "acp-checkpoint"),
        (signed(said(), key="rsa1", alg="RS256"), "RS256"),
        (jwt.encode(said(), "", algorithm="none", headers={"typ": KIND, "kid": NAME}), "none"),
    ],
)
def test_a_forged_statement_is_refused(backend: Backend, text: str, why: str) -> None:
    with pytest.raises(InvalidAssertion, match=why):
        backend.take(text)


def test_none_is_taken_twice_and_a_repetition_with_a_new_token_is_another(backend: Backend) -> None:
    text = signed(said())
    backend.take(text)
    with pytest.raises(InvalidAssertion, match="seen before"):
        backend.take(text)
    with pytest.raises(InvalidAssertion, match="seen before"):
        backend.take(signed(said()))  # signed anew by the same key, about the same request
    renewed = Issuer().token(jti="t2")
    assert backend.take(signed(said(ath=digest(renewed.encode()))), token=renewed)


def test_what_is_remembered_is_bounded_and_never_forgotten_too_early(backend: Backend) -> None:
    for number in range(3):
        backend.take(signed(said(jti=f"r-{number}")), request_id=f"r-{number}")
    with pytest.raises(KeysUnavailable, match="remembered"):
        backend.take(signed(said(jti="r-9")), request_id="r-9")
    with pytest.raises(InvalidAssertion, match="seen before"):
        backend.take(signed(said(jti="r-0")), request_id="r-0")
    backend.now[0] = NOW + 91
    later = said(jti="r-9", iat=NOW + 91, exp=NOW + 150)
    assert backend.take(signed(later), request_id="r-9")


def test_a_key_counts_from_its_enrolment_to_its_withdrawal(backend: Backend) -> None:
    other = signed(said(iss=thumbprint(public_jwk("ec-other"))), kid=thumbprint(public_jwk("ec-other")), key="ec-other")
    with pytest.raises(InvalidAssertion, match="not enrolled"):
        backend.take(other)
    file = backend.folder / "other.json"
    file.write_text(json.dumps(public_jwk("ec-other")))
    assert backend.take(other)
    file.unlink()
    with pytest.raises(InvalidAssertion, match="not enrolled"):
        backend.take(other)
    file.write_text("{")
    with pytest.raises(KeysUnavailable):
        backend.take(other)


def test_a_file_cannot_give_a_key_another_ones_name(backend: Backend) -> None:
    file = backend.folder / "keys.json"
    file.write_text(json.dumps(public_jwk("ec-thief") | {"kid": NAME}))
    os.utime(file, (1, 1))
    with pytest.raises(InvalidAssertion, match="not enrolled"):
        backend.take(signed(said(), key="ec-thief"))


def test_the_middleware_wants_one_with_each_request_and_hands_it_on(backend: Backend) -> None:
    issuer, lines = Issuer(), list[str]()
    guarded = BearerAuth(echo_app(), issuer.verifier(), assertions=backend.verifier, log=lines.append)
    token = issuer.token()
    body = json.loads(BODY)
    without = ask(guarded, token=token, body=body)
    assert (without.status, without.document) == (403, {"error": "invalid_assertion"})
    claims = said(ath=digest(token.encode()))
    with_it = ask(guarded, token=token, pieces=[BODY], headers=[(HEADER, signed(claims))])
    assert with_it.status == 200
    assert [line.rpartition("=")[2] for line in lines] == ["denied", "ok"]
    stream = said(ath=digest(token.encode()), method=None, tool=None, args_digest=digest(b"{}"), jti="r-7", iat=NOW - 1)
    assert ask(guarded, token=token, method="GET", headers=[(HEADER, signed(stream))]).status == 403, "r-7 was used"


def echo_app() -> Any:
    from starlette.applications import Starlette
    from starlette.routing import Route

    return Starlette(routes=[Route("/{rest:path}", echo, methods=["GET", "POST"])])


def test_a_request_without_a_body_is_bound_too(backend: Backend) -> None:
    claims = said(method=None, tool=None, args_digest=digest(b"{}"))
    taken = backend.verifier.verify(signed(claims), token=TOKEN, caller=CALLER, asked=Asked(), request_id="r-7")
    assert "tool" not in taken
