"""How a token is asked for, and which token is the right one, provider by provider."""

from dataclasses import replace

import pytest

from acp_stdio.errors import Failure
from acp_stdio.oauth import asking, presets
from acp_stdio.settings.model import IdentitySettings, TokenRequest, UpstreamSettings
from acp_stdio.settings.presets import identity_defaults

APP = "11112222-bbbb-3333-cccc-4444dddd5555"
URL = "https://finance.example.com/mcp"


def upstream(*scopes: str, request: TokenRequest = "resource", audience: tuple[str, ...] = ()) -> UpstreamSettings:
    return UpstreamSettings("finance", URL, request, audience, scopes)


def test_by_the_book_a_token_is_asked_for_by_its_resource_to_the_byte() -> None:
    params = asking.token_request_params(upstream("finance.read"), presets.GENERIC, f"{URL}?a=%2F")
    assert params == {"resource": f"{URL}?a=%2F"}


@pytest.mark.parametrize(
    ("request_by", "expected"),
    [
        ("audience", {"audience": "https://api.example"}),
        ("scope", {"scope": "finance.read"}),
        ("omit", {}),
    ],
)
def test_the_settings_may_ask_in_another_way(request_by: TokenRequest, expected: dict[str, str]) -> None:
    wanted = upstream("finance.read", request=request_by, audience=("https://api.example",))
    assert asking.token_request_params(wanted, presets.GENERIC, URL) == expected


@pytest.mark.parametrize("request_by", ["resource", "scope"])
def test_entra_is_asked_by_scope_and_never_sent_a_resource(request_by: TokenRequest) -> None:
    wanted = upstream(f"api://{APP}/mcp.read", request=request_by)
    params = asking.token_request_params(wanted, presets.ENTRA, URL)
    assert params.pop("claims") == '{"access_token":{"xms_cc":{"values":["cp1"]}}}'
    assert params == {"scope": f"api://{APP}/mcp.read openid profile offline_access"}


@pytest.mark.parametrize(
    "scopes",
    [
        (),
        ("mcp.read",),
        (f"api://{APP}/mcp.read", "mcp.write"),
        (f"api://{APP}/mcp.read", "https://graph.microsoft.com/User.Read"),
        ("api://",),
        ("/mcp.read",),
    ],
)
def test_scopes_that_entra_would_take_for_another_resource_are_refused(scopes: tuple[str, ...]) -> None:
    with pytest.raises(Failure) as caught:
        asking.token_request_params(upstream(*scopes), presets.ENTRA, URL)
    assert caught.value.reason == "configuration_invalid"
    assert "finance" in caught.value.message


@pytest.mark.parametrize(
    ("scopes", "audiences"),
    [
        ((f"api://{APP}/mcp.read",), (f"api://{APP}", APP)),
        ((f"api://{APP}/a", f"api://{APP}/b"), (f"api://{APP}", APP)),
        ((f"{APP}/.default",), (APP,)),
        (("https://finance.example.com/.default",), ("https://finance.example.com",)),
    ],
)
def test_an_entra_token_is_expected_for_the_application_of_its_scopes(
    scopes: tuple[str, ...], audiences: tuple[str, ...]
) -> None:
    asking.check_scopes(upstream(*scopes), presets.ENTRA)
    assert asking.expected_audiences(upstream(*scopes), presets.ENTRA, URL) == audiences


def test_configured_audiences_win_and_else_the_resource_counts() -> None:
    named = upstream(f"api://{APP}/a", audience=("x", "y"))
    assert asking.expected_audiences(named, presets.ENTRA, URL) == ("x", "y")
    assert asking.expected_audiences(upstream("finance.read"), presets.GENERIC, URL) == (URL,)


def test_entra_knows_people_by_tenant_and_object_id_unless_the_settings_say_otherwise() -> None:
    assert presets.claim_names(identity_defaults("entra")).key == ("tid", "oid")
    assert presets.claim_names(identity_defaults("generic")).key == ("sub",)
    own = replace(identity_defaults("entra"), user_key=("employee",), user_label=("name",))
    assert presets.claim_names(own).key == ("employee",)
    assert presets.claim_names(own).label == ("name",)


def test_okta_calls_the_person_otherwise_in_access_tokens_unless_the_settings_say_who_it_is() -> None:
    assert presets.claim_names(identity_defaults("okta")).token_key == ("uid",)
    own = replace(identity_defaults("okta"), user_key=("employee",))
    assert presets.claim_names(own).token_key == ()


def test_a_domain_means_nothing_where_every_tenant_may_enter() -> None:
    def identity(tenant: str, **required: str) -> IdentitySettings:
        issuer = f"https://login.microsoftonline.com/{tenant}/v2.0"
        return IdentitySettings(issuer, "c", "entra", require_account=required)

    with pytest.raises(Failure) as caught:
        asking.check_identity(identity("organizations", domain="example.com"))
    assert caught.value.reason == "configuration_invalid"
    asking.check_identity(identity("organizations", tid="8eaef023"))
    asking.check_identity(identity("8eaef023-2b34-4da1-9baa-8bc8c9d6a490", domain="example.com"))
