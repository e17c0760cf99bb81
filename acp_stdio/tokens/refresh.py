"""The one refresh path: one transaction, locked across processes, for timer, call and 401.

A rotating refresh token can be spent once. So: take the lock, read again what others wrote,
make sure that the answer can be stored, say that we are about to spend it, spend it, store
its successor, and only then let anybody have the access token. Only `invalid_grant` ends a
session (RFC 6749 section 5.2), and only after looking whether somebody stored a newer one.
"""

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from acp_stdio.errors import Failure
from acp_stdio.identity.model import AccessToken, Grant, Session
from acp_stdio.identity.scopes import narrower
from acp_stdio.oauth.asking import token_request_params
from acp_stdio.oauth.endpoint import TokenError, TokenResponse
from acp_stdio.oauth.presets import preset_of
from acp_stdio.secrets import Secret
from acp_stdio.settings.model import UpstreamSettings
from acp_stdio.settings.revocations import revoked_failure
from acp_stdio.tokens.context import Context, Provider
from acp_stdio.tokens.endings import SIGN_IN, Ending, elsewhere, ended, is_ours, misbound, signed_out, too_old
from acp_stdio.tokens.freshness import within
from acp_stdio.tokens.messages import fingerprint
from acp_stdio.tokens.sign_ins import granted_for, missing_scopes

LOCK_TIMEOUT: Final = 20.0
"""Seconds to wait for another process's refresh; longer than one that goes well can take."""

