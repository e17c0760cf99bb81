"""A token is used only where it is bound to our key, or to none and that is allowed."""

from typing import Any

import pytest

from acp_stdio.errors import Failure
from acp_stdio.identity.binding import check_binding

OURS = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
BOUND: dict[str, Any] = {"cnf": {"jkt": OURS}}


@pytest.mark.parametrize(
    ("kind", "claims", "key", "required"),
    [
        ("DPoP", BOUND, OURS, True),
        ("DPoP", BOUND, OURS, False),
        ("DPoP", None, OURS, True),  # nobody can read it
        ("Bearer", {}, "", False),
        ("Bearer", {}, OURS, False),  # the provider chose so (RFC 9449 section 5)
        ("Bearer", None, OURS, False),
    ],
)
def test_ours_and_what_needs_no_key_is_used(kind: str, claims: dict[str, Any] | None, key: str, required: bool) -> None:
    check_binding(kind, claims, key, required=required)


@pytest.mark.parametrize(
    ("kind", "claims", "key", "required", "reason"),
    [
        ("DPoP", {}, OURS, False, "wrong_audience"),
        ("DPoP", {"cnf": {"jkt": "somebody-elses"}}, OURS, False, "wrong_audience"),
        ("DPoP", {"cnf": {"x5t#S256": OURS}}, OURS, False, "wrong_audience"),
        ("DPoP", {"cnf": OURS}, OURS, False, "wrong_audience"),
        ("DPoP", {"cnf": {"jkt": [OURS]}}, OURS, False, "wrong_audience"),
        ("DPoP", BOUND, "", False, "wrong_audience"),
        ("Bearer", BOUND, "", False, "wrong_audience"),
        ("Bearer", BOUND, OURS, False, "wrong_audience"),
        ("Bearer", {"cnf": {"x5t#S256": "a-certificate"}}, "", False, "wrong_audience"),
        ("Bearer", {}, OURS, True, "configuration_invalid"),
        ("Bearer", None, OURS, True, "configuration_invalid"),
    ],
)
def test_anything_else_is_refused(
    kind: str, claims: dict[str, Any] | None, key: str, required: bool, reason: str
) -> None:
    with pytest.raises(Failure) as caught:
        check_binding(kind, claims, key, required=required)
    assert caught.value.reason == reason
