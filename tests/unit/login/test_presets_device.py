"""The device flow, provider by provider: who has it, and what those that refuse it or a scope mean."""

from collections.abc import Callable

import pytest

from acp_stdio.errors import Failure
from tests.kit.person import Person, Start
from tests.kit.scripted_idp import Refused, ScriptedIdp
from tests.kit.scripted_presets import Auth0Idp, CognitoIdp, GoogleIdp, KeycloakIdp, PingIdp

API = "https://finance.example.com"
DRIVE = "https://www.googleapis.com/auth/drive"


def refused(person: Person) -> Failure:
    with pytest.raises(Failure) as caught:
        person.sign_in(flow="device")
    assert caught.value.reason == "configuration_invalid"
    return caught.value


@pytest.mark.parametrize(
    ("make", "preset", "lines"),
    [
        (GoogleIdp, "google", 'token_format = "id_token"'),
        (KeycloakIdp, "keycloak", 'audience = "finance-api"\nscopes = ["finance"]'),
        (PingIdp, "ping", f'audience = "{API}"\nscopes = ["finance.read"]'),
        (lambda: Auth0Idp(apis={f"{API}/"}, default=f"{API}/"), "auth0", f'audience = "{API}/"'),
    ],
    ids=["google", "keycloak", "ping", "auth0"],
)
def test_a_code_on_another_device_signs_in_for_proven_tokens(
    start: Start, make: Callable[[], ScriptedIdp], preset: str, lines: str
) -> None:
    with make() as idp:
        person = start(idp, preset, lines=lines)
        assert person.sign_in(flow="device").label == "alice@example.com"
        assert any("ABCD-EFGH" in each and f"{idp.origin}/device" in each for each in person.told)
        assert person.token().upstream == "finance"


@pytest.mark.parametrize("preset", ["cognito", "generic"])
def test_a_provider_without_a_device_flow_is_said_with_the_way_out_and_asked_nothing(start: Start, preset: str) -> None:
    with CognitoIdp() as idp:
        person = start(idp, preset, lines=f'scopes = ["{API}/read"]', identity="allow_unadvertised_pkce = true")
        said = refused(person)
        assert "does not offer the device flow" in said.message
        assert "`acp-stdio login --paste`" in said.advice
        assert idp.requests == []


@pytest.mark.parametrize("scope", [f"{DRIVE}.file", "https://www.googleapis.com/auth/youtube.readonly"])
def test_google_takes_a_few_scopes_with_a_code(start: Start, scope: str) -> None:
    with GoogleIdp() as idp:
        person = start(idp, "google", lines=f'token_format = "id_token"\nscopes = ["{scope}"]')
        assert person.sign_in(flow="device").label == "alice@example.com"


def test_a_scope_that_google_takes_only_with_a_browser_is_said_in_one_sentence(start: Start) -> None:
    with GoogleIdp() as idp:
        person = start(idp, "google", lines=f'token_format = "id_token"\nscopes = ["{DRIVE}"]')
        said = refused(person)
        assert "Google allows only openid, email, profile" in said.message
        assert f"Invalid device flow scope: {DRIVE}" in said.message
        assert "`acp-stdio login --paste`" in said.advice
        assert person.sign_in().label == "alice@example.com"


def test_a_client_of_google_that_is_not_for_devices_is_said_with_the_way_out(start: Start) -> None:
    with GoogleIdp(for_devices=False) as idp:
        said = refused(start(idp, "google", lines='token_format = "id_token"'))
        assert "only for a client of its type for TVs" in said.message
        assert "`acp-stdio login --paste`" in said.advice


def test_a_scope_that_any_provider_refuses_with_a_code_may_be_one_for_browsers(start: Start) -> None:
    class Narrow(ScriptedIdp):
        def check_request(self, form: dict[str, str]) -> None:
            if "response_type" not in form and "grant_type" not in form:
                raise Refused("invalid_scope")

    with Narrow() as idp:
        said = refused(start(idp, "generic"))
        assert "(invalid_scope: no reason given)" in said.message
        assert "fewer scopes with a code" in said.advice
