"""What an answer of the token endpoint means for the refresh token."""

import json

import pytest

from acp_stdio.oauth.endpoint import UNSAID_LIFETIME, TokenError, parse_token_response
from acp_stdio.oauth.http import Answer

GOOD = {"access_token": "at-value", "token_type": "bearer", "expires_in": 60}


def answer(status: int, body: object) -> Answer:
    return Answer(status, {}, body if isinstance(body, bytes) else json.dumps(body).encode())


def error_of(status: int, body: object) -> TokenError:
    with pytest.raises(TokenError) as caught:
        parse_token_response(answer(status, body))
    return caught.value


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": "invalid_grant"}, "invalid_grant"),
        (200, {"error": "invalid_grant"}, "invalid_grant"),
        (400, {"error": "invalid_target"}, "misconfigured"),
        (400, {"error": "invalid_scope"}, "misconfigured"),
        (401, {"error": "invalid_client"}, "misconfigured"),
        (400, {"error": "unauthorized_client"}, "misconfigured"),
        (400, {"error": "interaction_required"}, "misconfigured"),
        (400, {"error": "temporarily_unavailable"}, "transient"),
        (500, {"error": "invalid_grant"}, "transient"),
        (429, {"error": "slow_down"}, "transient"),
        (503, b"<h1>Service Unavailable</h1>", "transient"),
        (400, b"", "transient"),
        (400, b"<html>captive portal</html>", "transient"),
        (200, b"<html>captive portal</html>", "transient"),
        (302, b"", "transient"),
        (403, {"message": "a gateway's own words"}, "transient"),
        (200, {}, "misconfigured"),
        (200, {**GOOD, "token_type": "DPoP"}, "misconfigured"),
        (200, [], "transient"),
        (200, b"[" * 100_000, "transient"),
    ],
)
def test_only_an_invalid_grant_speaks_against_the_refresh_token(status: int, body: object, kind: str) -> None:
    assert error_of(status, body).kind == kind


def test_an_answer_is_read_and_its_tokens_are_not_shown() -> None:
    response = parse_token_response(
        answer(200, {**GOOD, "refresh_token": "rt-value", "id_token": "it-value", "scope": "openid"})
    )
    assert response.access_token.reveal() == "at-value"
    assert response.refresh_token is not None
    assert response.token_type == "Bearer"
    assert response.scope == "openid"
    assert "value" not in repr(response)
    assert "value" not in repr(answer(200, GOOD))


@pytest.mark.parametrize(
    ("expires_in", "seconds"),
    [
        (3599, 3599.0),
        ("3599", 3599.0),
        (None, UNSAID_LIFETIME),
        (-1, UNSAID_LIFETIME),
        (True, UNSAID_LIFETIME),
        ("soon", UNSAID_LIFETIME),
        (float("inf"), UNSAID_LIFETIME),
        (float("nan"), UNSAID_LIFETIME),
        (10**400, UNSAID_LIFETIME),
        ([], UNSAID_LIFETIME),
    ],
)
def test_a_lifetime_that_makes_no_sense_is_a_short_one(expires_in: object, seconds: float) -> None:
    assert parse_token_response(answer(200, {**GOOD, "expires_in": expires_in})).expires_in == seconds


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ({"refresh_token_expires_in": 604799}, 604799),  # Google
        ({"refresh_expires_in": "1800"}, 1800),  # Keycloak; as text elsewhere
        ({"refresh_expires_in": 0}, 0),  # Keycloak's offline session without a limit
        ({"refresh_token_expires_in": None, "refresh_expires_in": 60}, 60),
        ({"refresh_token_expires_in": -1}, 0),
        ({"refresh_token_expires_in": True}, 0),
        ({"refresh_token_expires_in": 1e300}, 0),  # no calendar has that day
        ({}, 0),
    ],
)
def test_the_end_of_a_refresh_token_is_known_where_the_answer_says_it(said: dict[str, object], seconds: float) -> None:
    assert parse_token_response(answer(200, {**GOOD, **said})).refresh_expires_in == seconds


def test_a_strangers_words_are_cut_short_and_cannot_move_the_cursor() -> None:
    error = error_of(400, {"error": "invalid_grant", "error_description": "\x1b[2J\r\nno" + "o" * 1000})
    assert "\x1b" not in error.message
    assert "\n" not in error.message
    assert len(error.message) < 350


def test_each_kind_tells_the_person_what_helps() -> None:
    reasons = {
        "invalid_grant": "login_required",
        "interaction_required": "login_required",
        "invalid_client": "configuration_invalid",
        "server_error": "idp_unreachable",
    }
    for error, reason in reasons.items():
        failure = error_of(400, {"error": error}).failure()
        assert failure.reason == reason
        assert failure.advice
    kept = error_of(400, {"error": "interaction_required"}).failure()
    assert "`acp-stdio login --force`" in kept.advice, "the sign-in is still there, and a plain login would say so"
