"""When and how the person proved who they are, compared with what the sign-in was asked for. Pure."""

from collections.abc import Mapping
from typing import Any

from acp_stdio.errors import Failure
from acp_stdio.identity.signed import shown
from acp_stdio.identity.step_up import StepUp

_ON_ITS_PAGE = "Sign out on the provider's own page, then sign in again."


def check_age(claims: Mapping[str, Any], wanted: StepUp, now: float, leeway: float) -> None:
    """Refuses a sign-in by a proof that is older than `wanted.max_age`, or that nobody can tell the age of.

    `claims` are a verified ID token's; `auth_time` is REQUIRED in it where `max_age` was asked for (OpenID Connect
    Core sections 2 and 3.1.3.7, RFC 9470 section 4). `leeway`: seconds by which clocks may differ.
    Raises `Failure(denied)`.
    """
    if wanted.max_age is None:
        return
    age = _age(claims, now)
    if age is None:
        raise Failure(
            "denied",
            "The identity provider does not say when you proved who you are (auth_time), and a proof was asked for "
            f"that is not older than {wanted.max_age} s.",
            "Ask whoever runs the provider to put auth_time into this client's ID tokens.",
        )
    if not -leeway <= age <= wanted.max_age + leeway:
        raise Failure(
            "denied",
            f"The identity provider let you in by a proof of who you are from {age:.0f} s ago, although one was asked "
            f"for that is not older than {wanted.max_age} s.",
            _ON_ITS_PAGE,
        )


def check_session_age(claims: Mapping[str, Any], max_session_age: float, now: float, leeway: float) -> None:
    """The same for the company's own limit (0: none), where the provider tells the age at all: Entra does only where
    it is configured, and the limit counts from our own sign-in in any case. Raises `Failure(denied)`."""
    age = _age(claims, now)
    if max_session_age and age is not None and not -leeway <= age <= max_session_age + leeway:
        raise Failure(
            "denied",
            "The identity provider let you in by a proof of who you are that is older than your company allows "
            "(max_session_age).",
            _ON_ITS_PAGE,
        )


def unmet(claims: Mapping[str, Any], wanted: StepUp) -> str:
    """In words, that the sign-in was none of the classes that were asked for; empty where it was one.

    No failure: `acr_values` are a wish (OpenID Connect Core section 3.1.2.1), and which class is as good as
    another one only the server can say.
    """
    if not wanted.acr_values or claims.get("acr") in wanted.acr_values:
        return ""
    said = f'calls it "{shown(claims["acr"])}"' if "acr" in claims else "does not say how it was"
    return (
        f"A sign-in of the class {' or '.join(wanted.acr_values)} was asked for, and the identity provider {said} "
        "(acr): the server may refuse it again. If so, ask whoever runs the provider."
    )


def _age(claims: Mapping[str, Any], now: float) -> float | None:
    """Seconds; not a number where the provider wrote that, which no comparison holds for."""
    told = claims.get("auth_time")
    return None if isinstance(told, bool) or not isinstance(told, int | float) else now - told
