"""What Entra is told of this client in `claims`, what a claims challenge makes of that, and what a policy does."""

import json
from typing import Any

import pytest

from acp_stdio.errors import Failure
from acp_stdio.identity.step_up import StepUp, demanded
from acp_stdio.tokens.session_file import SessionFile
from tests.kit.person import Start
from tests.kit.scripted_entra import APP, LONG_LIVED, EntraIdp
from tests.kit.scripted_presets import KeycloakIdp

ENTRA = f'scopes = ["api://{APP}/finance.read"]'
CP1 = {"xms_cc": {"values": ["cp1"]}}


def claims_of(form: dict[str, str]) -> Any:
    return json.loads(form["claims"])


def test_entra_is_told_in_each_request_that_claims_challenges_are_acted_on(start: Start) -> None:
    with EntraIdp() as idp:
        person = start(idp, "entra", lines=ENTRA)
        person.sign_in()
        token = person.token()
        asked = [*person.asked("/authorize"), *person.asked("/token")]
        assert len(asked) == 3
        assert [claims_of(form) for form in asked] == [{"access_token": CP1}] * 3
        assert token.claims["xms_cc"] == ["cp1"]
        assert token.expires_at - token.issued_at == LONG_LIVED


def test_a_claims_challenge_and_what_this_program_can_do_are_asked_for_as_one(start: Start) -> None:
    """learn.microsoft.com/entra/identity-platform/claims-challenge: the claims of the 401, in base64."""
    challenge = "eyJhY2Nlc3NfdG9rZW4iOnsiYWNycyI6eyJlc3NlbnRpYWwiOnRydWUsInZhbHVlIjoiY3AxIn19fQ=="
    wanted = demanded(401, {"error": "insufficient_claims", "claims": challenge})
    assert wanted is not None
    with EntraIdp() as idp:
        person = start(idp, "entra", lines=ENTRA)
        person.sign_in()
        person.sign_in(step_up=wanted)
        both = {"access_token": {**CP1, "acrs": {"essential": True, "value": "cp1"}}}
        assert [claims_of(person.asked(path)[-1]) for path in ("/authorize", "/token")] == [both, both]
        assert person.token().claims["acrs"] == ["cp1"], "calls leave with a renewed token: it has them, too"
        person.sign_in(step_up=StepUp(scopes=(f"api://{APP}/finance.write",)))
        assert claims_of(person.asked("/authorize")[-1]) == both, "more rights cost none of it"
        person.sign_in(force=True)
        assert person.token().claims.get("acrs") is None, "who signs in anew begins anew"


def test_calls_that_do_without_the_claims_of_a_challenge_go_on_when_those_take_the_person_again(start: Start) -> None:
    with EntraIdp() as idp:
        person = start(idp, "entra", lines=ENTRA)
        person.sign_in(step_up=StepUp(claims='{"access_token":{"acrs":{"essential":true,"value":"c1"}}}'))
        idp.contexts = frozenset()
        assert person.token().claims.get("acrs") is None
        first, second = person.asked("/token")[-2:]
        assert "acrs" in claims_of(first)["access_token"]
        assert claims_of(second) == {"access_token": CP1}


def test_a_device_code_brings_a_token_of_a_client_that_can_be_challenged(start: Start) -> None:
    with EntraIdp() as idp:
        person = start(idp, "entra", lines=ENTRA)
        person.sign_in(flow="device")
        assert claims_of(person.asked("/token")[-1]) == {"access_token": CP1}


def test_nobody_else_is_sent_claims_that_are_entras(start: Start) -> None:
    with KeycloakIdp() as idp:
        person = start(idp, "keycloak", lines='audience = "finance-api"\nscopes = ["finance"]')
        person.sign_in()
        person.token()
        assert all("claims" not in form for _, form in idp.requests)


@pytest.mark.parametrize(
    ("code", "reason", "said"),
    [
        (53003, "denied", "Conditional Access policy of your company"),
        (53000, "denied", "calls compliant"),
        (50076, "login_required", "a further proof of who you are"),
    ],
)
def test_a_policy_that_stands_against_a_renewal_ends_no_sign_in(
    start: Start, code: int, reason: str, said: str
) -> None:
    """On a train, say: the same refresh token is good again in the office."""
    with EntraIdp() as idp:
        person = start(idp, "entra", lines=ENTRA)
        person.sign_in()
        idp.policy = code
        with pytest.raises(Failure, match=said) as caught:
            person.token()
        assert caught.value.reason == reason
        session = SessionFile(person.settings.session_dir).read()
        assert session is not None
        assert session.signed_in
        assert session.in_flight_since == 0
        idp.policy = 0
        assert person.token().upstream == "finance"


def test_a_disabled_person_is_out_all_the_same(start: Start) -> None:
    with EntraIdp() as idp:
        person = start(idp, "entra", lines=ENTRA)
        person.sign_in()
        idp.disabled.add("alice")
        with pytest.raises(Failure, match="Your identity provider ended your sign-in"):
            person.token()
