"""`WWW-Authenticate` is read as RFC 9110 writes it, whatever else stands in it."""

import pytest

from acp_stdio.oauth.challenge import Challenge, parse_challenge

ADDRESS = "https://mcp.example.com/.well-known/oauth-protected-resource"


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (f'Bearer resource_metadata="{ADDRESS}", scope="a b"', Challenge(ADDRESS, ("a", "b"))),
        (f'bearer scope="a"  ,resource_metadata = "{ADDRESS}"', Challenge(ADDRESS, ("a",))),
        (f'DPoP algs="ES256", scope=a, resource_metadata="{ADDRESS}"', Challenge(ADDRESS, ("a",))),
        (f'Basic realm="x, scope=\\"no\\"", Bearer resource_metadata="{ADDRESS}"', Challenge(ADDRESS)),
        ('Negotiate abc==, Bearer scope="a"', Challenge("", ("a",))),
        ('Bearer scope="a", Basic scope="b"', Challenge("", ("a",))),
        ('Bearer scope="a", scope="b"', Challenge("", ("a",))),
        ('Bearer error_description="scope=\\"b\\"", scope="a a"', Challenge("", ("a",))),
        ('Bearer scope="fine caf\u00e9 also"', Challenge("", ("fine", "also"))),
        ("Bearer", Challenge()),
        ("", Challenge()),
        ('scope="a"', Challenge()),
        ('Bearer scope="never closed', Challenge()),
        ("Bearer " + "," * 100_000 + 'scope="a"', Challenge()),
    ],
)
def test_a_challenge_is_read_and_nothing_beside_it(header: str, found: Challenge) -> None:
    assert parse_challenge(header) == found
