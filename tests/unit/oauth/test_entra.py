"""`preset = "entra"` against a scripted Entra, and every lie that a scripted provider can tell."""

import base64
import hashlib
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, get_args
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import pytest

from acp_stdio.errors import Failure
from acp_stdio.identity import claims
from acp_stdio.identity.model import Account
from acp_stdio.oauth import asking, endpoint, presets
from acp_stdio.oauth.endpoint import TokenError, TokenResponse
from acp_stdio.oauth.http import open_client
from acp_stdio.oauth.keys import signing_keys
from acp_stdio.oauth.metadata import AuthorizationServer, discover
from acp_stdio.secrets import Secret
from acp_stdio.settings.model import NetworkSettings, UpstreamSettings
from acp_stdio.settings.presets import identity_defaults
from tests.kit.human import sign_in
from tests.kit.scripted_entra import APP, TENANT, EntraIdp
from tests.kit.scripted_idp import ScriptedIdp, TokenLie

URL = "http://127.0.0.1:9/mcp"
REDIRECT = "http://localhost:9/callback"
FINANCE = UpstreamSettings("finance", URL, scopes=(f"api://{APP}/mcp.read",))
OWN_SCOPES = "openid profile offline_access"
LIES = frozenset[TokenLie](get_args(TokenLie)) - {"bound_elsewhere"}
"""What a token is bound to is looked at where it is attached."""


@pytest.fixture
def client() -> Iterator[httpx2.Client]:
    with open_client(NetworkSettings()) as opened:
        yield opened


@pytest.fixture
def entra() -> Iterator[EntraIdp]:
    with EntraIdp() as idp:
        yield idp


class Attempt:
    """One sign-in at a scripted provider, by hand and without the product's login."""

    def __init__(self, idp: ScriptedIdp, client: httpx2.Client) -> None:
        self.idp, self.client = idp, client
        defaults = identity_defaults("entra" if isinstance(idp, EntraIdp) else "generic")
        self.identity = replace(defaults, issuer=idp.issuer, client_id=idp.client_id)
        self.preset = presets.preset_of(self.identity)
        self.server: AuthorizationServer = discover(idp.issuer, self.preset, client)
        self.nonce = secrets.token_urlsafe(8)

    def authorize(self, redirect: str = REDIRECT, **params: str) -> dict[str, list[str]]:
        self.redirect, self.verifier = redirect, secrets.token_urlsafe(48)
        digest = hashlib.sha256(self.verifier.encode()).digest()
        query = {
            "client_id": self.idp.client_id,
            "redirect_uri": redirect,
            "response_type": "code",
            "state": "s",
            "nonce": self.nonce,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            **params,
        }
        page = sign_in(f"{self.server.authorization_endpoint}?{urlencode(query)}", "alice", stop_at=redirect)
        return parse_qs(urlsplit(page.url).query) if page.status == 0 else {"status": [str(page.status)]}

    def enter(self) -> TokenResponse:
        wanted = asking.token_request_params(FINANCE, self.preset, URL)
        params = {"scope": f"{OWN_SCOPES} {FINANCE.scopes[0]}"}
        if "resource" in wanted:
            params |= {"resource": URL}
        code = self.authorize(**params)["code"][0]
        form = {
            **wanted,
            "grant_type": "authorization_code",
            "client_id": self.idp.client_id,
            "redirect_uri": self.redirect,
            "code": code,
            "code_verifier": self.verifier,
        }
        return endpoint.request_token(self.server, self.client, form)

    def refresh(self, token: Secret | None, params: dict[str, str]) -> TokenResponse:
        assert token is not None
        return endpoint.refresh(
            self.server, self.client, client_id=self.idp.client_id, refresh_token=token, params=params
        )

    def account(self, response: TokenResponse) -> Account:
        assert response.id_token is not None
        found = claims.verify_id_token(
            response.id_token,
            keys=signing_keys(self.server.jwks_uri, self.client, response.id_token),
            issuers=self.server.token_issuers,
            client_id=self.idp.client_id,
            nonce=self.nonce,
            now=time.time(),
            leeway=60.0,
            algorithms=self.server.signing_algorithms,
            access_token=response.access_token,
        )
        return claims.account_from_claims(found, presets.claim_names(self.identity))

    def prove(self, response: TokenResponse, account: Account) -> dict[str, Any]:
        return claims.verify_access_token(
            response.access_token,
            keys=signing_keys(self.server.jwks_uri, self.client, response.access_token),
            issuers=self.server.token_issuers,
            audiences=asking.expected_audiences(FINANCE, self.preset, URL),
            account=account,
            names=presets.claim_names(self.identity),
            client_id=self.idp.client_id,
            now=time.time(),
            leeway=60.0,
        )


def error_of(attempt: Callable[[], object]) -> TokenError:
    with pytest.raises(TokenError) as caught:
        attempt()
    return caught.value


