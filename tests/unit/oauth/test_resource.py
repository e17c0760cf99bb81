"""A server's words about itself are compared with our settings and never obeyed."""

import pytest

from acp_stdio.errors import Failure
from acp_stdio.oauth.presets import ENTRA, GENERIC
from acp_stdio.oauth.resource import ProtectedResource, metadata_urls, parse_resource
from acp_stdio.settings.checks import covers

URL = "https://finance.example.com/team/mcp"


@pytest.mark.parametrize(
    "resource",
    [
        URL,
        "https://finance.example.com/team",
        "https://finance.example.com/team/",
        "https://finance.example.com",
        "https://finance.example.com/",
        "https://FINANCE.example.com:443/team",
    ],
)
def test_a_resource_is_the_address_or_a_path_above_it(resource: str) -> None:
    assert covers(resource, URL)
    assert parse_resource({"resource": resource}, URL).resource == resource


@pytest.mark.parametrize(
    "resource",
    [
        "https://finance.example.com/tea",
        "https://finance.example.com/team/mcp/deeper",
        "https://finance.example.com/other",
        "http://finance.example.com/team/mcp",
        "https://finance.example.com:8443/team/mcp",
        "https://example.com/team/mcp",
        "https://finance.example.com.evil.example/team/mcp",
        "https://finance.example.com@evil.example/team/mcp",
        "https://finance.example.com/team?x=1",
        "api://11112222-bbbb-3333-cccc-4444dddd5555",
        "",
        None,
        7,
    ],
)
def test_metadata_of_another_resource_means_no_token(resource: object) -> None:
    with pytest.raises(Failure) as caught:
        parse_resource({"resource": resource}, URL)
    assert caught.value.reason == "wrong_audience"


def test_the_metadata_is_looked_for_by_path_and_then_at_the_root() -> None:
    root = "https://finance.example.com/.well-known/oauth-protected-resource"
    assert metadata_urls(URL) == (f"{root}/team/mcp", root)
    assert metadata_urls("https://finance.example.com/") == (root,)
    own = "https://finance.example.com/meta"
    assert metadata_urls(URL, own) == (own, f"{root}/team/mcp", root)


@pytest.mark.parametrize(
    "challenge",
    ["http://169.254.169.254/latest", "https://evil.example/meta", "http://finance.example.com/meta", "file:///x", "x"],
)
def test_a_server_cannot_send_us_to_another_origin(challenge: str) -> None:
    assert challenge not in metadata_urls(URL, challenge)


def test_a_server_that_trusts_others_only_gets_no_token() -> None:
    issuer = "https://login.example.com"
    ProtectedResource(URL, (issuer, "https://other.example")).require_issuer(issuer)
    ProtectedResource(URL).require_issuer(issuer)
    with pytest.raises(Failure) as caught:
        ProtectedResource(URL, (f"{issuer}/",)).require_issuer(issuer)
    assert caught.value.reason == "configuration_invalid"


def test_any_tenants_name_for_the_same_provider_is_accepted_where_the_preset_knows_it() -> None:
    tenant = "https://login.microsoftonline.com/8eaef023-2b34-4da1-9baa-8bc8c9d6a490/v2.0"
    every = "https://login.microsoftonline.com/organizations/v2.0"
    ProtectedResource(URL, (every,)).require_issuer(tenant, ENTRA)
    with pytest.raises(Failure):
        ProtectedResource(URL, (every,)).require_issuer(tenant, GENERIC)
    with pytest.raises(Failure):
        ProtectedResource(URL, ("https://evil.example/organizations/v2.0",)).require_issuer(tenant, ENTRA)
