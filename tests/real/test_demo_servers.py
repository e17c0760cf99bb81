"""The demo's far side over real HTTP: it is strict, or the story would prove nothing."""

import base64
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

import anyio
import jwt
import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from authlib.oidc.discovery import OpenIDProviderMetadata
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp_types import Implementation

from acp_stdio.demo.human import Human
from acp_stdio.demo.people import CLIENT_ID, INTERN, PEOPLE, SARAH
from acp_stdio.demo.processes import Child

pytestmark = pytest.mark.real

REDIRECT = "http://127.0.0.1:49152/callback"
ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}


def call(url: str, form: dict[str, Any] | None = None, bearer: str = "") -> tuple[int, Any]:
    """Status and JSON (or text) of one request."""
    data = urlencode(form, doseq=True).encode() if form is not None else None
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    try:
        with build_opener(ProxyHandler({})).open(Request(url, data, headers), timeout=15) as answer:  # noqa: S310  # our own URLs
            status, body = answer.status, answer.read()
    except HTTPError as answer:
        with answer:
            status, body = answer.code, answer.read()
    try:
        return status, json.loads(body)
    except ValueError:
        return status, body.decode()


@dataclass
class Idp:
    issuer: str
    admin_key: str

    def token(self, **form: Any) -> tuple[int, Any]:
        return call(f"{self.issuer}/token", {"client_id": CLIENT_ID} | form)

    def refresh(self, value: str, **form: Any) -> tuple[int, Any]:
        return self.token(grant_type="refresh_token", refresh_token=value, **form)

    def disable(self, account: str, key: str = "") -> int:
        return call(f"{self.issuer}/admin/disable", {"account": account}, key or self.admin_key)[0]


@dataclass
class SignIn:
    """One authorization request and its answers."""

    idp: Idp
    account: str = "sarah"
    resource: str = "http://127.0.0.1:1/mcp"
    changes: dict[str, Any] = field(default_factory=dict[str, Any])
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    state: str = field(default_factory=lambda: secrets.token_urlsafe(8))
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(8))

    @property
    def url(self) -> str:
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=")
        query: dict[str, Any] = {
            "response_type": "code",
            "client_id": CLIENT_ID,
            "redirect_uri": REDIRECT,
            "scope": "openid email offline_access finance.read",
            "state": self.state,
            "nonce": self.nonce,
            "resource": self.resource,
            "code_challenge": challenge.decode(),
            "code_challenge_method": "S256",
        } | self.changes
        return f"{self.idp.issuer}/authorize?" + urlencode({k: v for k, v in query.items() if v}, doseq=True)

    def answer(self, password: str = "", button: str = "sign-in") -> dict[str, str]:
        """The parameters of the redirect back."""
        right = PEOPLE[self.account].password
        status, location, body = Human().sign_in(self.url, self.account, password or right, button)
        assert status == 302, body
        assert location.startswith(REDIRECT + "?")
        return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}

    def exchange(self, code: str, **form: Any) -> tuple[int, Any]:
        sent = {"code": code, "redirect_uri": REDIRECT, "code_verifier": self.verifier} | form
        return self.idp.token(grant_type="authorization_code", **sent)

    def tokens(self) -> Any:
        status, tokens = self.exchange(self.answer()["code"], resource=self.resource)
        assert status == 200
        return tokens


@pytest.fixture
def idp() -> Iterator[Idp]:
    with Child("the identity provider", "acp_stdio.demo.idp", "--until-eof", env=ENVIRONMENT) as child:
        yield Idp(**child.facts())


def test_discovery_is_valid_and_promises_s256_and_iss(idp: Idp) -> None:
    status, found = call(f"{idp.issuer}/.well-known/openid-configuration")
    assert status == 200
    assert call(f"{idp.issuer}/.well-known/oauth-authorization-server") == (200, found)
    assert found["issuer"] == idp.issuer
    assert found["code_challenge_methods_supported"] == ["S256"]
    assert found["authorization_response_iss_parameter_supported"] is True
    for document in (AuthorizationServerMetadata, OpenIDProviderMetadata):
        document(found).validate()


