"""One sign-in from beginning to end: asked for, granted, proven, stored, tried."""

import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import httpx2

from acp_stdio.errors import Failure
from acp_stdio.identity.claims import account_from_claims, check_required_account, verify_id_token
from acp_stdio.identity.model import Account, Session
from acp_stdio.login.browser import Ask, BrowserChoices, Granted, Talk, browser_grant
from acp_stdio.login.client import InteractiveClient
from acp_stdio.login.device import instructions, request_device_code, wait_for_person
from acp_stdio.login.opener import Opener
from acp_stdio.login.wanted import Wanted, plan, prompt_for
from acp_stdio.oauth.cache import PublicCache
from acp_stdio.oauth.endpoint import TokenResponse, revoke
from acp_stdio.oauth.http import open_client
from acp_stdio.oauth.keys import signing_keys
from acp_stdio.oauth.metadata import AuthorizationServer, discover
from acp_stdio.oauth.presets import check_identity, claim_names, preset_of
from acp_stdio.settings.model import Flow, Settings
from acp_stdio.settings.paths import private_dir
from acp_stdio.tokens.context import Context, open_context
from acp_stdio.tokens.store_login import store_grant
from acp_stdio.vault.lock import FileLock

TIMEOUT = 300.0
"""Seconds that the person has for the browser, unless they say otherwise."""


@dataclass(frozen=True, slots=True)
class Choices:
    """How the person wants to sign in."""

    flow: Flow = "browser"
    opener: Opener | None = None
    """None: the browser is the person's own business."""
    paste: Ask | None = None
    account_hint: str = ""
    extra_scopes: tuple[str, ...] = ()
    force: bool = False
    timeout: float = TIMEOUT
    """Seconds."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A sign-in that is stored."""

    session: Session
    already: bool
    """It was there before, and nothing was done."""


def sign_in(settings: Settings, choices: Choices, talk: Talk, detail: Talk = lambda _: None) -> SignedIn:
    """Signs the person in, or finds that they are. `talk` is for everybody, `detail` for the curious.

    Nothing is kept of a sign-in that does not come to its end, whatever ends it: what the identity
    provider issued by then is revoked. Raises `Failure` with any reason, and lets `KeyboardInterrupt` through.
    """
    check_identity(settings.identity)
    ctx = open_context(settings, may_prompt=True)
    with _alone(settings):
        ctx.vault.probe()  # before anybody is sent to a browser
        before = None if choices.force else _already(ctx, choices)
        if before is not None:
            return SignedIn(before, already=True)
        with open_client(settings.network) as http:
            return SignedIn(_sign_in(ctx, http, choices, talk, detail), already=False)


@contextmanager
def _alone(settings: Settings) -> Generator[None]:
    lock = FileLock(private_dir(settings.state_dir) / "login.lock")
    if not lock.try_acquire():
        raise Failure(
            "denied",
            "A sign-in is under way already; its page is open in the browser.",
            "Finish it there, or end the other `acp-stdio login` and try again.",
        )
    try:
        yield
    finally:
        lock.release()


def _already(ctx: Context, choices: Choices) -> Session | None:
    """The session, if its grant is in the vault and it covers all that is asked for now."""
    session = ctx.session.read()
    identity = ctx.settings.identity
    if session is None or not session.signed_in:
        return None
    same = (session.issuer, session.client_id) == (identity.issuer, identity.client_id)
    covered = session.resources.keys() >= ctx.settings.upstreams.keys()
    if not same or not covered or not set(choices.extra_scopes) <= set(session.scopes):
        return None
    grant = ctx.vault.load()
    return session if grant is not None and grant.generation == session.generation else None


def _sign_in(ctx: Context, http: httpx2.Client, choices: Choices, talk: Talk, detail: Talk) -> Session:
    settings, identity = ctx.settings, ctx.settings.identity
    preset = preset_of(identity)
    server = discover(identity.issuer, preset, http, PublicCache(settings.cache_dir))
    for deviation in server.deviations:
        detail(f"{server.issuer} deviates from the specifications: {deviation}.")
    wanted = plan(settings, preset, http, choices.extra_scopes, talk)
    client = InteractiveClient(server, http, identity.client_id)
    if choices.flow == "device":
        code = request_device_code(server, http, identity.client_id, wanted)
        talk(instructions(code))
        response = wait_for_person(client, code, _without_scope(wanted.first_token), timeout=choices.timeout)
        return _keep(ctx, http, server, wanted, Granted(response, nonce=None))
    browser = BrowserChoices(
        redirect=identity.redirect,
        timeout=choices.timeout,
        opener=choices.opener,
        paste=choices.paste,
        account_hint=choices.account_hint,
        prompt=prompt_for(wanted, preset, force=choices.force),
    )
    with browser_grant(server, client, wanted, browser, talk) as (granted, succeed):
        session = _keep(ctx, http, server, wanted, granted)
        assert session.account is not None
        succeed(session.account.label)
    return session


def _keep(ctx: Context, http: httpx2.Client, server: AuthorizationServer, wanted: Wanted, granted: Granted) -> Session:
    """Proves who it is and stores the grant; revokes it where either cannot be done."""
    response = granted.response
    try:
        account = _account(ctx.settings, http, server, granted)
        scopes = tuple((response.scope or " ".join(wanted.scopes)).split())
        return store_grant(ctx, response, account, wanted.resources, _all_scopes(scopes, wanted))
    except BaseException:
        _give_back(ctx.settings, http, server, response)
        raise


def _account(settings: Settings, http: httpx2.Client, server: AuthorizationServer, granted: Granted) -> Account:
    identity, response = settings.identity, granted.response
    if response.id_token is None:
        raise Failure(
            "configuration_invalid",
            "The identity provider issued no ID token, so nobody knows who signed in.",
            'Put "openid" into `scopes`, or ask whoever runs the provider.',
        )
    names = claim_names(identity)
    claims = verify_id_token(
        response.id_token,
        keys=signing_keys(server.jwks_uri, http, response.id_token, PublicCache(settings.cache_dir)),
        issuers=server.token_issuers,
        client_id=identity.client_id,
        nonce=granted.nonce,
        now=time.time(),
        algorithms=server.signing_algorithms,
        access_token=response.access_token,
    )
    check_required_account(claims, identity.require_account, names)
    # The session is the configured issuer's, also where its tokens name an alias of it.
    return replace(account_from_claims(claims, names), issuer=server.issuer)


def _give_back(settings: Settings, http: httpx2.Client, server: AuthorizationServer, response: TokenResponse) -> None:
    client_id = settings.identity.client_id
    if response.refresh_token is not None:
        revoke(server, http, client_id=client_id, token=response.refresh_token, hint="refresh_token")
    revoke(server, http, client_id=client_id, token=response.access_token, hint="access_token")


def _all_scopes(granted: tuple[str, ...], wanted: Wanted) -> tuple[str, ...]:
    """The answer's `scope` is that of one access token; what the grant covers is what was asked for."""
    return tuple(dict.fromkeys((*granted, *wanted.scopes)))


def _without_scope(parameters: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in parameters.items() if name != "scope"}