@pytest.mark.parametrize("version", [1, 2])
def test_an_entra_sign_in_gives_a_proven_token_of_either_version(client: httpx2.Client, version: Any) -> None:
    with EntraIdp(token_version=version) as idp:
        attempt = Attempt(idp, client)
        response = attempt.enter()
        account = attempt.account(response)
        assert (account.key, account.label) == (f"{TENANT}/alice", "alice@example.com")
        assert account.tenant == TENANT
        first = attempt.prove(response, account)
        assert first["sub"] != account.sub  # pairwise
        params = asking.token_request_params(FINANCE, attempt.preset, URL)
        again = attempt.refresh(response.refresh_token, params)
        assert attempt.prove(again, account)["aud"] == (APP if version == 2 else f"api://{APP}")
        assert again.refresh_token is not None
        assert all("resource" not in form for _, form in idp.requests)


def test_entras_ways_are_named_as_deviations_and_refused_without_the_preset(
    entra: EntraIdp, client: httpx2.Client
) -> None:
    assert "PKCE" in " ".join(discover(entra.issuer, presets.ENTRA, client).deviations)
    with pytest.raises(Failure) as caught:
        discover(entra.issuer, presets.GENERIC, client)
    assert "PKCE" in caught.value.message


def test_entra_does_not_know_resource_or_bare_scopes(entra: EntraIdp, client: httpx2.Client) -> None:
    attempt = Attempt(entra, client)
    token = attempt.enter().refresh_token
    for params, said, error in (
        ({"resource": URL}, "AADSTS901002", "invalid_request"),
        ({"resource": URL, "scope": FINANCE.scopes[0]}, "AADSTS9010010", "invalid_target"),
        ({"scope": "mcp.read"}, "AADSTS650053", "invalid_client"),
        ({"scope": f"{FINANCE.scopes[0]} https://graph.microsoft.com/User.Read"}, "AADSTS28000", "invalid_scope"),
    ):
        found = error_of(lambda params=params: attempt.refresh(token, params))
        assert (found.kind, found.error) == ("misconfigured", error)
        assert said in found.message
        assert "\n" not in found.message
        assert attempt.authorize(**params)["error"] == [error]


def test_entra_wants_localhost(entra: EntraIdp, client: httpx2.Client) -> None:
    attempt = Attempt(entra, client)
    scope = f"openid {FINANCE.scopes[0]}"
    assert "code" in attempt.authorize("http://localhost:12345", scope=scope)
    assert attempt.authorize("http://127.0.0.1:12345/callback", scope=scope) == {"status": ["400"]}
    assert attempt.authorize("http://localhost:12345/elsewhere", scope=scope) == {"status": ["400"]}


def test_an_entra_token_without_a_resource_scope_is_graphs_and_refused(entra: EntraIdp, client: httpx2.Client) -> None:
    attempt = Attempt(entra, client)
    response = attempt.enter()
    foreign = attempt.refresh(response.refresh_token, {"scope": "openid"})
    with pytest.raises(Failure) as caught:
        attempt.prove(foreign, attempt.account(response))
    assert caught.value.reason == "wrong_audience"


def test_a_disabled_entra_user_is_an_invalid_grant_and_cannot_be_revoked_there(
    entra: EntraIdp, client: httpx2.Client
) -> None:
    attempt = Attempt(entra, client)
    token = attempt.enter().refresh_token
    assert token is not None
    entra.disabled.add("alice")
    params = asking.token_request_params(FINANCE, attempt.preset, URL)
    assert error_of(lambda: attempt.refresh(token, params)).kind == "invalid_grant"
    done = endpoint.revoke(attempt.server, client, client_id=entra.client_id, token=token, hint="refresh_token")
    assert done == "unsupported"


@pytest.mark.parametrize("personality", [ScriptedIdp, EntraIdp])
@pytest.mark.parametrize("lie", sorted(LIES - {"other_account"}))
def test_no_lie_in_an_id_token_is_believed(
    client: httpx2.Client, personality: type[ScriptedIdp], lie: TokenLie
) -> None:
    with personality(forge_id_token=lie) as idp:
        attempt = Attempt(idp, client)
        response = attempt.enter()
        with pytest.raises(Failure) as caught:
            attempt.account(response)
        assert caught.value.reason == ("denied" if lie == "bad_nonce" else "wrong_audience")
        assert not any(secret in caught.value.message for secret in idp.issued)


@pytest.mark.parametrize("personality", [ScriptedIdp, EntraIdp])
@pytest.mark.parametrize("lie", sorted(LIES - {"bad_nonce"}))
def test_no_lie_in_an_access_token_is_believed(
    client: httpx2.Client, personality: type[ScriptedIdp], lie: TokenLie
) -> None:
    with personality(forge_access_token=lie) as idp:
        attempt = Attempt(idp, client)
        response = attempt.enter()
        account = attempt.account(response)
        with pytest.raises(Failure) as caught:
            attempt.prove(response, account)
        assert caught.value.reason == ("denied" if lie == "other_account" else "wrong_audience")
        assert not any(secret in caught.value.message for secret in idp.issued)
