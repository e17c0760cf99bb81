"""Proves what a token says before anybody believes it. Pure: keys and time are given.

OpenID Connect Core section 3.1.3.7 for ID tokens, RFC 9068 section 4 and RFC 8725 for access
tokens, with PyJWT for the signatures. Messages name what was expected and found, never the token.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn, cast

import jwt

from acp_stdio.errors import Failure
from acp_stdio.identity.model import Account
from acp_stdio.secrets import Secret

ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
"""Asymmetric only: with HS* a public key would do as the secret, and `none` is no signature."""
LEEWAY: Final = 60.0
"""Seconds by which clocks may differ."""

_END_OF_TIME: Final = 1e12
"""Seconds; nothing near it is a date, and neither are infinity and NaN, which JSON parsers let in."""
_CLOCK: Final = "Check this computer's date and time."
_PROVIDER: Final = "Check `issuer`, `client_id` and `audience` in the configuration with whoever runs the provider."
_AGAIN: Final = "Run `acp-stdio login --force` and sign in with the right account."


@dataclass(frozen=True, slots=True)
class ClaimNames:
    """Which claims mean what at one provider."""

    key: tuple[str, ...] = ("sub",)
    label: tuple[str, ...] = ("email", "preferred_username", "sub")
    email: tuple[str, ...] = ("email",)
    """Where the person's address may be found; the first that is present counts."""
    tenant: str = ""
    client: tuple[str, ...] = ("client_id", "azp")
    """The first that is present names the client that an access token was issued to."""
    token_key: tuple[str, ...] = ()
    """Where an access token calls the claims of `key` otherwise; the values are the same."""


def verify_id_token(
    token: Secret,
    *,
    keys: jwt.PyJWKSet,
    issuers: Iterable[str],
    client_id: str,
    nonce: str | None,
    now: float,
    algorithms: Iterable[str] = (),
    access_token: Secret | None = None,
    leeway: float = LEEWAY,
) -> dict[str, Any]:
    """The claims of an ID token for `client_id`.

    `nonce` None: none was sent (device flow, refresh). `algorithms` empty: the metadata named none.
    Raises `Failure`: `wrong_audience` where it is forged, stale or another party's, `denied` where
    it answers another sign-in.
    """
    header, claims = _verified(token, "ID token", keys, algorithms)
    if str(header.get("typ", "")).lower().removeprefix("application/") == "at+jwt":
        _refuse("ID token", "it is an access token")
    _check_issuer(claims, issuers, "ID token")
    _check_times(claims, now, leeway, "ID token")
    audiences = _audiences(claims)
    azp = claims.get("azp")
    if client_id not in audiences or (azp is None and len(audiences) > 1) or azp not in (None, client_id):
        found = f"{_list(audiences)}, azp {azp}" if azp is not None else _list(audiences)
        _refuse("ID token", f"it is for {found}, expected {client_id}")
    if nonce is not None and not _same(claims.get("nonce"), nonce):
        raise Failure("denied", "The ID token belongs to another sign-in (nonce).", "Sign in again.")
    at_hash = claims.get("at_hash")
    if access_token is not None and at_hash is not None and not _same(at_hash, _hash(header, access_token)):
        _refuse("ID token", "it belongs to another access token (at_hash)")
    return claims


def verify_access_token(
    token: Secret,
    *,
    keys: jwt.PyJWKSet,
    issuers: Iterable[str],
    audiences: Iterable[str],
    account: Account | None,
    names: ClaimNames,
    client_id: str,
    now: float,
    algorithms: Iterable[str] = (),
    scopes: Iterable[str] = (),
    leeway: float = LEEWAY,
) -> dict[str, Any]:
    """The claims of a JWT access token that names one of `audiences` and is `account`'s; None: nobody is known.

    The person is compared by the `key` claims where the token has them all, else by `sub`.
    `scopes` are for providers whose tokens may have no `aud`: such a token must then carry them
    all, name its client and call itself an access token.
    Raises `Failure`: `wrong_audience` where the token is not for this use, `denied` where it is
    another person's.
    """
    needed = tuple(scopes)
    _, claims = _verified(token, "access token", keys, algorithms, audience=not needed)
    _check_issuer(claims, issuers, "access token")
    _check_times(claims, now, leeway, "access token")
    expected, found = tuple(audiences), _audiences(claims)
    if needed and "aud" not in claims:
        _check_purpose(claims, needed, names)
    elif not set(expected) & set(found):
        _refuse("access token", f"it is for {_list(found)}, expected {_list(expected)}")
    client = next((claims[name] for name in names.client if name in claims), client_id)
    if client != client_id:
        _refuse("access token", f"it was issued to the client {_shown(client)}, not to {client_id}")
    if account is None:
        return claims
    theirs = names.token_key or names.key
    if all(_text(claims, name) for name in theirs):
        same = "/".join(_text(claims, name) for name in theirs) == account.key
    else:
        same = claims["sub"] == account.sub
    if not same:
        raise _another(next((text for name in names.label if (text := _text(claims, name))), "somebody else"), account)
    return claims


