"""Our half of OAuth against a certified OpenID provider over real HTTP."""

import base64
import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import pytest

from acp_stdio.errors import Failure
from acp_stdio.identity import claims
from acp_stdio.identity.model import Account
from acp_stdio.oauth import endpoint, http, keys, metadata, presets
from acp_stdio.oauth.endpoint import TokenError, TokenResponse
from acp_stdio.oauth.metadata import AuthorizationServer
from acp_stdio.secrets import Secret
from acp_stdio.settings.model import NetworkSettings
from tests.kit.human import sign_in
from tests.kit.oidc_provider import CLIENT_ID, OidcProvider, oidc_provider

pytestmark = pytest.mark.real

RESOURCE = "http://127.0.0.1:9/mcp"
REDIRECT = "http://127.0.0.1:9/callback"
NAMES = claims.ClaimNames()
Refresh = Callable[[Secret | None], TokenResponse]


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A person's fresh grant and the pieces needed to use it."""

    server: AuthorizationServer
    client: httpx2.Client
    response: TokenResponse
    nonce: str

    def refresh(self, token: Secret | None, **params: str) -> TokenResponse:
        assert token is not None
        wanted = params or {"resource": RESOURCE}
        return endpoint.refresh(self.server, self.client, client_id=CLIENT_ID, refresh_token=token, params=wanted)

    def account(self) -> Account:
        assert self.response.id_token is not None
        found = claims.verify_id_token(
            self.response.id_token,
            keys=keys.signing_keys(self.server.jwks_uri, self.client, self.response.id_token),
            issuers=self.server.token_issuers,
            client_id=CLIENT_ID,
            nonce=self.nonce,
            now=time.time(),
            leeway=60.0,
            algorithms=self.server.signing_algorithms,
            access_token=self.response.access_token,
        )
        return claims.account_from_claims(found, NAMES)


@pytest.fixture(scope="module")
def provider() -> Iterator[OidcProvider]:
    with oidc_provider(resources=[RESOURCE]) as running:
        yield running


@pytest.fixture
def client() -> Iterator[httpx2.Client]:
    with http.open_client(NetworkSettings()) as opened:
        yield opened


