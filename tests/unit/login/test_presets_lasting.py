"""How long a sign-in lasts at each provider, what is said of it, and what a renewal does to the refresh token."""

import threading
import time
from typing import Any

import pytest

from acp_stdio.errors import Failure
from acp_stdio.identity.model import Session
from acp_stdio.tokens.session_file import SessionFile
from tests.kit.person import Person, Start
from tests.kit.scripted_presets import Auth0Idp, CognitoIdp, GoogleIdp, KeycloakIdp

API = "https://finance.example.com"
KEYCLOAK = 'audience = "finance-api"\nscopes = ["finance"]'
COGNITO = f'scopes = ["{API}/read"]'


def session(person: Person) -> Session:
    found = SessionFile(person.settings.state_dir).read()
    assert found is not None
    return found


def ends_in(person: Person) -> float:
    """Seconds; 0 where the provider did not say when its refresh token ends."""
    end = session(person).refresh_expires_at
    return end - time.time() if end else 0.0


# --- Google


@pytest.mark.parametrize("flow", ["browser", "device"])
def test_google_in_testing_ends_a_sign_in_after_a_week_and_that_is_said(start: Start, flow: Any) -> None:
    with GoogleIdp(testing=True) as idp:
        person = start(idp, "google", lines='token_format = "id_token"')
        person.sign_in(flow=flow)
        assert [each for each in person.told if "while the consent screen is in Testing" in each] == [person.told[-1]]
        end = session(person).refresh_expires_at
        assert 6.9 * 86_400 < ends_in(person) <= 7 * 86_400
        person.token()
        assert session(person).refresh_expires_at == end, "a renewal brings no new refresh token, and moves nothing"


def test_google_in_production_says_no_end_and_nothing_is_said(start: Start) -> None:
    with GoogleIdp() as idp:
        person = start(idp, "google", lines='token_format = "id_token"')
        person.sign_in()
        assert ends_in(person) == 0
        assert not any("Testing" in each for each in person.told)


# --- Keycloak


def test_an_offline_session_of_keycloak_has_no_end_and_another_moves_with_each_renewal(start: Start) -> None:
    with KeycloakIdp() as idp:
        person = start(idp, "keycloak", lines=KEYCLOAK)
        person.sign_in()
        person.token()
        assert ends_in(person) == 0
        person.configure('scopes = ["openid"]')
        person.sign_in(force=True)
        first = session(person).refresh_expires_at
        assert 1700 < ends_in(person) <= 1800
        person.token()
        assert session(person).refresh_expires_at > first


def test_to_sign_in_again_does_not_end_the_new_sign_in_with_the_old_one(start: Start) -> None:
    """Keycloak ends every session that the client has of the person, whichever of their refresh tokens is revoked."""
    with KeycloakIdp() as idp:
        person = start(idp, "keycloak", lines=KEYCLOAK)
        person.sign_in()
        person.sign_in(force=True)
        assert person.token().upstream == "finance"


@pytest.mark.parametrize("user", ["alice", "mallory"])
def test_a_sign_in_that_fails_is_given_back_unless_an_earlier_one_of_the_same_person_would_end_with_it(
    start: Start, user: str
) -> None:
    with KeycloakIdp() as idp:
        person = start(idp, "keycloak", lines=KEYCLOAK)
        person.sign_in()
        person.configure('require_account = { email = "alice@elsewhere.example" }')
        idp.user = user
        with pytest.raises(Failure, match="may not be used here"):
            person.sign_in(force=True)
        assert bool(person.asked("/revoke")) == (user == "mallory")
        assert person.token().upstream == "finance"


def test_keycloak_that_revokes_refresh_tokens_is_brought_each_one_once_also_by_several_at_once(start: Start) -> None:
    """One that comes twice would end the session (Revoke Refresh Token, with a reuse of 0)."""
    with KeycloakIdp(revokes_refresh_tokens=True) as idp:
        person = start(idp, "keycloak", lines=KEYCLOAK)
        person.sign_in()
        together, values = threading.Barrier(4), list[str]()

        def agent() -> None:
            together.wait(30)
            values.append(person.token().value.reveal())

        agents = [threading.Thread(target=agent) for _ in range(4)]
        for each in agents:
            each.start()
        for each in agents:
            each.join(60)
        assert len(set(values)) == 4
        assert idp.reuses == 0
        spent = [form["refresh_token"] for form in person.asked("/token") if "refresh_token" in form]
        assert len(set(spent)) == len(spent) == 4


# --- Cognito


def test_cognito_without_rotation_keeps_its_one_refresh_token(start: Start) -> None:
    with CognitoIdp() as idp:
        person = start(idp, "cognito", lines=COGNITO)
        person.sign_in()
        person.token()
        person.token()
        spent = [form["refresh_token"] for form in person.asked("/token") if "refresh_token" in form]
        assert len(spent) == 2
        assert len(set(spent)) == 1


@pytest.mark.parametrize("grace", [True, False])
def test_a_lost_answer_of_a_rotating_cognito_costs_nothing_within_its_grace_period_and_is_said_without(
    start: Start, grace: bool
) -> None:
    with CognitoIdp(rotates=True, grace=grace) as idp:
        person = start(idp, "cognito", lines=COGNITO)
        person.sign_in()
        idp.lost_renewals = 1
        if grace:
            assert person.token().upstream == "finance"
            spent = [form["refresh_token"] for form in person.asked("/token") if "refresh_token" in form]
            assert spent == [spent[0]] * 2, "the same one, at once, as retries are meant"
            assert person.token().upstream == "finance"
            assert person.asked("/token")[-1]["refresh_token"] not in spent
        else:
            with pytest.raises(Failure, match="the connection broke while your sign-in was being renewed"):
                person.token()


# --- Auth0


@pytest.mark.parametrize("names_itself", [False, True])
def test_auth0_may_name_itself_in_the_redirect_and_must_where_its_metadata_says_so(
    start: Start, names_itself: bool
) -> None:
    with Auth0Idp(apis={f"{API}/"}, names_itself=names_itself) as idp:
        person = start(idp, "auth0", lines=f'audience = "{API}/"')
        assert person.sign_in().label == "alice@example.com"
        idp.forge_redirect = "missing_iss"
        if names_itself:
            with pytest.raises(Failure) as caught:
                person.sign_in(force=True)
            assert caught.value.reason == "denied"
        else:
            assert person.sign_in(force=True).label == "alice@example.com"


def test_an_auth0_token_that_was_asked_for_without_an_audience_cannot_be_read_and_is_not_sent(start: Start) -> None:
    with Auth0Idp(apis={f"{API}/"}) as idp:
        person = start(idp, "auth0", lines=f'audience = "{API}/"\ntoken_request = "omit"')
        person.sign_in()
        with pytest.raises(Failure, match="it is not a JWT") as caught:
            person.token()
        assert caught.value.reason == "wrong_audience"
