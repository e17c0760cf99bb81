"""A provider's own words become one sentence that names the setting, or whose work it is."""

import pytest

from acp_stdio.errors import Failure
from acp_stdio.login.answer import read_code
from acp_stdio.oauth.endpoint import TokenError, parse_token_response
from acp_stdio.oauth.explain import explain
from acp_stdio.oauth.http import Answer


@pytest.mark.parametrize(
    ("error", "description", "reason", "setting"),
    [
        # learn.microsoft.com/entra/identity-platform/reference-error-codes
        ("invalid_target", "AADSTS9010010: The resource parameter doesn't match.", "configuration_invalid", "preset"),
        ("invalid_request", "AADSTS901002: The 'resource' request parameter", "configuration_invalid", "preset"),
        ("invalid_client", "AADSTS650053: The application asked for scope", "configuration_invalid", "scopes"),
        ("invalid_request", "AADSTS50011: The redirect URI does not match", "configuration_invalid", "`redirect`"),
        ("unauthorized_client", "AADSTS700016: Application was not found", "configuration_invalid", "`client_id`"),
        (
            "invalid_client",
            "AADSTS7000218: The request body must contain",
            "configuration_invalid",
            "client_secret_ref",
        ),
        ("access_denied", "AADSTS53003: Access has been blocked", "denied", "administrator"),
        ("interaction_required", "AADSTS50076: Due to a configuration change", "login_required", "login --force"),
        ("access_denied", "AADSTS53000: Device is not in required device state", "denied", "exempt `client_id`"),
        ("access_denied", "AADSTS53001: Device is not domain joined", "denied", "exempt `client_id`"),
        ("interaction_required", "AADSTS50097: Device authentication is required", "denied", "exempt `client_id`"),
        # learn.microsoft.com/entra/identity/conditional-access/concept-token-protection
        ("invalid_grant", "AADSTS530084: Access has been blocked by", "denied", "exempt `client_id`"),
        ("invalid_grant", "AADSTS50105: The signed in user is not assigned", "denied", "administrator"),
        ("invalid_grant", "AADSTS65001: The user or administrator has not consented", "denied", "`scopes`"),
        # support.okta.com, "Policy evaluation failed for this request" Error
        ("access_denied", "Policy evaluation failed for this request, please check", "denied", "`client_id`"),
        # community.auth0.com, troubleshooting invalid audience errors
        ("access_denied", "Service not found: https://api.example.com", "configuration_invalid", "`audience`"),
        # developers.google.com/identity/protocols/oauth2/native-app, authorization errors
        ("redirect_uri_mismatch", "Bad Request", "configuration_invalid", "`redirect`"),
        ("invalid_request", "client_secret is missing.", "configuration_invalid", "`client_secret_ref`"),
        ("invalid_client", "The OAuth client was not found.", "configuration_invalid", "`client_id`"),
        # keycloak.org, server administration guide
        ("not_allowed", "Offline tokens not allowed for the user or client", "denied", "`scopes`"),
        ("invalid_client", "Invalid client or Invalid client credentials", "configuration_invalid", "realm"),
    ],
)
def test_known_words_name_what_to_change(error: str, description: str, reason: str, setting: str) -> None:
    found = explain(error, description)
    assert found is not None
    assert found.reason == reason
    assert setting in found.advice
    assert found.message.count(". ") == 0
    assert found.message.endswith(").")


@pytest.mark.parametrize(
    ("error", "description"),
    [
        ("access_denied", ""),
        ("invalid_grant", "AADSTS50057: The user account is disabled."),
        ("invalid_grant", "AADSTS650053999: no such code"),
        ("temporarily_unavailable", "invalid_client is a word in here"),
    ],
)
def test_other_words_are_left_as_they_are(error: str, description: str) -> None:
    assert explain(error, description) is None


def test_the_redirects_error_is_translated_after_it_was_believed() -> None:
    answer = [("state", "s"), ("error", "access_denied"), ("error_description", "Service not found: https://a.example")]
    with pytest.raises(Failure) as caught:
        read_code(answer, state="s", issuer="https://idp.example", iss_promised=False)
    assert "`audience`" in caught.value.advice
    with pytest.raises(Failure) as caught:
        read_code(answer, state="other", issuer="https://idp.example", iss_promised=False)
    assert "another sign-in" in caught.value.message


def test_the_token_endpoints_error_is_translated_and_a_passing_trouble_is_not() -> None:
    body = b'{"error": "invalid_client", "error_description": "AADSTS7000218: The request body must contain"}'
    for status, reason in ((401, "configuration_invalid"), (503, "idp_unreachable")):
        with pytest.raises(TokenError) as caught:
            parse_token_response(Answer(status, {}, body))
        assert caught.value.failure().reason == reason
