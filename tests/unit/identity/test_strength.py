"""A stronger or fresher sign-in is compared with what was asked for, as far as the provider tells."""

from typing import Any

import pytest

from acp_stdio.errors import Failure
from acp_stdio.identity.step_up import NOTHING_MORE, StepUp
from acp_stdio.identity.strength import check_age, check_session_age, unmet

NOW = 1_900_000_000.0
LEEWAY = 60.0
WITHIN_A_MINUTE = StepUp(max_age=60)


@pytest.mark.parametrize("age", [0, 60, 119, -59])
def test_a_proof_within_the_age_and_the_skew_of_clocks_is_fresh(age: float) -> None:
    check_age({"auth_time": NOW - age}, WITHIN_A_MINUTE, NOW, LEEWAY)


@pytest.mark.parametrize("told", [NOW - 121, NOW + 61, float("nan"), float("inf"), float("-inf"), 0])
def test_an_older_one_is_refused_and_so_is_one_from_the_future(told: float) -> None:
    with pytest.raises(Failure, match="although one was asked for that is not older than 60 s") as caught:
        check_age({"auth_time": told}, WITHIN_A_MINUTE, NOW, LEEWAY)
    assert caught.value.reason == "denied"


@pytest.mark.parametrize("claims", [{}, {"auth_time": None}, {"auth_time": "1900000000"}, {"auth_time": True}])
def test_a_proof_without_a_time_is_refused_where_an_age_was_asked_for(claims: dict[str, Any]) -> None:
    with pytest.raises(Failure, match="does not say when you proved who you are") as caught:
        check_age(claims, StepUp(max_age=0), NOW, LEEWAY)
    assert caught.value.reason == "denied"
    assert "auth_time" in caught.value.advice
    check_age(claims, NOTHING_MORE, NOW, LEEWAY)


def test_the_companys_own_limit_holds_as_far_as_the_provider_tells() -> None:
    check_session_age({}, 3600, NOW, LEEWAY)
    check_session_age({"auth_time": NOW - 9999}, 0, NOW, LEEWAY)
    check_session_age({"auth_time": NOW - 3650}, 3600, NOW, LEEWAY)
    with pytest.raises(Failure, match="max_session_age"):
        check_session_age({"auth_time": NOW - 3661}, 3600, NOW, LEEWAY)


def test_another_class_than_was_asked_for_is_told_and_a_right_one_is_not() -> None:
    wanted = StepUp(acr_values=("phr", "phrh"))
    assert unmet({"acr": "phrh"}, wanted) == ""
    assert unmet({"acr": "pwd"}, NOTHING_MORE) == ""
    told = unmet({"acr": "pw\x1bd"}, wanted)
    assert "phr or phrh" in told
    assert 'calls it "pwd"' in told
    assert "does not say how it was" in unmet({}, wanted)
