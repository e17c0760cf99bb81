"""Each preset, from the configuration file over the sign-in to a proven token, against a provider with its quirks."""

from collections.abc import Callable

import pytest

from acp_stdio.errors import Failure
from acp_stdio.tokens.context import open_context
from acp_stdio.tokens.logout import sign_out
from tests.kit.person import Start
from tests.kit.scripted_idp import ScriptedIdp
from tests.kit.scripted_presets import Auth0Idp, CognitoIdp, GoogleIdp, KeycloakIdp, OktaIdp, PingIdp

API = "https://finance.example.com"


def refused(attempt: Callable[[], object]) -> Failure:
    with pytest.raises(Failure) as caught:
        attempt()
    return caught.value


OKTA = 'audience = "api://finance"\nscopes = ["finance.read"]'
AUTH0 = f'audience = "{API}/"\nscopes = ["finance.read"]'
KEYCLOAK = 'audience = "finance-api"\nscopes = ["finance"]'
COGNITO = f'scopes = ["{API}/read"]'
PING = f'audience = "{API}"\nscopes = ["finance.read"]'


@pytest.mark.parametrize(
    ("make", "preset", "lines", "label", "audience"),
    [
        (OktaIdp, "okta", OKTA, "alice@example.com", "api://finance"),
        (lambda: Auth0Idp(apis={f"{API}/"}), "auth0", AUTH0, "alice@example.com", f"{API}/"),
        (KeycloakIdp, "keycloak", KEYCLOAK, "alice@example.com", "finance-api"),
        (CognitoIdp, "cognito", COGNITO, "alice@example.com", None),
        (PingIdp, "ping", PING, "alice@example.com", API),
    ],
    ids=["okta", "auth0", "keycloak", "cognito", "ping"],
)
def test_a_preset_signs_in_and_brings_proven_tokens_as_often_as_asked(
    start: Start, make: Callable[[], ScriptedIdp], preset: str, lines: str, label: str, audience: str | None
) -> None:
    with make() as idp:
        person = start(idp, preset, lines=lines)
        account = person.sign_in()
        assert account.label == label
        first, second = person.token(), person.token()
        assert first.value != second.value
        for token in (first, second):
            found = token.claims.get("aud")
            assert audience == found if found is None or isinstance(found, str) else audience in found
            assert "format" not in token.claims
        (authorize,) = person.asked("/authorize")
        assert authorize["code_challenge_method"] == "S256"
        assert "prompt" not in authorize
        assert all("resource" not in form for _, form in idp.requests)
        report = sign_out(open_context(person.settings, may_prompt=False))
        assert (report.revocation, report.deleted) == ("revoked", True)


@pytest.mark.parametrize(
    ("make", "preset", "lines"),
    [
        (OktaIdp, "okta", OKTA),
        (lambda: Auth0Idp(apis={f"{API}/"}), "auth0", AUTH0),
        (KeycloakIdp, "keycloak", KEYCLOAK),
        (CognitoIdp, "cognito", COGNITO),
        (PingIdp, "ping", PING),
    ],
    ids=["okta", "auth0", "keycloak", "cognito", "ping"],
)
def test_a_token_of_somebody_else_or_of_another_issuer_is_never_sent(
    start: Start, make: Callable[[], ScriptedIdp], preset: str, lines: str
) -> None:
    with make() as idp:
        person = start(idp, preset, lines=lines)
        person.sign_in()
        idp.token_user = "mallory"
        assert refused(person.token).reason == "denied"
        idp.token_user = ""
        idp.forge_access_token = "wrong_iss"
        assert refused(person.token).reason == "wrong_audience"
        idp.forge_access_token = None
        assert person.token().upstream == "finance"


def test_oktas_org_authorization_server_is_refused_before_anybody_signs_in(start: Start) -> None:
    with OktaIdp() as idp:
        person = start(idp, "okta", lines=OKTA)
        person.machine.issuer = idp.origin
        person.machine.configure()
        said = refused(person.sign_in)
        assert said.reason == "configuration_invalid"
        assert "org authorization server" in said.message
        assert "/oauth2/default" in said.message
        assert idp.requests == []