def test_a_sign_in_gives_a_token_for_the_resource_that_was_asked_for(idp: Idp) -> None:
    sign_in = SignIn(idp)
    answer = sign_in.answer()
    assert (answer["iss"], answer["state"]) == (idp.issuer, sign_in.state)
    status, tokens = sign_in.exchange(answer["code"], resource=sign_in.resource)
    assert status == 200
    keys = jwt.PyJWKSet.from_dict(call(f"{idp.issuer}/jwks")[1])
    header = jwt.get_unverified_header(tokens["access_token"])
    claims = jwt.decode(
        tokens["access_token"], keys[header["kid"]], ["RS256"], audience=sign_in.resource, issuer=idp.issuer
    )
    assert header["typ"] == "at+jwt"
    assert (claims["sub"], claims["email"], claims["groups"]) == (SARAH.sub, SARAH.email, ["accounting"])
    assert claims["client_id"] == CLIENT_ID
    assert "finance.read" in claims["scope"].split()
    person = jwt.decode(tokens["id_token"], keys[header["kid"]], ["RS256"], audience=CLIENT_ID, issuer=idp.issuer)
    assert (person["nonce"], person["email"]) == (sign_in.nonce, SARAH.email)


@pytest.mark.parametrize(
    "changes", [{"code_challenge": ""}, {"code_challenge_method": "plain"}, {"code_challenge_method": ""}]
)
def test_without_pkce_s256_nobody_gets_a_sign_in_page(idp: Idp, changes: dict[str, str]) -> None:
    status, location, _ = Human().send(SignIn(idp, changes=changes).url)
    answer = parse_qs(urlsplit(location).query)
    assert (status, answer["error"], answer["iss"]) == (302, ["invalid_request"], [idp.issuer])


def test_a_code_is_worth_nothing_without_its_verifier(idp: Idp) -> None:
    sign_in = SignIn(idp)
    code = sign_in.answer()["code"]
    assert sign_in.exchange(code, code_verifier=secrets.token_urlsafe(48))[1]["error"] == "invalid_grant"
    assert sign_in.exchange(code)[0] == 200


def test_a_code_used_twice_ends_what_its_first_use_gave(idp: Idp) -> None:
    sign_in = SignIn(idp)
    code = sign_in.answer()["code"]
    tokens = sign_in.exchange(code)[1]
    assert sign_in.exchange(code)[1]["error"] == "invalid_grant"
    assert idp.refresh(tokens["refresh_token"])[1]["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uri": "http://127.0.0.1:49152/elsewhere"},
        {"redirect_uri": "https://evil.example/callback"},
        {"client_id": "somebody-else"},
    ],
)
def test_an_unknown_client_or_way_back_is_told_on_the_page_and_never_redirected(
    idp: Idp, changes: dict[str, str]
) -> None:
    status, location, body = Human().send(SignIn(idp, changes=changes).url)
    assert (status, location) == (400, "")
    assert "This request is not right" in body


def test_a_resource_elsewhere_is_an_invalid_target(idp: Idp) -> None:
    _, location, _ = Human().send(SignIn(idp, changes={"resource": "https://elsewhere.example/mcp"}).url)
    assert parse_qs(urlsplit(location).query)["error"] == ["invalid_target"]


def test_a_refused_resource_does_not_burn_the_refresh_token(idp: Idp) -> None:
    tokens = SignIn(idp).tokens()
    refused = idp.refresh(tokens["refresh_token"], resource="http://127.0.0.1:2/mcp")
    assert refused[1]["error"] == "invalid_target"
    assert idp.refresh(tokens["refresh_token"])[0] == 200


def test_cancel_goes_back_as_access_denied(idp: Idp) -> None:
    answer = SignIn(idp).answer(button="refuse")
    assert (answer["error"], answer["iss"]) == ("access_denied", idp.issuer)


def test_a_wrong_password_stays_on_the_page(idp: Idp) -> None:
    status, location, body = Human().sign_in(SignIn(idp).url, "sarah", "guess")
    assert (status, location) == (403, "")
    assert "do not match" in body


def test_a_form_from_elsewhere_is_refused(idp: Idp) -> None:
    form = {"account": "sarah", "password": SARAH.password, "answer": "sign-in", "csrf": "made-up"}
    assert Human().send(SignIn(idp).url, form)[:2] == (403, "")


