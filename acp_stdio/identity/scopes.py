"""What a sign-in asked for beside what it was granted. Pure.

A server may grant other scopes than those asked for, and then says so (RFC 6749 section 3.3); an answer
without `scope` means exactly those (section 5.1).
"""

from typing import Final

from acp_stdio.identity.model import Session

_ABOUT_THE_PERSON: Final = frozenset({"openid", "profile", "email", "address", "phone", "offline_access"})
"""OpenID Connect Core sections 5.4 and 11: they bring claims, an ID token and a refresh token, and an access token
for a server of its own has no use for them, so that most answers leave them out."""

_WRITTEN_OUT: Final = {
    "https://www.googleapis.com/auth/userinfo.email": "email",
    "https://www.googleapis.com/auth/userinfo.profile": "profile",
}
"""How Google answers (developers.google.com/identity/protocols/oauth2/scopes, Google Sign-In)."""

_DEFAULT: Final = "/.default"
"""Entra: whatever was consented to for this application (learn.microsoft.com, scopes-oidc)."""


def granted_scopes(said: str | None, asked: tuple[str, ...]) -> tuple[str, ...]:
    """The scopes of an answer that `said` this. An empty value, which the grammar does not have, says nothing."""
    return tuple(dict.fromkeys((said or "").split())) or asked


def wider(session: Session) -> tuple[str, ...]:
    """What was granted and nobody asked for; nothing where it is not known what was asked for."""
    if not session.asked:
        return ()
    whole = tuple(each.removesuffix(".default") for each in session.asked if each.endswith(_DEFAULT))
    return tuple(
        scope
        for scope in session.scopes
        if _WRITTEN_OUT.get(scope, scope) not in session.asked and not (whole and scope.startswith(whole))
    )


def narrower(session: Session) -> tuple[str, ...]:
    """What was asked for and is known not to be granted.

    The answer's scopes are those of one access token, and that is for one server: with several at hand (RFC 8707)
    it does not tell what the others' tokens will have.
    """
    if len(set(session.resources.values())) > 1:
        return ()
    return tuple(
        scope
        for scope in session.asked
        if scope not in session.scopes and scope not in _ABOUT_THE_PERSON and not scope.endswith(_DEFAULT)
    )


def covered_scopes(session: Session) -> tuple[str, ...]:
    """What the sign-in is for: all that it was granted, and all that it asked for and was not denied."""
    denied = narrower(session)
    return tuple(dict.fromkeys((*session.scopes, *(each for each in session.asked if each not in denied))))