def test_a_missing_policy_of_okta_is_said_as_one(start: Start) -> None:
    with OktaIdp(policy=frozenset({"openid"})) as idp:
        said = refused(start(idp, "okta", lines=OKTA).sign_in)
        assert (said.reason, "access policy" in said.message) == ("denied", True)
        assert "`scopes`" in said.advice


def test_auth0s_silent_default_audience_is_refused_and_nothing_is_sent(start: Start) -> None:
    """The sign-in was for one API; the upstream wants another, which the refresh token's policy does not name."""
    with Auth0Idp(apis={f"{API}/", "https://other.example.com/"}) as idp:
        person = start(idp, "auth0", lines=AUTH0)
        person.sign_in()
        person.machine.upstream_lines = 'audience = "https://other.example.com/"'
        person.machine.configure()
        said = refused(person.token)
        assert said.reason == "wrong_audience"
        assert f"{API}/" in said.message
        assert "https://other.example.com/" in said.message
        idp.policies.add("https://other.example.com/")
        assert "https://other.example.com/" in person.token().claims["aud"]


def test_an_api_that_auth0_does_not_have_is_said_with_the_setting(start: Start) -> None:
    with Auth0Idp() as idp:
        said = refused(start(idp, "auth0", lines=AUTH0).sign_in)
        assert said.reason == "configuration_invalid"
        assert f"Service not found: {API}/" in said.message
        assert "`audience`" in said.advice


def test_an_auth0_issuer_without_its_slash_is_refused(start: Start) -> None:
    with Auth0Idp() as idp:
        person = start(idp, "auth0", lines=AUTH0)
        person.machine.issuer = idp.origin
        person.machine.configure()
        assert "must end with /" in refused(person.sign_in).message


def test_a_keycloak_scope_without_an_audience_mapper_brings_no_usable_token(start: Start) -> None:
    with KeycloakIdp() as idp:
        person = start(idp, "keycloak", lines='audience = "finance-api"\nscopes = ["payroll"]')
        person.sign_in()
        said = refused(person.token)
        assert (said.reason, "it is for account" in said.message) == ("wrong_audience", True)


def test_keycloak_without_the_offline_role_is_said_and_works_without_that_scope(start: Start) -> None:
    with KeycloakIdp(offline_role=False) as idp:
        person = start(idp, "keycloak", lines=KEYCLOAK)
        said = refused(person.sign_in)
        assert (said.reason, "offline_access" in said.advice) == ("denied", True)
        person.machine.identity += '\nscopes = ["openid"]'
        person.machine.configure()
        assert person.sign_in().label == "alice@example.com"
        assert "finance-api" in person.token().claims["aud"]
        assert "offline_access" not in person.asked("/token")[-1]["scope"]


def test_auth0_is_asked_by_resource_where_the_settings_and_the_tenant_say_so(start: Start) -> None:
    with Auth0Idp(resource_profile=True) as idp:
        person = start(idp, "auth0", lines='token_request = "resource"')
        idp.apis.add(person.machine.upstream)
        person.sign_in()
        assert person.machine.upstream in person.token().claims["aud"]
        assert not any("audience" in form for _, form in idp.requests)


def test_keycloaks_experimental_resource_leaves_the_one_audience_that_was_asked_for(start: Start) -> None:
    with KeycloakIdp(resource_feature=True) as idp:
        person = start(idp, "keycloak", lines='token_request = "resource"\nscopes = ["finance"]')
        idp.mapped = (person.machine.upstream, "account", "https://other.example.com")
        person.sign_in()
        assert person.token().claims["aud"] == [person.machine.upstream]
        idp.mapped = ("https://other.example.com",)
        said = refused(person.token)
        assert (said.reason, "it is for" in said.message) == ("wrong_audience", True)


def test_a_custom_domain_of_cognito_is_written_and_its_issuer_stays_the_user_pool(start: Start) -> None:
    with CognitoIdp(published_domain="http://127.0.0.1:9/oauth2") as idp:
        names = {"authorization": "authorize", "token": "token", "revocation": "revoke"}
        own = ", ".join(f'{name} = "{idp.domain}/{path}"' for name, path in names.items())
        person = start(idp, "cognito", lines=COGNITO, identity=f"endpoints = {{ {own} }}")
        assert person.sign_in().issuer == idp.issuer
        assert person.token().claims["iss"] == idp.issuer
        report = sign_out(open_context(person.settings, may_prompt=False))
        assert (report.revocation, report.deleted) == ("revoked", True)


