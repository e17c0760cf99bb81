"""Proves what a token says before anybody believes it. Pure: keys and time are given.

OpenID Connect Core section 3.1.3.7 for ID tokens, RFC 9068 section 4 and RFC 8725 for access
tokens, with PyJWT for the signatures. Messages name what was expected and found, never the token.
"""

import base64
import contextlib
import hashlib
import hmac
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import jwt

from acp_stdio.errors import Failure
from acp_stdio.identity.model import Account
from acp_stdio.identity.signed import (
    NotProven,
    check_issuer,
    check_times,
    first_text,
    listed,
    media_type,
    shown,
    text,
    verified,
)
from acp_stdio.identity.signed import audiences as audiences_of
from acp_stdio.secrets import Secret

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
    leeway: float,
    algorithms: Iterable[str] = (),
    access_token: Secret | None = None,
) -> dict[str, Any]:
    """The claims of an ID token for `client_id`.

    `nonce` None: none was sent (device flow, refresh). `algorithms` empty: the metadata named none. `leeway`:
    seconds by which clocks may differ.
    Raises `Failure`: `wrong_audience` where it is forged, stale or another party's, `denied` where
    it answers another sign-in.
    """
    header, claims = _verified(token, "ID token", keys, algorithms)
    if media_type(header) == "at+jwt":
        _refuse("ID token", "it is an access token")
    _check(claims, issuers, now, leeway, "ID token")
    found = audiences_of(claims)
    azp = claims.get("azp")
    if client_id not in found or (azp is None and len(found) > 1) or azp not in (None, client_id):
        names = f"{listed(found)}, azp {azp}" if azp is not None else listed(found)
        _refuse("ID token", f"it is for {names}, expected {client_id}")
    if nonce is not None and not _same(claims.get("nonce"), nonce):
        raise Failure("denied", "The ID token belongs to another sign-in (nonce).", "Sign in again.")
    at_hash = claims.get("at_hash")
    if access_token is not None and at_hash is not None and not _same(at_hash, _hash(header, access_token)):
        _refuse("ID token", "it belongs to another access token (at_hash)")
    return claims


def claimed_subject(token: Secret) -> str:
    """Whom an ID token is about by its own account, which nobody has proven; empty where it does not say."""
    try:
        return text(jwt.decode(token.reveal(), options={"verify_signature": False}), "sub")
    except jwt.PyJWTError:
        return ""


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
    leeway: float,
    algorithms: Iterable[str] = (),
    scopes: Iterable[str] = (),
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
    _check(claims, issuers, now, leeway, "access token")
    expected, found = tuple(audiences), audiences_of(claims)
    if needed and "aud" not in claims:
        _check_purpose(claims, needed, names)
    elif not set(expected) & set(found):
        _refuse("access token", f"it is for {listed(found)}, expected {listed(expected)}")
    client = next((claims[name] for name in names.client if name in claims), client_id)
    if client != client_id:
        _refuse("access token", f"it was issued to the client {shown(client)}, not to {client_id}")
    if account is None:
        return claims
    theirs = names.token_key or names.key
    if all(text(claims, name) for name in theirs):
        same = "/".join(text(claims, name) for name in theirs) == account.key
    else:
        same = claims["sub"] == account.sub
    if not same:
        raise _another(first_text(claims, names.label) or "somebody else", account)
    return claims


def check_same_person(claims: Mapping[str, Any], account: Account, names: ClaimNames) -> None:
    """Refuses ID token `claims` of somebody else than `account` (OpenID Connect Core section 12.2).

    Raises `Failure(denied)`.
    """
    if _key(claims, names) != account.key:
        who = first_text(claims, names.label) or "somebody else"
        raise _another(who, account)


def _another(who: object, account: Account) -> Failure:
    said = f"The provider issued a token of {shown(who)}, but {account.label} is signed in."
    return Failure("denied", said, _AGAIN)


def _check_purpose(claims: Mapping[str, Any], needed: Iterable[str], names: ClaimNames) -> None:
    """A token without `aud` is for whoever has these scopes, and shall not be mistaken for an ID token."""
    granted = text(claims, "scope").split()
    missing = [scope for scope in needed if scope not in granted]
    if missing:
        _refuse("access token", f"it has no aud and not the scope {listed(missing)} that would say what it is for")
    if not any(name in claims for name in names.client) or claims.get("token_use", "access") != "access":
        _refuse("access token", "it has no aud and does not say that it is an access token of this client")


def account_from_claims(claims: Mapping[str, Any], names: ClaimNames) -> Account:
    """The person that verified ID token `claims` are about. Raises `Failure(configuration_invalid)`."""
    missing = [name for name in names.key if not text(claims, name)]
    if missing:
        raise Failure(
            "configuration_invalid",
            f"The ID token has no claim {', '.join(missing)}, which user_key says identifies a person.",
            "Have the provider add it, or change `user_key`.",
        )
    email = _email(claims, names)
    unproven = {"email"} if _unverified(claims) else set[str]()
    label = first_text(claims, (name for name in names.label if name not in unproven))
    return Account(
        key=_key(claims, names),
        label=shown(label or claims["sub"]),
        sub=claims["sub"],
        issuer=claims["iss"],
        email=shown(email),
        tenant=text(claims, names.tenant),
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
            has = shown(found) if found else "none"
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
    with _said_of(what):
        return verified(token.reveal(), keys, algorithms, audience=audience)


def _check(claims: Mapping[str, Any], issuers: Iterable[str], now: float, leeway: float, what: str) -> None:
    with _said_of(what):
        check_issuer(claims, issuers)
        check_times(claims, now, leeway)


@contextlib.contextmanager
def _said_of(what: str) -> Generator[None]:
    """Tells the person which token was not believed."""
    try:
        yield
    except NotProven as error:
        _refuse(what, error.why, _CLOCK if error.clock else _PROVIDER)


def _email(claims: Mapping[str, Any], names: ClaimNames) -> str:
    for name in names.email:
        if name == "email" and _unverified(claims):
            continue
        if found := text(claims, name):
            return found
    return ""


def _unverified(claims: Mapping[str, Any]) -> bool:
    """Some providers write the boolean as text."""
    return str(claims.get("email_verified")).lower() == "false"


def _key(claims: Mapping[str, Any], names: ClaimNames) -> str:
    return "/".join(text(claims, name) for name in names.key)


def _hash(header: Mapping[str, Any], access_token: Secret) -> str:
    """`at_hash`: the left half of the token's hash, by the signature's algorithm."""
    # EdDSA with Ed25519 hashes with SHA-512; the others say it in their name.
    name = "512" if header["alg"] == "EdDSA" else header["alg"][-3:]
    digest = hashlib.new(f"sha{name}", access_token.reveal().encode()).digest()
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()


def _same(value: object, expected: str) -> bool:
    return isinstance(value, str) and hmac.compare_digest(value.encode(), expected.encode())


def _refuse(what: str, why: str, advice: str = _PROVIDER) -> NoReturn:
    raise Failure("wrong_audience", f"The {what} was not used: {why}.", advice)
