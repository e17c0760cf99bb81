"""Signing out: the tombstone first, so that no call leaves after it; then the IdP, then the traces."""

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from acp_stdio.errors import Failure
from acp_stdio.identity.model import Account, Grant, Session
from acp_stdio.secrets import Secret
from acp_stdio.settings.model import Settings
from acp_stdio.tokens.context import Context
from acp_stdio.tokens.endings import Ending, ended, ended_here, next_generation
from acp_stdio.tokens.session_file import SessionFile
from acp_stdio.tokens.sign_ins import everything

LOCK_TIMEOUT: Final = 30.0
"""Seconds to wait for a refresh that runs just now, so that its new token is revoked and not the old one."""

Revocation = Literal["revoked", "unsupported", "failed", "nothing"]
GRAVITY: Final[list[Revocation]] = ["nothing", "revoked", "unsupported", "failed"]
"""Of two grants, the worse outcome is told."""


@dataclass(frozen=True, slots=True)
class LogoutReport:
    """What a logout did. Never an exception: what could not be done is in here."""

    account: Account | None
    issuer: str
    was_signed_in: bool
    revocation: Revocation
    """Of the refresh token; RFC 7009 has the IdP end the access tokens of the same grant, where it can."""
    deleted: bool
    """The stored sign-in is gone from this machine."""
    access_until: float
    """Epoch seconds until which access tokens that were issued may still be accepted; 0: none."""
    problems: tuple[str, ...] = ()
    """What could not be done, for people."""


def sign_out(ctx: Context) -> LogoutReport:
    """Ends one sign-in on this machine and at the IdP; repeating it finishes what was left. The trail stays.

    Raises `Failure` only where the tombstone cannot be written, since then nothing has happened.
    """
    (report,) = sign_out_all([ctx])
    return report


def sign_out_all(sign_ins: Sequence[Context], because: Ending = "logout") -> list[LogoutReport]:
    """Ends several: first no call leaves for any of them, then each is revoked and deleted. See `sign_out`."""
    tombstones = [_tombstone(ctx, because) for ctx in sign_ins]
    return [_finish(ctx, *tombstone) for ctx, tombstone in zip(sign_ins, tombstones, strict=True)]


def revoked_sign_ins(settings: Settings) -> list[Settings]:
    """The sign-ins of this profile whose person the administrator has revoked, and that are still there."""
    if not settings.revoked:
        return []
    found: list[Settings] = []
    for each in everything(settings):
        session = None
        with contextlib.suppress(Failure):
            session = SessionFile(each.session_dir).read()
        if session and session.signed_in and session.account and session.account.key in settings.revoked:
            found.append(each)
    return found


def end_access_token(ctx: Context, token: Secret) -> None:
    """Has the provider end an access token (RFC 7009) that a process held when the person signed out. Best effort."""
    session = ctx.session.read()
    if session is None or not ended_here(session):
        return
    with contextlib.closing(ctx.provider(session.issuer, session.client_id)) as provider:
        provider.prepare()
        provider.revoke(token, "access_token")


def end_session_page(ctx: Context) -> str:
    """Where the browser ends the session at the provider itself; empty where there is none. Raises `Failure`."""
    session = ctx.session.read()
    if session is None or not session.issuer:
        return ""
    with contextlib.closing(ctx.provider(session.issuer, session.client_id)) as provider:
        provider.prepare()
        return provider.end_session_page(session.account)


def _finish(ctx: Context, before: Session | None, after: Session, owners: list[tuple[str, str]]) -> LogoutReport:
    problems: list[str] = []
    revocation: Revocation = "nothing"
    deleted = True
    with ctx.renewing_if_free(LOCK_TIMEOUT) as alone:
        if not alone:
            problems.append("A renewal of your sign-in was still running; run `acp-stdio logout` again.")
        for issuer, client_id in owners:
            outcome, gone = _forget(ctx, issuer, client_id, problems)
            revocation = max(revocation, outcome, key=GRAVITY.index)
            deleted = deleted and gone
    if not alone:
        revocation = "failed"
    shutil.rmtree(ctx.settings.cache_dir, ignore_errors=True)
    if ctx.settings.cache_dir.exists():
        problems.append(f"{ctx.settings.cache_dir} could not be emptied.")
    last = after.confirmed_at + after.access_ttl if after.access_ttl else 0.0
    return LogoutReport(
        account=after.account,
        issuer=after.issuer,
        was_signed_in=before is not None and before.signed_in,
        revocation=revocation,
        deleted=deleted,
        access_until=last if last > ctx.clock() else 0.0,
        problems=tuple(problems),
    )


def _tombstone(ctx: Context, because: Ending) -> tuple[Session | None, Session, list[tuple[str, str]]]:
    """The session as it was, None where there was none or a damaged one; as it is now; whose grants to end."""
    identity = ctx.settings.identity
    with ctx.session.lock():
        before = announced = None
        with contextlib.suppress(Failure):
            before = ctx.session.read()
        with contextlib.suppress(Failure):
            announced = ctx.session.read_next()
        found = [(each.issuer, each.client_id) for each in (before, announced) if each and each.issuer]
        configured = [(identity.issuer, identity.client_id)] if identity.issuer else []
        owners = list(dict.fromkeys(found)) or configured
        now, known = ctx.clock(), ctx.session.known_generation()
        if before is not None and ended_here(before) and before.generation == known:
            again = replace(before, generation=known + 1)  # a process may hold a sign-in that is stored nowhere
            ctx.session.write(again)
            return before, again, owners
        session = before or Session(generation=0, signed_in=False, account=None)
        after = replace(ended(session, because, now), generation=next_generation(known, now))
        ctx.session.write(after)
        ctx.session.forget_next()
    return before, after, owners


def _forget(ctx: Context, issuer: str, client_id: str, problems: list[str]) -> tuple[Revocation, bool]:
    """Revokes and deletes one grant; what became of it at the IdP, and whether it is gone from here."""
    revocation: Revocation = "nothing"
    try:
        vault = ctx.vault_of(issuer, client_id)
        try:
            grant = vault.load()
        except Failure as failure:
            problems.append(f"The stored sign-in could not be read, so it was not revoked. {failure.message}")
            grant, revocation = None, "failed"
        if grant is not None:
            revocation = _revoke(ctx, grant, problems)
        vault.delete()
        ctx.registrations.drop_secret(issuer, client_id)
    except Failure as failure:
        problems.append(f"The stored sign-in could not be deleted. {failure.message}")
        return "failed" if revocation == "nothing" else revocation, False
    return revocation, True


def _revoke(ctx: Context, grant: Grant, problems: list[str]) -> Revocation:
    """RFC 7009. A failure leaves the token valid at the IdP until it expires there, and is said."""
    try:
        with contextlib.closing(ctx.provider(grant.issuer, grant.client_id)) as provider:
            provider.prepare()
            revocation = provider.revoke(grant.refresh_token)
    except Failure as failure:
        problems.append(f"The identity provider could not be told. {failure.message}")
        return "failed"
    if revocation == "failed":
        problems.append(f"{grant.issuer} did not confirm that the refresh token is revoked.")
    return revocation
