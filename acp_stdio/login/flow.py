"""One sign-in from beginning to end: asked for, granted, proven, stored, tried."""

import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, Literal

import httpx2

from acp_stdio.errors import Failure
from acp_stdio.identity.claims import account_from_claims, check_required_account, verify_id_token
from acp_stdio.identity.model import Account, Session, unverified
from acp_stdio.login.answer import UnknownClient
from acp_stdio.login.browser import Ask, BrowserChoices, Granted, Talk, browser_grant
from acp_stdio.login.client import InteractiveClient
from acp_stdio.login.device import instructions, request_device_code, wait_for_person
from acp_stdio.login.opener import Opener
from acp_stdio.login.registering import Chooser
from acp_stdio.login.wanted import Wanted, plan, prompt_for, survey, with_earlier
from acp_stdio.oauth.cache import PublicCache
from acp_stdio.oauth.client import Client
from acp_stdio.oauth.endpoint import TokenResponse, revoke
from acp_stdio.oauth.http import open_client
from acp_stdio.oauth.keys import signing_keys
from acp_stdio.oauth.metadata import AuthorizationServer, discover
from acp_stdio.oauth.presets import authorize_params, check_identity, claim_names, preset_of
from acp_stdio.oauth.resource import covers
from acp_stdio.oauth.upstream import Described, discover_from
from acp_stdio.oauth.words import plain
from acp_stdio.secrets import Secret
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


PATIENCE: Final = 0.5
"""Seconds for the login lock: others hold it for a moment just to see whether it is free."""


@contextmanager
def _alone(settings: Settings) -> Generator[None]:
    lock = FileLock(private_dir(settings.state_dir) / "login.lock")
    try:
        lock.acquire(PATIENCE)
    except TimeoutError:
        raise Failure(
            "denied",
            "A sign-in is under way already; its page is open in the browser.",
            "Finish it there, or end the other `acp-stdio login` and try again.",
        ) from None
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
    same = identity.issuer in ("", session.issuer) and identity.client_id in ("", session.client_id)
    resources = session.resources
    covered = all(
        each.name in resources and covers(resources[each.name], each.url) for each in ctx.settings.upstreams.values()
    )
    if not same or not covered or not set(choices.extra_scopes) <= set(session.scopes):
        return None
    grant = ctx.vault.load()
    return session if grant is not None and grant.generation == session.generation else None


def _sign_in(ctx: Context, http: httpx2.Client, choices: Choices, talk: Talk, detail: Talk) -> Session:
    settings, identity = ctx.settings, ctx.settings.identity
    preset = preset_of(identity)
    server, described = _asked(settings, http, talk)
    _say_what_is_replaced(ctx, server, talk)
    for deviation in server.deviations:
        detail(f"{server.issuer} deviates from the specifications: {deviation}.")
    wanted = plan(settings, preset, server, described, choices.extra_scopes)
    if not choices.force:
        wanted = with_earlier(wanted, ctx.session.read(), server)
    chooser = Chooser(ctx, server, http, talk)
    if choices.flow == "device":
        client = chooser.choose(None)
        code = request_device_code(server, http, client, wanted)
        talk(instructions(code))
        ours = InteractiveClient(server, http, client)
        response = wait_for_person(ours, code, _without_scope(wanted.first_token), timeout=choices.timeout)
        return _keep(ctx, http, server, client, wanted, Granted(response, nonce=None))
    try:
        return _by_browser(ctx, http, server, chooser, wanted, choices, talk)
    except UnknownClient:
        if not chooser.forget():
            raise
        return _by_browser(ctx, http, server, chooser, wanted, choices, talk)


def _asked(settings: Settings, http: httpx2.Client, talk: Talk) -> tuple[AuthorizationServer, list[Described]]:
    """Where to sign in, and for which upstreams: the configured issuer, or the one that the first upstream names."""
    preset, cache = preset_of(settings.identity), PublicCache(settings.cache_dir)
    if settings.identity.issuer:
        server = discover(settings.identity.issuer, preset, http, cache)
        return server, survey(settings.upstreams.values(), http, talk)
    described = survey(settings.upstreams.values(), http, talk)
    if not described:
        raise Failure(
            "configuration_invalid",
            "Neither an issuer nor an upstream is configured, so there is nowhere to sign in.",
            "Write `issuer` and `client_id` under [identity], or name a server: `acp-stdio login URL`.",
        )
    server = discover_from(described[0], preset, http, cache)
    for other in described:
        if server.issuer not in other.issuers:
            names = ", ".join(plain(name) for name in other.issuers) or "nobody it names"
            talk(
                f"{other.upstream.name} takes tokens of {names}, so it is left out: it needs a sign-in of its own, "
                f"with --profile."
            )
    return server, [each for each in described if server.issuer in each.issuers]


