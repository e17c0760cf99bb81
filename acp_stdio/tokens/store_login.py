"""Storing a new login, so that a crash leaves the old one or the new one and nothing between."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from acp_stdio.errors import Failure
from acp_stdio.identity.model import Account, Grant, Session
from acp_stdio.identity.proof import ProofKey
from acp_stdio.oauth.client import Client
from acp_stdio.oauth.endpoint import TokenResponse
from acp_stdio.oauth.metadata import AuthorizationServer
from acp_stdio.secrets import Secret
from acp_stdio.tokens.context import Context
from acp_stdio.tokens.endings import is_ours, next_generation, signed_out

LOCK_TIMEOUT: Final = 20.0


def store_grant(
    ctx: Context,
    response: TokenResponse,
    account: Account,
    resources: Mapping[str, str],
    scopes: Sequence[str],
    *,
    asked: Sequence[str] = (),
    claims: str = "",
    at: AuthorizationServer | None = None,
    client: Client | None = None,
    key: Secret | None = None,
) -> Session:
    """Makes `response` this profile's sign-in and returns the session that all processes now see.

    `resources` maps each upstream's name to the `resource` that was granted for it; of the scopes
    `asked` for, `scopes` were granted; `claims` see `Session`. Issuer and client
    are the configured ones unless `at` and `client` are given. `key`: what the tokens may be bound to.
    The grant of another person, client or issuer that it replaces is revoked once the new one is safe.
    Raises `Failure`: idp_unreachable where the IdP issued no refresh token, keyring_locked, timeout,
    login_required where a logout came in between.
    """
    if response.refresh_token is None:
        raise Failure(
            "idp_unreachable",
            "Your identity provider issued no refresh token, so the sign-in cannot be kept, and nothing of it was.",
            "Approve the tool `acp_login` in your application, which uses it for as long as it lasts; "
            "or ask whoever runs the provider to allow `offline_access` for this client.",
        )
    with ctx.renewing(LOCK_TIMEOUT):
        previous = _previous(ctx)
        coming = coming_session(ctx, response, account, resources, scopes, asked, claims, at, client, key)
        session = _announce(ctx, coming, previous)
        grant = Grant(
            refresh_token=response.refresh_token,
            issuer=session.issuer,
            client_id=session.client_id,
            account_key=account.key,
            obtained_at=session.obtained_at,
            generation=session.generation,
            place=ctx.place,
            proof_key=key,
        )
        try:
            ctx.vault_of(grant.issuer, grant.client_id).save(grant)
            with ctx.session.lock():
                if ctx.session.read_next() != session:  # a logout took it back
                    raise signed_out(ctx.session.read())
                ctx.session.promote()
        except BaseException:  # a keyring that refuses, a Ctrl-C: the caller revokes what it brought
            _undo(ctx, grant, previous)
            raise
        if previous is not None and (previous.issuer, previous.client_id) != (grant.issuer, grant.client_id):
            with contextlib.suppress(Failure):  # kept under another key, so it was not replaced
                ctx.vault_of(previous.issuer, previous.client_id).delete()
    if previous is not None and not _same_grant(previous, grant):
        _revoke(ctx, previous)
    return session


def _undo(ctx: Context, grant: Grant, previous: Grant | None) -> None:
    """Puts the old sign-in back. Where that fails, the announced session tells the next refresh what is stored."""
    with contextlib.suppress(Failure):
        if previous is not None:
            ctx.vault_of(previous.issuer, previous.client_id).save(previous)
        if previous is None or (previous.issuer, previous.client_id) != (grant.issuer, grant.client_id):
            ctx.vault_of(grant.issuer, grant.client_id).delete()
        with ctx.session.lock():
            ctx.session.forget_next()


def _previous(ctx: Context) -> Grant | None:
    """What this login replaces; a record that cannot be read is replaced all the same."""
    ctx.vault.probe()
    with contextlib.suppress(Failure):
        grant = ctx.vault.load()
        return grant if grant and is_ours(grant, ctx.place) else None
    return None


def _announce(ctx: Context, coming: Session, previous: Grant | None) -> Session:
    """Writes the coming session beside the present one; see `SessionFile.promote`."""
    with ctx.session.lock():
        known = max(ctx.session.known_generation(), previous.generation if previous else 0)
        session = replace(coming, generation=next_generation(known, ctx.clock()), storage=ctx.vault.name)
        ctx.session.write_next(session)
    return session


def coming_session(
    ctx: Context,
    response: TokenResponse,
    account: Account,
    resources: Mapping[str, str],
    scopes: Sequence[str],
    asked: Sequence[str],
    claims: str,
    at: AuthorizationServer | None,
    client: Client | None,
    key: Secret | None,
) -> Session:
    """What a sign-in brought, before it has a generation and a place."""
    now = ctx.clock()
    return Session(
        generation=0,
        signed_in=True,
        account=account,
        issuer=at.issuer if at else ctx.settings.identity.issuer,
        client_id=client.client_id if client else ctx.settings.identity.client_id,
        client_source=client.source if client else "configured",
        deviations=at.deviations if at else (),
        default_endpoints=at is not None and at.defaults,
        scopes=tuple(scopes),
        asked=tuple(asked),
        claims=claims,
        resources=dict(resources),
        obtained_at=now,
        confirmed_at=now,
        access_ttl=response.expires_in or 0.0,
        refresh_expires_at=now + response.refresh_expires_in if response.refresh_expires_in else 0.0,
        jkt=ProofKey(key).thumbprint if key else "",
        token_type=response.token_type,
    )


def _same_grant(previous: Grant, grant: Grant) -> bool:
    """Whether to end `previous` might end `grant` as well: it is the same person's, with the same client.

    RFC 7009 section 2.1 leaves it to the provider which related tokens go with one. Keycloak, Google, Auth0 with
    "Refresh Token Revocation Deletes Grant" and node's oidc-provider end all that the client has of the person.
    """
    ours = (grant.issuer, grant.client_id, grant.account_key)
    return (previous.issuer, previous.client_id, previous.account_key) == ours


def _revoke(ctx: Context, previous: Grant) -> None:
    """Best effort, and a Ctrl-C skips it: the new login stands, the old one only should not live on at the IdP."""
    with (
        contextlib.suppress(Failure, KeyboardInterrupt),
        contextlib.closing(ctx.provider(previous.issuer, previous.client_id)) as provider,
    ):
        provider.prepare()
        provider.revoke(previous.refresh_token)