def check_same_person(claims: Mapping[str, Any], account: Account, names: ClaimNames) -> None:
    """Refuses ID token `claims` of somebody else than `account` (OpenID Connect Core section 12.2).

    Raises `Failure(denied)`.
    """
    if _key(claims, names) != account.key:
        who = next((text for name in names.label if (text := _text(claims, name))), "somebody else")
        raise _another(who, account)


def _another(who: object, account: Account) -> Failure:
    said = f"The provider issued a token of {_shown(who)}, but {account.label} is signed in."
    return Failure("denied", said, _AGAIN)


def _check_purpose(claims: Mapping[str, Any], needed: Iterable[str], names: ClaimNames) -> None:
    """A token without `aud` is for whoever has these scopes, and shall not be mistaken for an ID token."""
    granted = _text(claims, "scope").split()
    missing = [scope for scope in needed if scope not in granted]
    if missing:
        _refuse("access token", f"it has no aud and not the scope {_list(missing)} that would say what it is for")
    if not any(name in claims for name in names.client) or claims.get("token_use", "access") != "access":
        _refuse("access token", "it has no aud and does not say that it is an access token of this client")


def account_from_claims(claims: Mapping[str, Any], names: ClaimNames) -> Account:
    """The person that verified ID token `claims` are about. Raises `Failure(configuration_invalid)`."""
    missing = [name for name in names.key if not _text(claims, name)]
    if missing:
        raise Failure(
            "configuration_invalid",
            f"The ID token has no claim {', '.join(missing)}, which user_key says identifies a person.",
            "Have the provider add it, or change `user_key`.",
        )
    email = _email(claims, names)
    unproven = {"email"} if _unverified(claims) else set[str]()
    label = next((text for name in names.label if name not in unproven and (text := _text(claims, name))), "")
    return Account(
        key=_key(claims, names),
        label=_shown(label or claims["sub"]),
        sub=claims["sub"],
        issuer=claims["iss"],
        email=_shown(email),
        tenant=_text(claims, names.tenant),
    )


def check_required_account(claims: Mapping[str, Any], require_account: Mapping[str, str], names: ClaimNames) -> None:
    """Refuses a person that the company did not mean. Raises `Failure(denied)`.

    `domain` is the part of the e-mail address after the @, where the provider does not call the
    address unverified; every other name is a claim that must have exactly that value.
    """
    for name, wanted in require_account.items():
        if name == "domain":
            email = _email(claims, names)
            found = email.rpartition("@")[2].lower() if "@" in email else ""
            matches = bool(found) and found == wanted.lower()
        else:
            value = claims.get(name)
            found = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            matches = value is not None and found == wanted
        if not matches:
            has = _shown(found) if found else "none"
            if name == "domain" and _unverified(claims):
                has = "an address that the provider has not verified"
            raise Failure(
                "denied",
                f"This account may not be used here: its {name} is {has}, expected {wanted}.",
                "Sign in with your company account.",
            )


