"""Whether an access token is bound to a key, and to ours (RFC 9449 section 6, RFC 7800). Pure."""

from collections.abc import Mapping
from typing import Any, Final, cast

from acp_stdio.errors import Failure

BEARER: Final = "Bearer"
BOUND: Final = "DPoP"
"""The types of access tokens, which are also the schemes that they are sent with (RFC 6750, RFC 9449 section 7.1)."""

_ASK: Final = "Ask whoever runs the provider, or change `dpop` under [identity]."


def check_binding(token_type: str, claims: Mapping[str, Any] | None, key: str, *, required: bool) -> None:
    """Refuses a token that is bound to another key than ours, or that is `required` to be bound and is not.

    `claims`: the token's; None where nobody can read them. `key`: our key's thumbprint, empty where we have none.
    Raises `Failure`: wrong_audience, configuration_invalid.
    """
    if token_type == BOUND:
        if claims is not None and (not key or bound_to(claims) != key):
            raise _refused("it is not bound to the key of your sign-in")
    elif required:
        why = 'The identity provider issues bearer tokens, and the configuration wants bound ones (dpop = "require").'
        raise Failure("configuration_invalid", why, _ASK)
    elif claims is not None and "cnf" in claims:
        raise _refused("it is bound to a key or a certificate, but was issued as a bearer token")


def bound_to(claims: Mapping[str, Any]) -> str:
    """The thumbprint of the key that a token is bound to (`cnf.jkt`); empty where it names none."""
    found: object = claims.get("cnf")
    key: object = cast("Mapping[str, object]", found).get("jkt") if isinstance(found, Mapping) else None
    return key if isinstance(key, str) else ""


def _refused(why: str) -> Failure:
    return Failure("wrong_audience", f"The access token was not used: {why} (RFC 9449).", _ASK)