def test_each_refresh_token_works_once_and_its_second_use_ends_the_family(idp: Idp) -> None:
    first = SignIn(idp).tokens()["refresh_token"]
    second = idp.refresh(first)[1]["refresh_token"]
    third = idp.refresh(second)[1]["refresh_token"]
    assert len({first, second, third}) == 3
    assert idp.refresh(first)[1]["error"] == "invalid_grant"
    assert idp.refresh(third)[1]["error"] == "invalid_grant"


def test_no_refresh_token_without_offline_access(idp: Idp) -> None:
    tokens = SignIn(idp, changes={"scope": "openid finance.read"}).tokens()
    assert "refresh_token" not in tokens


def test_revocation_ends_the_family(idp: Idp) -> None:
    first = SignIn(idp).tokens()["refresh_token"]
    second = idp.refresh(first)[1]["refresh_token"]
    form = {"client_id": CLIENT_ID, "token": second, "token_type_hint": "refresh_token"}
    assert call(f"{idp.issuer}/revoke", form)[0] == 200
    assert idp.refresh(second)[1]["error"] == "invalid_grant"


def test_a_disabled_person_can_neither_go_on_nor_come_back(idp: Idp) -> None:
    sarah, intern = SignIn(idp).tokens(), SignIn(idp, "intern").tokens()
    assert idp.disable("sarah", "wrong key") == 401
    assert idp.disable("nobody") == 404
    assert idp.disable("sarah") == 200
    assert idp.refresh(sarah["refresh_token"])[1]["error"] == "invalid_grant"
    assert Human().sign_in(SignIn(idp).url, "sarah", SARAH.password)[0] == 403
    assert idp.refresh(intern["refresh_token"])[0] == 200


def test_a_device_gets_its_tokens_once_its_person_agreed(idp: Idp) -> None:
    resource = "http://127.0.0.1:1/mcp"
    ask = {"client_id": CLIENT_ID, "scope": "openid offline_access finance.read", "resource": resource}
    status, device = call(f"{idp.issuer}/device/start", ask)
    assert status == 200
    poll = {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "device_code": device["device_code"],
    }
    assert idp.token(**poll)[1]["error"] == "authorization_pending"
    assert idp.token(**poll)[1]["error"] == "slow_down"
    page = device["verification_uri_complete"]
    assert Human().sign_in(page, "intern", INTERN.password, code=device["user_code"].lower())[0] == 200
    status, tokens = idp.token(**poll)
    assert status == 200
    assert jwt.decode(tokens["access_token"], options={"verify_signature": False})["aud"] == resource
    assert idp.token(**poll)[0] == 400


def test_a_device_that_its_person_refused_is_told_so(idp: Idp) -> None:
    device = call(f"{idp.issuer}/device/start", {"client_id": CLIENT_ID, "scope": "openid"})[1]
    Human().sign_in(device["verification_uri"], "sarah", "", "refuse", code=device["user_code"])
    poll = {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "device_code": device["device_code"],
    }
    assert idp.token(**poll)[1]["error"] == "access_denied"


@dataclass
class Answer:
    refused: bool
    text: str


def ask(
    url: str, bearer: str, tool: str, *, mode: Any = "legacy", agent: str = "claude-ai", **arguments: str
) -> Answer:
    """One tool call with the SDK's client."""

    async def go() -> Answer:
        headers = {"Authorization": f"Bearer {bearer}", "X-Request-Id": "r-1"}
        async with create_mcp_http_client(headers) as http:
            transport = streamable_http_client(url, http_client=http)
            async with Client(transport, mode=mode, client_info=Implementation(name=agent, version="0.1.0")) as client:
                result = await client.call_tool(tool, arguments)
                return Answer(
                    bool(result.is_error),
                    " ".join(part.text for part in result.content if part.type == "text"),
                )

    return anyio.run(go)


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
def test_with_a_shared_key_everybody_is_the_same_and_may_do_everything(mode: str) -> None:
    with Child("finance", "acp_stdio.demo.finance", "--api-key", "--until-eof", env=ENVIRONMENT) as child:
        facts = child.facts()
        assert call(facts["url"], {})[0] == 401
        assert "612,000" in ask(facts["url"], facts["api_key"], "salary", mode=mode, person="ceo").text
        line = child.line(15)
    assert "user=service-account-mcp-gateway sub=service-account-mcp-gateway" in line
    assert "agent=claude-ai/0.1.0 tool=salary request=r-1 outcome=ok" in line


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
def test_with_personal_tokens_the_log_names_the_person_and_the_backend_decides(idp: Idp, mode: str) -> None:
    with Child("finance", "acp_stdio.demo.finance", "--issuer", idp.issuer, "--until-eof", env=ENVIRONMENT) as child:
        url = child.facts()["url"]
        sarah = SignIn(idp, "sarah", url).tokens()["access_token"]
        intern = SignIn(idp, "intern", url).tokens()["access_token"]
        assert "profit" in ask(url, sarah, "quarterly_report", mode=mode, quarter="Q3").text
        refused = ask(url, intern, "salary", mode=mode, person="ceo")
        first, second = child.line(15), child.line(15)
    assert refused == Answer(True, "intern@acme.example may not read the CEO's pay")
    assert f"user=sarah@acme.example sub={SARAH.sub} agent=claude-ai/0.1.0 tool=quarterly_report" in first
    assert first.endswith("outcome=ok")
    assert "user=intern@acme.example" in second
    assert second.endswith("outcome=denied")