def _verified(
    token: Secret, what: str, keys: jwt.PyJWKSet, algorithms: Iterable[str], *, audience: bool = True
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token with a good signature and the claims that every token must have."""
    allowed = ALGORITHMS & (set(algorithms) or ALGORITHMS)
    try:
        header = jwt.get_unverified_header(token.reveal())
    except jwt.PyJWTError:
        _refuse(what, "it is not a JWT")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in allowed:
        _refuse(what, f"it is signed with {_shown(algorithm)}, expected {_list(sorted(allowed))}")
    key = _key_for(header, keys, what)
    try:
        # Times, issuer and audience are checked by us: against the given time, and with both sides named.
        claims = jwt.decode(
            token.reveal(),
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
        _refuse(what, f"it has no {error.claim}")
    except (jwt.PyJWTError, TypeError, ValueError):
        _refuse(what, "its signature is not the provider's")
    if not _text(claims, "sub"):
        _refuse(what, "its sub is empty")
    return header, claims


def _key_for(header: Mapping[str, Any], keys: jwt.PyJWKSet, what: str) -> jwt.PyJWK:
    algorithm, kid = header["alg"], header.get("kid")
    family = {"R": "RSA", "P": "RSA", "E": "EC"}[algorithm[0]] if algorithm != "EdDSA" else "OKP"
    usable = [key for key in keys.keys if key.key_type == family and key.public_key_use in (None, "sig")]
    named = [key for key in usable if kid is None or key.key_id == kid]
    if len(named) != 1:  # several without a kid: guessing among keys is not a proof
        _refuse(what, f"it is signed with a key that the provider does not publish (kid {_shown(kid)})")
    return named[0]


def _check_issuer(claims: Mapping[str, Any], issuers: Iterable[str], what: str) -> None:
    tenant = _text(claims, "tid")
    expected = [issuer.replace("{tenantid}", tenant) if tenant else issuer for issuer in issuers]
    if claims["iss"] not in expected:
        _refuse(what, f"it comes from {_shown(claims['iss'])}, expected {_list(expected)}")


def _check_times(claims: Mapping[str, Any], now: float, leeway: float, what: str) -> None:
    for name in ("exp", "iat", "nbf"):
        value = claims.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _END_OF_TIME:
            _refuse(what, f"its {name} is not a time")
    if now >= claims["exp"] + leeway:
        _refuse(what, f"it expired {now - claims['exp']:.0f} s ago by this computer's clock", _CLOCK)
    ahead = max(claims["iat"], claims.get("nbf", 0)) - now
    if ahead > leeway:
        _refuse(what, f"it is valid only in {ahead:.0f} s by this computer's clock", _CLOCK)


def _audiences(claims: Mapping[str, Any]) -> tuple[str, ...]:
    value: object = claims.get("aud")
    if isinstance(value, str):
        return (value,)
    items = cast("list[object]", value) if isinstance(value, list) else []
    return tuple(item for item in items if isinstance(item, str))


def _email(claims: Mapping[str, Any], names: ClaimNames) -> str:
    for name in names.email:
        if name == "email" and _unverified(claims):
            continue
        if text := _text(claims, name):
            return text
    return ""


def _unverified(claims: Mapping[str, Any]) -> bool:
    """Some providers write the boolean as text."""
    return str(claims.get("email_verified")).lower() == "false"


def _key(claims: Mapping[str, Any], names: ClaimNames) -> str:
    return "/".join(_text(claims, name) for name in names.key)


def _hash(header: Mapping[str, Any], access_token: Secret) -> str:
    """`at_hash`: the left half of the token's hash, by the signature's algorithm."""
    # EdDSA with Ed25519 hashes with SHA-512; the others say it in their name.
    name = "512" if header["alg"] == "EdDSA" else header["alg"][-3:]
    digest = hashlib.new(f"sha{name}", access_token.reveal().encode()).digest()
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()


def _same(value: object, expected: str) -> bool:
    return isinstance(value, str) and hmac.compare_digest(value.encode(), expected.encode())


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name) if name else None
    return value if isinstance(value, str) else ""


def _shown(value: object) -> str:
    """A claim's value, fit for a terminal and a log line."""
    text = "".join(c for c in str(value) if c.isprintable())
    return text if len(text) <= 200 else text[:199] + "…"


def _list(values: Iterable[str]) -> str:
    return " or ".join(_shown(value) for value in values) or "nobody"


def _refuse(what: str, why: str, advice: str = _PROVIDER) -> NoReturn:
    raise Failure("wrong_audience", f"The {what} was not used: {why}.", advice)
