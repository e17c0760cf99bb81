"""Why somebody is not signed in, in words, and how a session ends without a logout."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, Literal

from acp_stdio.errors import Failure
from acp_stdio.identity.binding import BOUND
from acp_stdio.identity.model import Grant, Session
from acp_stdio.settings.model import Dpop

Ending = Literal["logout", "withdrawn", "revoked", "interrupted", "forgotten", "outlived", "refused"]

SIGN_IN: Final = "Run `acp-stdio login`, then ask again."
SIGN_IN_HERE: Final = "Approve the tool `acp_login` again, then repeat this."
"""Where a sign-in is held: one in a terminal would not last."""

_WORDS: Final[dict[str, str]] = {
    "logout": "You signed out.",
    "withdrawn": "Your administrator signed you out: your access on this computer was withdrawn.",
    "revoked": (
        "Your identity provider ended your sign-in: it has expired there, or was withdrawn, "
        "or your account was disabled."
    ),
    "forgotten": (
        "You are signed out: your identity provider does not know this program any more, "
        "which registered itself there; signing in registers it anew."
    ),
    "interrupted": (
        "You are signed out: the connection broke while your sign-in was being renewed, "
        "and your identity provider does not take the old one again."
    ),
    "outlived": (
        "Your sign-in is over: your identity provider issues no refresh token, "
        "so it could neither be renewed nor confirmed again."
    ),
    "refused": (
        "The server does not take your access token, and your identity provider issues no refresh token "
        "to get another one with."
    ),
}
_ADVICE: Final[dict[str, str]] = {
    "withdrawn": "If that is a mistake, ask whoever administers it, then run `acp-stdio login`.",
    "outlived": SIGN_IN_HERE,
    "refused": SIGN_IN_HERE,
}


def ended_here(session: Session | None) -> bool:
    """Whether it was ended on this computer, by the person or by the administrator, rather than at the provider."""
    return session is not None and session.ended_because in ("logout", "withdrawn")


def unless_withdrawn(session: Session | None, is_revoked: Callable[[str], bool]) -> Session | None:
    """`session` as it counts: over where the administrator has revoked the person, also before it is purged.

    `is_revoked`: of a user key. Raises what that raises.
    """
    if session is None or not session.signed_in or session.account is None or not is_revoked(session.account.key):
        return session
    return ended(session, "withdrawn", session.ended_at)


def is_ours(grant: Grant, place: str) -> bool:
    """Whether this user signed in on this computer; a record from before that was kept counts as ours."""
    return grant.place in ("", place)


def elsewhere() -> Failure:
    """The refusal for a stored sign-in that came here with a roaming profile, a backup or somebody else's files."""
    return Failure(
        "login_required",
        "You must sign in again: the stored sign-in was made on another computer, or by another user of this one.",
        SIGN_IN,
    )


def too_old(session: Session, max_session_age: float, now: float) -> Failure | None:
    """The refusal for a sign-in that is older than the settings allow (0: no limit); None where it is not."""
    if not max_session_age or 0 <= now - session.obtained_at < max_session_age:
        return None
    return Failure("login_required", "Your sign-in is older than your company allows (max_session_age).", SIGN_IN)


def known_end(session: Session, max_session_age: float) -> float:
    """When the sign-in is over by what the provider and the settings (0: no limit) say; 0: neither says it.

    Epoch seconds. A renewal may move the provider's.
    """
    ours = session.obtained_at + max_session_age if max_session_age else 0.0
    return min((each for each in (session.refresh_expires_at, ours) if each), default=0.0)


def misbound(session: Session, dpop: Dpop) -> Failure | None:
    """The refusal for a sign-in whose tokens are not bound to a key as `dpop` has it by now; None where they are."""
    if dpop == "off" and session.jkt:
        why = 'Your sign-in is bound to a key, and the configuration now says dpop = "off".'
    elif dpop == "require" and session.token_type != BOUND:
        why = 'Your sign-in is not bound to a key, and the configuration now says dpop = "require".'
    else:
        return None
    return Failure("login_required", why, SIGN_IN)


def signed_out(session: Session | None) -> Failure:
    """The refusal for a session that is not signed in."""
    if session is None:
        return Failure("login_required", "You have not signed in yet.", SIGN_IN)
    words = _WORDS.get(session.ended_because, "You are signed out.")
    return Failure("login_required", words, _ADVICE.get(session.ended_because, SIGN_IN))


def next_generation(known: int, now: float) -> int:
    """The generation after `known`; where nothing is known (0), one that no running process holds.

    `session.json` may have been moved away under a process that still holds a token of generation 1.
    """
    return known + 1 if known else int(now)


def ended_or_changed(session: Session | None) -> Failure:
    """The refusal for a call whose login does not hold any more, though another may."""
    if session is not None and session.signed_in:
        return Failure("login_required", "Somebody signed in anew while this call was under way.", "Ask again.")
    return signed_out(session)


def ended(session: Session, because: Ending, now: float) -> Session:
    """The tombstone of `session`. Its generation is nobody's, so that every token in memory is void.

    Who it was and when the IdP last confirmed them stays, for `status` and `logout` to tell.
    """
    return replace(
        session,
        generation=session.generation + 1,
        signed_in=False,
        in_flight_since=0.0,
        in_flight_rotation=-1,
        ended_at=now,
        ended_because=because,
    )