def test_only_an_access_token_of_this_issuer_for_this_server_gets_in(idp: Idp) -> None:
    with Child("finance", "acp_stdio.demo.finance", "--issuer", idp.issuer, "--until-eof", env=ENVIRONMENT) as child:
        url = child.facts()["url"]
        mine = SignIn(idp, "sarah", url).tokens()
        for_another = SignIn(idp, "sarah", "http://127.0.0.1:1/mcp").tokens()["access_token"]
        unscoped = SignIn(idp, "sarah", url, changes={"scope": "openid"}).tokens()["access_token"]
        claims = jwt.decode(mine["access_token"], options={"verify_signature": False})
        kid = jwt.get_unverified_header(mine["access_token"])["kid"]
        forged = jwt.encode(claims, secrets.token_bytes(64), "HS256", {"kid": kid, "typ": "at+jwt"})
        unsigned = jwt.encode(claims, "", "none", {"kid": kid, "typ": "at+jwt"})
        for stranger in (for_another, mine["id_token"], forged, unsigned, "rubbish", ""):
            assert call(url, {}, stranger)[0] == 401
        assert call(url, {}, unscoped)[0] == 403
        assert call(url, {}, mine["access_token"])[0] not in (401, 403)
        where = f"{url.removesuffix('/mcp')}/.well-known/oauth-protected-resource/mcp"
        status, found = call(where)
        assert (status, found["resource"], found["authorization_servers"]) == (200, url, [idp.issuer])


def test_an_expired_token_no_longer_gets_in() -> None:
    with Child("idp", "acp_stdio.demo.idp", "--access-seconds", "1", "--until-eof", env=ENVIRONMENT) as provider:
        idp = Idp(**provider.facts())
        with Child(
            "finance", "acp_stdio.demo.finance", "--issuer", idp.issuer, "--until-eof", env=ENVIRONMENT
        ) as child:
            url = child.facts()["url"]
            token = SignIn(idp, "sarah", url).tokens()["access_token"]
            deadline = time.monotonic() + 30
            while (status := call(url, {}, token)[0]) != 401 and time.monotonic() < deadline:
                time.sleep(0.1)
            assert status == 401


def test_an_agent_with_a_newline_in_its_name_writes_one_line_only() -> None:
    evil = "claude\n2026-11-23T00:00:00Z user=ceo@acme.example outcome=ok"
    with Child("finance", "acp_stdio.demo.finance", "--api-key", "--until-eof", env=ENVIRONMENT) as child:
        facts = child.facts()
        ask(facts["url"], facts["api_key"], "salary", agent=evil, person="ceo")
        ask(facts["url"], facts["api_key"], "salary", person="ceo")
        first, second = child.line(15), child.line(15)
    assert "user=ceo" not in first
    assert "agent=claude-ai/0.1.0" in second


def test_servers_end_when_their_parent_lets_go() -> None:
    child = Child("finance", "acp_stdio.demo.finance", "--api-key", "--until-eof", env=ENVIRONMENT)
    child.facts()
    child.close()
    with pytest.raises(OSError, match="No such process"):
        os.kill(child.pid, 0)
