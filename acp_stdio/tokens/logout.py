"""Signing out: the tombstone first, so that no call leaves after it; then the IdP, then the traces."""

import shutil
from dataclasses import dataclass, replace
from typing import Final, Literal

from acp_stdio.errors import Failure
from acp_stdio.identity.model import Account, Grant, Session
from acp_stdio.tokens.context import Context
from acp_stdio.tokens.endings import ended, next_generation

LOCK_TIMEOUT: Final = 30.0
"""Seconds to wait for a refresh that runs just now, so that its new token is revoked and not the old one."""

Revocation = Literal["revoked", "unsupported", "failed", "nothing"]


@dataclass(frozen=True, slots=True)
class LogoutReport:
    """What a logout did. Never an exception: what could not be done is in here."""

    account: Account | None
    was_signed_in: bool
    revocation: Revocation
    """Of the refresh token; RFC 7009 has the IdP end the access tokens of the same grant, where it can."""
    deleted: bool
    """The stored sign-in is gone from this machine."""
    access_until: float
    """Epoch seconds until which access tokens that were issued may still be accepted; 0: none."""
    problems: tuple[str, ...] = ()
    """What could not be done, for people."""


def sign_out(ctx: Context, reason: str = "") -> LogoutReport:
    """Signs this profile out on this machine and at the IdP; repeating it finishes what was left.

    The trail stays. `reason` is the person's own text; it is the caller's to record.
    Raises `Failure` only where the tombstone cannot be written, since then nothing has happened.
    """
    before, after = _tombstone(ctx)
    problems: list[str] = []
    revocation: Revocation = "nothing"
    deleted = True
    with ctx.renewing_if_free(LOCK_TIMEOUT) as alone:
        if not alone:
            problems.append("A renewal of your sign-in was still running; run `acp-stdio logout` again.")
        try:
            grant = ctx.vault.load()
            if grant is not None:
                revocation = _revoke(ctx, grant, problems)
            ctx.vault.delete()
        except Failure as failure:
            deleted = False
            problems.append(f"The stored sign-in could not be deleted. {failure.message}")
    if not (alone and deleted):
        revocation = "failed" if revocation == "nothing" else revocation
    shutil.rmtree(ctx.settings.cache_dir, ignore_errors=True)
    if ctx.settings.cache_dir.exists():
        problems.append(f"{ctx.settings.cache_dir} could not be emptied.")
    last = after.confirmed_at + after.access_ttl if after.access_ttl else 0.0
    return LogoutReport(
        account=after.account,
        was_signed_in=before is not None and before.signed_in,
        revocation=revocation,
        deleted=deleted,
        access_until=last if last > ctx.clock() else 0.0,
        problems=tuple(problems),
    )


def _tombstone(ctx: Context) -> tuple[Session | None, Session]:
    """The session as it was, None where there was none or a damaged one, and as it is now."""
    with ctx.session.lock():
        try:
            before = ctx.session.read()
        except Failure:
            before = None
        now, known = ctx.clock(), ctx.session.known_generation()
        if before is not None and before.ended_because == "logout" and before.generation == known:
            return before, before
        session = before or Session(generation=0, signed_in=False, account=None)
        after = replace(ended(session, "logout", now), generation=next_generation(known, now))
        ctx.session.write(after)
        ctx.session.forget_next()
    return before, after


def _revoke(ctx: Context, grant: Grant, problems: list[str]) -> Revocation:
    """RFC 7009. A failure leaves the token valid at the IdP until it expires there, and is said."""
    try:
        provider = ctx.provider(grant.issuer, grant.client_id)
        provider.prepare()
    except Failure as failure:
        problems.append(f"The identity provider could not be told. {failure.message}")
        return "failed"
    revocation = provider.revoke(grant.refresh_token)
    if revocation == "failed":
        problems.append(f"{grant.issuer} did not confirm that the refresh token is revoked.")
    return revocation
