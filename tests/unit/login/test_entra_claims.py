"""What Entra is told of this client in `claims`, and what a claims challenge makes of that."""

import json
from typing import Any

from acp_stdio.identity.step_up import demanded
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
        person.token()
        assert claims_of(person.asked("/token")[-1]) == {"access_token": CP1}, "a renewal asks for what it always does"


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