_REREADS: Final = (0.0, 0.025, 0.05, 0.1)
_SAVES: Final = (0.0, 0.2, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each try to store what was rotated. With the bound of each try that is half a minute in which a
keyring that froze, or was locked just then, may come back: the refresh token before is spent already."""


def obtain_token(
    ctx: Context,
    upstream: UpstreamSettings,
    *,
    rejected: str | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    on_sent: Callable[[], None] = lambda: None,
) -> AccessToken:
    """A fresh, proven access token for `upstream`. Blocks; bounded by the lock's and the client's limits.

    `rejected` is the fingerprint of a token that the upstream refused. `on_sent` is called when the
    refresh token is about to be spent; until then `cancelled` is looked at and ends it with `Cancelled`.
    Raises `Failure`: login_required, idp_unreachable, keyring_locked, timeout, wrong_audience,
    configuration_invalid.
    """
    session = _signed_in(ctx.session.read())
    _fits(ctx, session, upstream)
    with contextlib.closing(ctx.provider(session.issuer, session.client_id)) as provider:
        provider.prepare()  # public documents, perhaps over the network: not while others wait for the lock
        with ctx.renewing(LOCK_TIMEOUT, cancelled):
            session, grant = _stored(ctx)
            _fits(ctx, session, upstream)
            with ThreadPoolExecutor(1) as shield:  # a Ctrl-C here waits: half a rotation is a lost session
                renewed = shield.submit(_renew, ctx, provider, session, grant, upstream, on_sent).result()
        token = _proven(provider, upstream, rejected, grant.proof_key, *renewed)
        return within(token, renewed[0], ctx.settings.identity.max_session_age)


def _signed_in(session: Session | None) -> Session:
    if session is None or not session.signed_in:
        raise signed_out(session)
    return session


def _fits(ctx: Context, session: Session, upstream: UpstreamSettings) -> None:
    """A refresh is never tried for what the login did not ask for: a refused one can burn the grant."""
    identity = ctx.settings.identity
    issuer, client_id = identity.issuer or session.issuer, identity.client_id or session.client_id
    if (session.issuer, session.client_id) != (issuer, client_id):
        raise Failure(
            "login_required",
            f"You are signed in at {session.issuer} as {session.client_id}, but the configuration now names "
            f"{issuer} and {client_id}.",
            SIGN_IN,
        )
    if unfit := too_old(session, identity.max_session_age, ctx.clock()) or misbound(session, identity.dpop):
        raise unfit
    if session.account is not None and session.account.key in ctx.settings.revoked:
        raise revoked_failure()
    if missing := missing_scopes(session, upstream):
        raise Failure("login_required", f"You signed in before {upstream.name} needed {' '.join(missing)}.", SIGN_IN)
    if not granted_for(session, upstream):
        raise Failure("login_required", f"You signed in before {upstream.name} was part of the configuration.", SIGN_IN)
    if session.account is not None and not session.account.known and upstream.principal == "required":
        raise Failure(
            "login_required",
            f"{upstream.name} is for people who are known, and {session.issuer} does not say who you are.",
            f'Sign in where that is said, or set principal = "unverified" under [upstreams.{upstream.name}].',
        )


def _stored(ctx: Context) -> tuple[Session, Grant]:
    """The session and the grant that belongs to it. A keyring may take a moment to show the newest."""
    session = _signed_in(ctx.session.read())
    ctx.vault.probe()
    grant = None
    for pause in _REREADS:
        ctx.sleep(pause)
        grant = ctx.vault.load()
        if grant is None:
            continue
        if not is_ours(grant, ctx.place):
            raise elsewhere()
        if grant.generation != session.generation:
            session = _signed_in(_adopted(ctx, grant))
        if grant.generation == session.generation:
            return session, grant
    where = session.storage or "the keyring"
    what = "is gone from" if grant is None else "was replaced by a stranger's in"
    raise Failure("login_required", f"You must sign in again: your sign-in {what} {where}.", SIGN_IN)


def _adopted(ctx: Context, grant: Grant) -> Session | None:
    """Ends what a login began that was killed between storing its grant and saying so."""
    with ctx.session.lock():
        now, announced = ctx.session.read(), ctx.session.read_next()
        if now and now.signed_in and announced and announced.generation == grant.generation:
            ctx.session.promote()
            return announced
        return now


def _renew(
    ctx: Context,
    provider: Provider,
    session: Session,
    grant: Grant,
    upstream: UpstreamSettings,
    on_sent: Callable[[], None],
) -> tuple[Session, TokenResponse, float]:
    # Not 0: a process was killed, or lost its answer, while spending this very token.
    cut_off = session.in_flight_since if session.in_flight_rotation in (-1, grant.rotation) else 0.0
    sent_at = ctx.clock()
    on_sent()
    _change(
        ctx, session, lambda now: replace(now, in_flight_since=cut_off or sent_at, in_flight_rotation=grant.rotation)
    )
    lost, repeated, newer = cut_off > 0, False, False
    resource, claims = session.resources.get(upstream.name, upstream.url), session.claims
    while True:
        try:
            response = provider.refresh(grant, _grantable(ctx, session, upstream), resource, claims)
            break
        except Failure:  # not even asked: the configuration does not say what for
            if not lost:
                _change(ctx, session, _unmarked)
            raise
        except TokenError as error:
            if error.kind == "misconfigured" and claims:
                claims = ""  # what one server asked for takes the person by now; the calls that do without it go on
                continue
            if error.kind == "answer_lost" and not repeated:
                lost = repeated = True  # IdPs with a grace period take the old token once more
                continue
            if error.kind == "invalid_grant":
                found = None if newer else _newer(ctx, grant)
                if found is not None:
                    grant, newer = found, True
                    continue
                raise _end(ctx, session, "interrupted" if lost else "revoked") from None
            if error.error == "invalid_client" and ctx.registrations.drop(session.issuer, session.client_id):
                raise _end(ctx, session, "forgotten") from None
            if error.kind != "answer_lost" and not lost:
                _change(ctx, session, _unmarked)
            raise _kept(error) from None
    _save(ctx, grant, response)
    session = _change(
        ctx,
        session,
        lambda now: replace(
            _unmarked(now),
            confirmed_at=sent_at,
            access_ttl=response.expires_in or now.access_ttl,
            refresh_expires_at=_end_of(response, grant, sent_at, now),
        ),
    )
    return session, response, sent_at


def _end_of(response: TokenResponse, spent: Grant, sent_at: float, now: Session) -> float:
    """When the refresh token ends that is stored now: as the answer says, else as was said of the one that stays."""
    if response.refresh_expires_in:
        return sent_at + response.refresh_expires_in
    return now.refresh_expires_at if _stays(response, spent) else 0.0


def _stays(response: TokenResponse, spent: Grant) -> bool:
    """An IdP that names no successor does not rotate: the old one stays good."""
    return response.refresh_token is None or response.refresh_token == spent.refresh_token


def _grantable(ctx: Context, session: Session, upstream: UpstreamSettings) -> UpstreamSettings:
    """`upstream` without the scopes that the sign-in was denied: RFC 6749 section 6 has a refresh ask for no others.

    Raises `Failure(insufficient_scope)` where a token is asked for by its scopes alone, and all were denied.
    """
    denied = narrower(session)
    scopes = tuple(scope for scope in upstream.scopes if scope not in denied)
    if (
        upstream.scopes
        and not scopes
        and "scope" in token_request_params(upstream, preset_of(ctx.settings.identity), "")
    ):
        raise Failure(
            "insufficient_scope",
            f"{session.issuer} did not grant {' '.join(denied)}, which {upstream.name} needs.",
            "Ask whoever runs the provider to allow it, then run `acp-stdio login --force`.",
        )
    return replace(upstream, scopes=scopes)


def _unmarked(session: Session) -> Session:
    return replace(session, in_flight_since=0.0, in_flight_rotation=-1)


def _change(ctx: Context, mine: Session, change: Callable[[Session], Session]) -> Session:
    """Changes the session unless it ended meanwhile: a logout does not wait for us."""

    def checked(now: Session | None) -> Session:
        if now is None or now.generation != mine.generation:
            raise signed_out(now)
        return change(now)

    return ctx.session.update(checked)


def _newer(ctx: Context, spent: Grant) -> Grant | None:
    """What another process stored after we read: the refusal was about a token that it had replaced."""
    for pause in _REREADS:
        ctx.sleep(pause)
        grant = ctx.vault.load()
        if grant and grant.generation == spent.generation and grant.rotation > spent.rotation:
            return grant
    return None


def _end(ctx: Context, session: Session, because: Ending) -> Failure:
    over = _change(ctx, session, lambda now: ended(now, because, ctx.clock()))
    ctx.forget_grant()
    return signed_out(over)


def _save(ctx: Context, spent: Grant, response: TokenResponse) -> None:
    """Stores the successor, if there is one."""
    if response.refresh_token is None or _stays(response, spent):
        return
    successor = replace(spent, refresh_token=response.refresh_token, rotation=spent.rotation + 1)
    why = ""
    for pause in _SAVES:
        ctx.sleep(pause)
        try:
            ctx.vault.save(successor)
            return
        except Failure as failure:
            why = failure.message
    # Nobody gets the access token: it would work until it expires and then surprise. The mark stays, so
    # that the next refresh, where the IdP does not take the old token again, tells what happened.
    raise Failure(
        "keyring_locked",
        f"Your sign-in was renewed, but its new refresh token could not be stored. {why}",
        "Unlock the keyring and run `acp-stdio login`.",
    )


def _kept(error: TokenError) -> Failure:
    """A refusal that says nothing about the grant: the words of the IdP, and that it is still there."""
    failure = error.failure()
    if failure.reason == "idp_unreachable":
        failure = Failure(failure.reason, f"{failure.message} You stay signed in.", failure.advice)
    return failure


def _proven(
    provider: Provider,
    upstream: UpstreamSettings,
    rejected: str | None,
    key: Secret | None,
    session: Session,
    response: TokenResponse,
    sent_at: float,
) -> AccessToken:
    token = provider.prove(response, upstream, session, sent_at, key)
    if rejected == fingerprint(token.value):
        raise Failure(
            "wrong_audience",
            f"{upstream.name} refuses your token, and your identity provider issued the same one again.",
            "Show this to whoever runs the server, with what `acp-stdio status --check` says.",
        )
    return token
