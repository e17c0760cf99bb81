"""When a token is too old to attach."""

import pytest

from acp_stdio.identity.model import AccessToken, Session
from acp_stdio.secrets import Secret
from acp_stdio.tokens.freshness import confirmed, is_usable, should_renew, skew


@pytest.mark.parametrize(
    ("ttl", "expected"), [(4.0, 1.0), (60.0, 15.0), (120.0, 30.0), (300.0, 30.0), (3600.0, 360.0), (0.0, 0.0)]
)
def test_the_margin_fits_the_life(ttl: float, expected: float) -> None:
    assert skew(ttl) == expected


def token(ttl: float) -> AccessToken:
    return AccessToken(Secret("t"), "finance", "https://x", 1, issued_at=1000.0, expires_at=1000.0 + ttl)


@pytest.mark.parametrize(
    ("ttl", "age", "usable", "renew"),
    [
        (300.0, 0.0, True, False),
        (300.0, 239.9, True, False),
        (300.0, 240.0, True, True),
        (300.0, 269.9, True, True),
        (300.0, 270.0, False, True),
        (300.0, 301.0, False, True),
        (300.0, -1.0, False, True),  # the clock was put back
        (4.0, 1.9, True, False),
        (4.0, 2.5, True, True),
        (4.0, 3.0, False, True),
        (0.0, 0.0, False, True),
    ],
)
def test_a_token_is_used_while_it_surely_lives_and_renewed_before(
    ttl: float, age: float, usable: bool, renew: bool
) -> None:
    assert is_usable(token(ttl), 1000.0 + age) is usable
    assert should_renew(token(ttl), 1000.0 + age) is renew


@pytest.mark.parametrize(
    ("signed_in", "age", "expected"),
    [(True, 0.0, True), (True, 899.9, True), (True, 900.0, False), (True, -0.1, False), (False, 1.0, False)],
)
def test_a_confirmation_counts_for_its_time(signed_in: bool, age: float, expected: bool) -> None:
    session = Session(generation=1, signed_in=signed_in, account=None, confirmed_at=5000.0)
    assert confirmed(session, 900.0, 5000.0 + age) is expected
