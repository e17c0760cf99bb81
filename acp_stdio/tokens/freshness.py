"""When a token or a confirmation is too old. Pure; times are epoch seconds, spans are seconds."""

from dataclasses import replace

from acp_stdio.identity.model import AccessToken, Session


def skew(ttl: float) -> float:
    """How long before its end a token that lives `ttl` is treated as expired.

    30 s, but never more than a quarter of a short life nor less than a tenth of a long one: a
    token must survive the call that it is attached to and a server's clock that runs ahead.
    """
    return max(min(30.0, ttl / 4), ttl / 10)


def is_usable(token: AccessToken, now: float) -> bool:
    """May `token` still be attached? Not where the clock was put back, since its age is unknown then."""
    return token.issued_at <= now < token.expires_at - skew(token.expires_at - token.issued_at)


def should_renew(token: AccessToken, now: float) -> bool:
    """Is it time to fetch the next one while this one still serves?"""
    return not token.issued_at <= now < token.expires_at - 2 * skew(token.expires_at - token.issued_at)


def within(token: AccessToken, session: Session, max_session_age: float) -> AccessToken:
    """`token`, used no longer than the sign-in that it came from may last (0: no limit of ours)."""
    if not max_session_age:
        return token
    return replace(token, expires_at=min(token.expires_at, session.obtained_at + max_session_age))


def confirmed(session: Session, recheck_identity: float, now: float) -> bool:
    """Did the IdP confirm the person within `recheck_identity`? Not where the clock was put back."""
    return session.signed_in and 0 <= now - session.confirmed_at < recheck_identity