def enter(provider: OidcProvider, client: httpx2.Client, user: str) -> SignedIn:
    """Signs `user` in with the code flow, without the product's login."""
    server = metadata.discover(provider.issuer, presets.GENERIC, client)
    verifier, nonce = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
    digest = hashlib.sha256(verifier.encode()).digest()
    query = {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": REDIRECT,
        "scope": "openid offline_access finance.read",
        "resource": RESOURCE,
        "prompt": "consent",
        "nonce": nonce,
        "state": "s",
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    arrived = sign_in(f"{server.authorization_endpoint}?{urlencode(query)}", user, stop_at=REDIRECT)
    answer = parse_qs(urlsplit(arrived.url).query)
    assert answer["iss"] == [provider.issuer]
    form = {
        "grant_type": "authorization_code",
        "client_id": CLIENT_ID,
        "redirect_uri": REDIRECT,
        "code": answer["code"][0],
        "code_verifier": verifier,
        "resource": RESOURCE,
    }
    return SignedIn(server, client, endpoint.request_token(server, client, form), nonce)


def kind_of(attempt: Callable[[], object]) -> str:
    with pytest.raises(TokenError) as caught:
        attempt()
    return caught.value.kind


def test_discovery_finds_what_the_provider_can_do(provider: OidcProvider, client: httpx2.Client) -> None:
    server = metadata.discover(provider.issuer, presets.GENERIC, client)
    assert server.issuer == provider.issuer
    assert server.iss_parameter_supported
    assert "S256" in server.pkce_methods
    assert server.device_authorization_endpoint
    assert server.revocation_endpoint
    assert server.deviations == ()


def test_the_id_token_says_who_signed_in(provider: OidcProvider, client: httpx2.Client) -> None:
    account = enter(provider, client, "alice").account()
    assert (account.sub, account.email, account.label) == ("alice", "alice@example.com", "alice@example.com")
    assert account.issuer == provider.issuer


def test_the_access_token_is_proven_for_its_resource_and_no_other(
    provider: OidcProvider, client: httpx2.Client
) -> None:
    signed_in = enter(provider, client, "alice")
    account, token = signed_in.account(), signed_in.response.access_token

    def verify(audience: str, person: Account) -> dict[str, object]:
        return claims.verify_access_token(
            token,
            keys=keys.signing_keys(signed_in.server.jwks_uri, client, token),
            issuers=signed_in.server.token_issuers,
            audiences=[audience],
            account=person,
            names=NAMES,
            client_id=CLIENT_ID,
            now=time.time(),
            leeway=60.0,
        )

    assert verify(RESOURCE, account)["sub"] == "alice"
    with pytest.raises(Failure) as elsewhere:
        verify(f"{RESOURCE}/", account)
    assert elsewhere.value.reason == "wrong_audience"
    with pytest.raises(Failure) as somebody:
        verify(RESOURCE, enter(provider, client, "bob").account())
    assert somebody.value.reason == "denied"


def test_a_refresh_brings_a_new_refresh_token_and_a_token_for_the_resource(
    provider: OidcProvider, client: httpx2.Client
) -> None:
    signed_in = enter(provider, client, "alice")
    first = signed_in.refresh(signed_in.response.refresh_token)
    assert first.refresh_token not in (None, signed_in.response.refresh_token)
    assert first.access_token != signed_in.response.access_token
    assert first.expires_in == 300
    assert signed_in.refresh(first.refresh_token).refresh_token != first.refresh_token


def test_a_refresh_token_spent_twice_kills_its_successor_too(provider: OidcProvider, client: httpx2.Client) -> None:
    signed_in = enter(provider, client, "alice")
    winner = signed_in.refresh(signed_in.response.refresh_token)
    assert kind_of(lambda: signed_in.refresh(signed_in.response.refresh_token)) == "invalid_grant"
    assert kind_of(lambda: signed_in.refresh(winner.refresh_token)) == "invalid_grant"


def test_two_refreshes_at_the_same_moment_end_the_session(provider: OidcProvider, client: httpx2.Client) -> None:
    signed_in = enter(provider, client, "alice")
    provider.fault("/token", "hold", times=2)
    before = len(provider.log())
    outcomes: list[str] = []

    def one() -> None:
        try:
            signed_in.refresh(signed_in.response.refresh_token)
            outcomes.append("ok")
        except TokenError as error:
            outcomes.append(error.kind)

    both = [threading.Thread(target=one) for _ in range(2)]
    for thread in both:
        thread.start()
    deadline = time.monotonic() + 15
    while len(provider.log()) < before + 2 and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    provider.release()
    for thread in both:
        thread.join(30)
    assert sorted(outcomes) == ["invalid_grant", "ok"]


def test_a_disabled_person_is_an_invalid_grant(provider: OidcProvider, client: httpx2.Client) -> None:
    signed_in = enter(provider, client, "carol")
    provider.disable("carol")
    try:
        assert kind_of(lambda: signed_in.refresh(signed_in.response.refresh_token)) == "invalid_grant"
    finally:
        provider.enable("carol")


def test_a_provider_in_trouble_leaves_the_refresh_token_good(provider: OidcProvider, client: httpx2.Client) -> None:
    signed_in = enter(provider, client, "alice")
    provider.fault("/token", "503")
    assert kind_of(lambda: signed_in.refresh(signed_in.response.refresh_token)) == "transient"
    assert signed_in.refresh(signed_in.response.refresh_token).refresh_token


def test_a_connection_broken_before_the_work_looks_lost_but_the_token_is_good(
    provider: OidcProvider, client: httpx2.Client
) -> None:
    signed_in = enter(provider, client, "alice")
    provider.fault("/token", "drop-before")
    assert kind_of(lambda: signed_in.refresh(signed_in.response.refresh_token)) == "answer_lost"
    assert signed_in.refresh(signed_in.response.refresh_token).refresh_token


def test_a_connection_broken_after_the_work_has_spent_the_token(provider: OidcProvider, client: httpx2.Client) -> None:
    signed_in = enter(provider, client, "alice")
    provider.fault("/token", "drop-after")
    assert kind_of(lambda: signed_in.refresh(signed_in.response.refresh_token)) == "answer_lost"
    assert kind_of(lambda: signed_in.refresh(signed_in.response.refresh_token)) == "invalid_grant"


def test_a_provider_that_is_gone_was_sent_nothing(client: httpx2.Client) -> None:
    with oidc_provider(resources=[RESOURCE]) as running:
        signed_in = enter(running, client, "alice")
        running.stop()
        assert kind_of(lambda: signed_in.refresh(signed_in.response.refresh_token)) == "unsent"
        with pytest.raises(Failure) as caught:
            metadata.discover(running.issuer, presets.GENERIC, client)
    assert caught.value.reason == "idp_unreachable"


def test_an_unknown_resource_is_a_configuration_error_and_burns_the_token(
    provider: OidcProvider, client: httpx2.Client
) -> None:
    signed_in = enter(provider, client, "alice")
    with pytest.raises(TokenError) as caught:
        signed_in.refresh(signed_in.response.refresh_token, resource="http://127.0.0.1:9/other")
    assert (caught.value.kind, caught.value.error) == ("misconfigured", "invalid_target")
    assert caught.value.failure().reason == "configuration_invalid"
    assert kind_of(lambda: signed_in.refresh(signed_in.response.refresh_token)) == "invalid_grant"


def test_revocation_ends_the_grant(provider: OidcProvider, client: httpx2.Client) -> None:
    signed_in = enter(provider, client, "alice")
    token = signed_in.response.refresh_token
    assert token is not None
    done = endpoint.revoke(signed_in.server, client, client_id=CLIENT_ID, token=token, hint="refresh_token")
    assert done == "revoked"
    assert kind_of(lambda: signed_in.refresh(token)) == "invalid_grant"


def test_a_revocation_that_did_not_arrive_is_said(provider: OidcProvider, client: httpx2.Client) -> None:
    signed_in = enter(provider, client, "alice")
    token = signed_in.response.refresh_token
    assert token is not None
    path = urlsplit(signed_in.server.revocation_endpoint or "").path
    provider.fault(path, "503")
    done = endpoint.revoke(signed_in.server, client, client_id=CLIENT_ID, token=token, hint="refresh_token")
    assert done == "failed"
    assert signed_in.refresh(token).refresh_token


def test_a_person_who_says_no_sends_back_no_code(provider: OidcProvider, client: httpx2.Client) -> None:
    server = metadata.discover(provider.issuer, presets.GENERIC, client)
    query = {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": REDIRECT,
        "scope": "openid",
        "code_challenge": "x" * 43,
        "code_challenge_method": "S256",
    }
    url = f"{server.authorization_endpoint}?{urlencode(query)}"
    answer = parse_qs(urlsplit(sign_in(url, "bob", decline=True, stop_at=REDIRECT).url).query)
    assert answer["error"] == ["access_denied"]
    assert "code" not in answer


def test_the_person_confirms_a_device(provider: OidcProvider, client: httpx2.Client) -> None:
    server = metadata.discover(provider.issuer, presets.GENERIC, client)
    assert server.device_authorization_endpoint is not None
    form = {"client_id": CLIENT_ID, "scope": "openid offline_access", "resource": RESOURCE}
    started = http.send(client, "POST", server.device_authorization_endpoint, form).json_object()
    assert started is not None
    poll = {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "client_id": CLIENT_ID,
        "device_code": started["device_code"],
        "resource": RESOURCE,
    }
    with pytest.raises(TokenError) as caught:
        endpoint.request_token(server, client, poll)
    assert caught.value.error == "authorization_pending"
    page = sign_in(started["verification_uri"], "bob", user_code=started["user_code"])
    assert page.status == 200
    assert endpoint.request_token(server, client, poll).refresh_token is not None


def test_every_token_issued_is_on_the_list_for_the_leak_search(provider: OidcProvider, client: httpx2.Client) -> None:
    signed_in = enter(provider, client, "alice")
    later = signed_in.refresh(signed_in.response.refresh_token)
    issued = provider.issued()
    for secret in (signed_in.response.access_token, later.access_token, later.refresh_token, later.id_token):
        assert secret is not None
        assert secret.reveal() in issued