def _say_what_is_replaced(ctx: Context, server: AuthorizationServer, talk: Talk) -> None:
    session = ctx.session.read()
    if session is not None and session.signed_in and session.issuer != server.issuer:
        talk(f"This replaces your sign-in at {session.issuer}; with --profile NAME you can keep both.")


def _by_browser(
    ctx: Context,
    http: httpx2.Client,
    server: AuthorizationServer,
    chooser: Chooser,
    wanted: Wanted,
    choices: Choices,
    talk: Talk,
) -> Session:
    identity = ctx.settings.identity
    preset = preset_of(identity)
    chosen: list[Client] = []

    def client_for(redirect_uri: str) -> InteractiveClient:
        chosen.append(chooser.choose(redirect_uri))
        return InteractiveClient(server, http, chosen[0])

    browser = BrowserChoices(
        redirect=chooser.redirect(identity.redirect),
        timeout=choices.timeout,
        opener=choices.opener,
        paste=choices.paste,
        account_hint=choices.account_hint,
        prompt=prompt_for(wanted, preset, force=choices.force),
        extra=authorize_params(identity),
    )
    with browser_grant(server, client_for, wanted, browser, talk) as (granted, succeed):
        session = _keep(ctx, http, server, chosen[0], wanted, granted)
        assert session.account is not None
        succeed(session.account.label)
    return session


def _keep(
    ctx: Context,
    http: httpx2.Client,
    server: AuthorizationServer,
    client: Client,
    wanted: Wanted,
    granted: Granted,
) -> Session:
    """Proves who it is and stores the grant; revokes it where either cannot be done."""
    response = granted.response
    try:
        account = _account(ctx.settings, http, server, client, wanted, granted)
        scopes = tuple((response.scope or " ".join(wanted.scopes)).split())
        return store_grant(
            ctx, response, account, wanted.resources, _all_scopes(scopes, wanted), at=server, client=client
        )
    except BaseException:
        _give_back(http, server, client, response)
        raise


def _account(
    settings: Settings,
    http: httpx2.Client,
    server: AuthorizationServer,
    client: Client,
    wanted: Wanted,
    granted: Granted,
) -> Account:
    identity, response = settings.identity, granted.response
    if response.id_token is None:
        return _nobody_known(settings, server, wanted)
    names = claim_names(identity)
    claims = verify_id_token(
        response.id_token,
        keys=signing_keys(server.jwks_uri, http, response.id_token, PublicCache(settings.cache_dir)),
        issuers=server.token_issuers,
        client_id=client.client_id,
        nonce=granted.nonce,
        now=time.time(),
        algorithms=server.signing_algorithms,
        access_token=response.access_token,
    )
    check_required_account(claims, identity.require_account, names)
    # The session is the configured issuer's, also where its tokens name an alias of it.
    return replace(account_from_claims(claims, names), issuer=server.issuer)


def _nobody_known(settings: Settings, server: AuthorizationServer, wanted: Wanted) -> Account:
    """The account of a sign-in without an ID token: unknown, where the settings are content with that."""
    asked = [each for each in settings.upstreams.values() if each.name in wanted.resources]
    strict = [each.name for each in asked if each.principal == "required"]
    if settings.identity.require_account or strict or not wanted.resources:
        place = f"[upstreams.{strict[0]}]" if strict else "the upstream's table, without require_account,"
        raise Failure(
            "configuration_invalid",
            "The identity provider issued no ID token, so nobody knows who signed in.",
            'Put "openid" into `scopes`; for a provider without ID tokens set principal = "unverified" in '
            f"{place} and the trail will say that the person is not known.",
        )
    return unverified(server.issuer)


def _give_back(http: httpx2.Client, server: AuthorizationServer, client: Client, response: TokenResponse) -> None:
    def end(token: Secret, hint: Literal["refresh_token", "access_token"]) -> None:
        revoke(server, http, client_id=client.client_id, token=token, hint=hint, credential=client.credential)

    if response.refresh_token is not None:
        end(response.refresh_token, "refresh_token")
    end(response.access_token, "access_token")


def _all_scopes(granted: tuple[str, ...], wanted: Wanted) -> tuple[str, ...]:
    """The answer's `scope` is that of one access token; what the grant covers is what was asked for."""
    return tuple(dict.fromkeys((*granted, *wanted.scopes)))


def _without_scope(parameters: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in parameters.items() if name != "scope"}
