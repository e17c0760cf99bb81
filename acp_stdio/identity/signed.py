"""What every signed token must prove, whoever reads it: signature, issuer and times (RFC 7519, RFC 8725).

Pure: keys and time are given. The person's side (`identity.claims`) and a server's (`backend`) both build on it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

import jwt

ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
"""Asymmetric only: with HS* a public key would do as the secret, and `none` is no signature."""

_END_OF_TIME: Final = 1e12
"""Seconds; nothing near it is a date, and neither are infinity and NaN, which JSON parsers let in."""


class NotProven(Exception):
    """`why` a token is not believed, in words that follow "it"; never the token. `clock`: it is about the time."""

    def __init__(self, why: str, *, clock: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.clock = clock


class UnknownKey(NotProven):
    """The token names a key that is not in the set; the provider may have changed its keys."""


def verified(
    token: str, keys: jwt.PyJWKSet, algorithms: Iterable[str], *, audience: bool = True
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token with a good signature and the claims that every token must have.

    `algorithms`: those that the provider says it uses; none: all of `ALGORITHMS`.
    Raises `NotProven`.
    """
    allowed = ALGORITHMS & (set(algorithms) or ALGORITHMS)
    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError:
        raise NotProven("it is not a JWT") from None
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in allowed:
        raise NotProven(f"it is signed with {shown(algorithm)}, expected {listed(sorted(allowed))}")
    key = _key_for(header, keys)
    try:
        # Times, issuer and audience are checked by us: against the given time, and with both sides named.
        claims = jwt.decode(
            token,
            key.key,
            algorithms=[algorithm],
            options={
                "require": ["iss", *(["aud"] if audience else []), "exp", "iat", "sub"],
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
                "verify_iss": False,
                "verify_aud": False,
            },
        )
    except jwt.MissingRequiredClaimError as error:
        raise NotProven(f"it has no {error.claim}") from None
    except (jwt.PyJWTError, TypeError, ValueError):
        raise NotProven("its signature is not the provider's") from None
    if not text(claims, "sub"):
        raise NotProven("its sub is empty")
    return header, claims


def _key_for(header: Mapping[str, Any], keys: jwt.PyJWKSet) -> jwt.PyJWK:
    algorithm, kid = header["alg"], header.get("kid")
    family = {"R": "RSA", "P": "RSA", "E": "EC"}[algorithm[0]] if algorithm != "EdDSA" else "OKP"
    usable = [key for key in keys.keys if key.key_type == family and key.public_key_use in (None, "sig")]
    named = [key for key in usable if kid is None or key.key_id == kid]
    if len(named) != 1:  # several without a kid: guessing among keys is not a proof
        raise UnknownKey(f"it is signed with a key that the provider does not publish (kid {shown(kid)})")
    return named[0]


def check_issuer(claims: Mapping[str, Any], issuers: Iterable[str]) -> None:
    """`iss` is one of `issuers`, byte for byte; `{tenantid}` in one stands for the token's `tid`."""
    tenant = text(claims, "tid")
    expected = [issuer.replace("{tenantid}", tenant) if tenant else issuer for issuer in issuers]
    if claims["iss"] not in expected:
        raise NotProven(f"it comes from {shown(claims['iss'])}, expected {listed(expected)}")


def check_times(claims: Mapping[str, Any], now: float, leeway: float) -> None:
    """`exp` is ahead, `iat` and `nbf` are behind; `leeway`: seconds by which clocks may differ."""
    for name in ("exp", "iat", "nbf"):
        value = claims.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _END_OF_TIME:
            raise NotProven(f"its {name} is not a time")
    if now >= claims["exp"] + leeway:
        raise NotProven(f"it expired {now - claims['exp']:.0f} s ago by this computer's clock", clock=True)
    ahead = max(claims["iat"], claims.get("nbf", 0)) - now
    if ahead > leeway:
        raise NotProven(f"it is valid only in {ahead:.0f} s by this computer's clock", clock=True)


def audiences(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """The values of `aud`, written as one text or as a list."""
    value: object = claims.get("aud")
    if isinstance(value, str):
        return (value,)
    items = cast("list[object]", value) if isinstance(value, list) else []
    return tuple(item for item in items if isinstance(item, str))


def media_type(header: Mapping[str, Any]) -> str:
    """The header's `typ`, as RFC 7515 section 4.1.9 has it compared."""
    return str(header.get("typ", "")).lower().removeprefix("application/")


def text(claims: Mapping[str, Any], name: str) -> str:
    """The claim where it is text, else nothing."""
    value = claims.get(name) if name else None
    return value if isinstance(value, str) else ""


def first_text(claims: Mapping[str, Any], names: Iterable[str]) -> str:
    """The first of these claims that is text and not empty."""
    return next((found for name in names if (found := text(claims, name))), "")


def shown(value: object) -> str:
    """A claim's value, fit for a terminal and a log line."""
    printable = "".join(c for c in str(value) if c.isprintable())
    return printable if len(printable) <= 200 else printable[:199] + "…"


def listed(values: Iterable[str]) -> str:
    return " or ".join(shown(value) for value in values) or "nobody"
