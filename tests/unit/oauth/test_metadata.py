"""Metadata is believed only where it is the pinned issuer's own."""

from typing import Any

import pytest

from acp_stdio.errors import Failure
from acp_stdio.identity.well_known import issuer_metadata
from acp_stdio.oauth import presets
from acp_stdio.oauth.metadata import parse_metadata
from acp_stdio.oauth.presets import Preset

ISSUER = "https://login.example.com/tenant"
ENTRA_ISSUER = "https://login.microsoftonline.com/8eaef023-2b34-4da1-9baa-8bc8c9d6a490/v2.0"


def document(base: str = ISSUER, **changes: Any) -> dict[str, Any]:
    good: dict[str, Any] = {
        "issuer": base,
        "authorization_endpoint": f"{base}/authorize",
        "token_endpoint": f"{base}/token",
        "jwks_uri": f"{base}/keys",
        "code_challenge_methods_supported": ["plain", "S256"],
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def refused(changed: dict[str, Any], issuer: str = ISSUER, preset: Preset = presets.GENERIC) -> Failure:
    with pytest.raises(Failure) as caught:
        parse_metadata(changed, issuer, preset)
    assert caught.value.reason == "configuration_invalid"
    return caught.value


def test_the_well_known_addresses_come_in_the_order_of_the_specification() -> None:
    assert issuer_metadata("https://a.example/t/1") == (
        "https://a.example/.well-known/oauth-authorization-server/t/1",
        "https://a.example/.well-known/openid-configuration/t/1",
        "https://a.example/t/1/.well-known/openid-configuration",
    )
    for issuer in ("https://a.example", "https://a.example/"):
        assert issuer_metadata(issuer) == (
            "https://a.example/.well-known/oauth-authorization-server",
            "https://a.example/.well-known/openid-configuration",
        )


@pytest.mark.parametrize("stated", [f"{ISSUER}/", ISSUER.upper(), "https://evil.example", None, 7])
def test_a_document_of_another_issuer_is_not_used(stated: object) -> None:
    refused(document() | {"issuer": stated})


@pytest.mark.parametrize("methods", [None, [], ["plain"], "S256"])
def test_a_provider_that_does_not_offer_pkce_is_not_used(methods: Any) -> None:
    assert "PKCE" in refused(document(code_challenge_methods_supported=methods)).message


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint"])
def test_an_endpoint_that_is_missing_is_named(name: str) -> None:
    assert name in refused(document() | {name: None}).message


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri", "registration_endpoint"])
@pytest.mark.parametrize(
    "url", ["http://login.example.com/x", "http://127.0.0.1/x", "file:///etc/passwd", "https://u:p@a.example/", 1]
)
def test_an_endpoint_without_https_is_not_used(name: str, url: Any) -> None:
    assert name in refused(document(**{name: url})).message


def test_a_plain_oauth_server_need_not_publish_keys_and_is_no_openid_provider() -> None:
    server = parse_metadata(document(jwks_uri=None), ISSUER, presets.GENERIC)
    assert (server.jwks_uri, server.openid) == ("", False)
    assert parse_metadata(document(scopes_supported=["openid"]), ISSUER, presets.GENERIC).openid


def test_a_loopback_issuer_may_have_loopback_endpoints_only() -> None:
    issuer = "http://127.0.0.1:8080"
    assert parse_metadata(document(issuer), issuer, presets.GENERIC).token_endpoint == f"{issuer}/token"
    refused(document(issuer, token_endpoint="http://10.0.0.1/token"), issuer)


def test_a_preset_names_every_deviation_it_allows() -> None:
    changed = document(ENTRA_ISSUER, code_challenge_methods_supported=None)
    server = parse_metadata(changed, ENTRA_ISSUER, presets.ENTRA)
    assert server.deviations == presets.ENTRA.deviations
    assert len(server.deviations) == 4
    assert parse_metadata(document(), ISSUER, presets.GENERIC).deviations == ()


def test_an_entra_tenant_may_sign_as_its_own_v1_issuer_and_no_other_tenants() -> None:
    server = parse_metadata(document(ENTRA_ISSUER), ENTRA_ISSUER, presets.ENTRA)
    assert server.token_issuers == (
        ENTRA_ISSUER,
        "https://sts.windows.net/8eaef023-2b34-4da1-9baa-8bc8c9d6a490/",
    )


def test_only_entras_many_tenant_issuers_may_state_a_template() -> None:
    many = "https://login.microsoftonline.com/organizations/v2.0"
    template = "https://login.microsoftonline.com/{tenantid}/v2.0"
    server = parse_metadata(document(many, issuer=template), many, presets.ENTRA)
    assert template in server.token_issuers
    assert any("template" in deviation for deviation in server.deviations)
    refused(document(ENTRA_ISSUER, issuer=template), ENTRA_ISSUER, presets.ENTRA)
    refused(document(many, issuer=template), many, presets.GENERIC)
    refused(document(many, issuer="https://evil.example/{tenantid}/v2.0"), many, presets.ENTRA)


def test_optional_parts_are_read_and_wrong_ones_ignored() -> None:
    server = parse_metadata(
        document(
            revocation_endpoint=f"{ISSUER}/revoke",
            authorization_response_iss_parameter_supported=True,
            id_token_signing_alg_values_supported=["RS256", 7],
            scopes_supported="openid",
        ),
        ISSUER,
        presets.GENERIC,
    )
    assert server.revocation_endpoint == f"{ISSUER}/revoke"
    assert server.device_authorization_endpoint is None
    assert server.iss_parameter_supported
    assert server.signing_algorithms == ("RS256",)
    assert server.scopes_supported == ()