@pytest.mark.parametrize("fault", ["scope", "kind"])
def test_a_cognito_token_without_its_scope_or_of_another_kind_is_not_sent(start: Start, fault: str) -> None:
    with CognitoIdp() as idp:
        person = start(idp, "cognito", lines=COGNITO)
        person.sign_in()
        if fault == "scope":
            idp.drops_scope = f"{API}/read"
        else:
            idp.token_use = "id"
        said = refused(person.token)
        assert said.reason == "wrong_audience"
        assert "it has no aud" in said.message


def test_cognito_without_a_scope_of_a_resource_server_could_not_be_told_apart(start: Start) -> None:
    with CognitoIdp() as idp:
        said = refused(start(idp, "cognito").sign_in)
        assert said.reason == "configuration_invalid"
        assert "resource server" in said.message
        assert idp.requests == []


def test_a_token_without_an_audience_is_refused_everywhere_but_at_cognito(start: Start) -> None:
    with CognitoIdp() as idp:
        person = start(idp, "ping", lines=COGNITO)
        person.sign_in()
        said = refused(person.token)
        assert (said.reason, "it has no aud" in said.message) == ("wrong_audience", True)


GOOGLE = 'token_format = "id_token"'


@pytest.mark.parametrize("old_issuer", [False, True])
def test_google_brings_a_new_id_token_with_each_refresh(start: Start, old_issuer: bool) -> None:
    with GoogleIdp(old_issuer=old_issuer) as idp:
        person = start(idp, "google", identity='require_account = { hd = "example.com" }', lines=GOOGLE)
        account = person.sign_in()
        assert (account.label, account.tenant) == ("alice@example.com", "example.com")
        (authorize,) = person.asked("/authorize")
        assert (authorize["access_type"], authorize["prompt"], authorize["hd"]) == ("offline", "consent", "example.com")
        assert "offline_access" not in authorize["scope"]
        token = person.token()
        assert token.claims["format"] == "id_token"
        assert token.claims["aud"] == idp.client_id
        assert token.expires_at <= token.issued_at + idp.access_ttl
        assert token.value.reveal().count(".") == 2


def test_googles_refresh_without_an_id_token_sends_nothing_in_its_place(start: Start) -> None:
    with GoogleIdp(renews_id_token=False) as idp:
        person = start(idp, "google", lines=GOOGLE)
        person.sign_in()
        said = refused(person.token)
        assert (said.reason, "Nothing was sent." in said.message) == ("wrong_audience", True)


def test_an_id_token_that_the_server_would_not_take_is_not_sent(start: Start) -> None:
    with GoogleIdp() as idp:
        person = start(idp, "google", lines=f'{GOOGLE}\naudience = "/projects/1/global/backendServices/2"')
        person.sign_in()
        assert refused(person.token).reason == "wrong_audience"


def test_another_company_at_google_is_refused_and_its_tokens_are_given_back(start: Start) -> None:
    with GoogleIdp(domain="") as idp:
        person = start(idp, "google", identity='require_account = { hd = "example.com" }', lines=GOOGLE)
        said = refused(person.sign_in)
        assert (said.reason, "its hd is none" in said.message) == ("denied", True)
        assert person.asked("/revoke")


def test_googles_own_access_token_goes_out_only_where_the_settings_say_that_it_cannot_be_read(start: Start) -> None:
    with GoogleIdp() as idp:
        person = start(idp, "google")
        person.sign_in()
        assert "it is not a JWT" in refused(person.token).message
        person.machine.upstream_lines = 'token_format = "opaque"'
        person.machine.configure()
        token = person.token()
        assert token.claims["format"] == "opaque"
        assert token.origin == person.machine.upstream.removesuffix("/mcp")
        idp.forge_id_token = "other_account"  # what comes beside it may still tell whose it is
        assert refused(person.token).reason == "denied"


def test_a_secret_that_google_misses_is_said_with_the_setting(start: Start) -> None:
    with GoogleIdp() as idp:
        person = start(idp, "google", lines=GOOGLE)
        person.machine.identity = 'preset = "google"'
        person.machine.configure()
        said = refused(person.sign_in)
        assert said.reason == "configuration_invalid"
        assert "`client_secret_ref`" in said.advice
