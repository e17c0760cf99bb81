"""One sign-in at one server, from beginning to end: asked for, granted, proven, stored."""

import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from typing import Literal

import httpx2

from acp_stdio.errors import Failure
from acp_stdio.identity.binding import check_binding
from acp_stdio.identity.claims import claimed_subject
from acp_stdio.identity.model import Account, Held, Session
from acp_stdio.identity.scopes import granted_scopes
from acp_stdio.identity.step_up import NOTHING_MORE, StepUp
from acp_stdio.login.answer import UnknownClient
from acp_stdio.login.browser import Ask, BrowserChoices, Granted, Talk, browser_grant
from acp_stdio.login.client import InteractiveClient
from acp_stdio.login.device import instructions, request_device_code, require_device_flow, wait_for_person
from acp_stdio.login.opener import Opener
from acp_stdio.login.person import who_signed_in
from acp_stdio.login.possession import proof_key
from acp_stdio.login.registering import Chooser
from acp_stdio.login.wanted import Wanted, plan, prompt_for, with_earlier
from acp_stdio.oauth.asking import authorize_params
from acp_stdio.oauth.client import Client
from acp_stdio.oauth.endpoint import TokenResponse, revoke
from acp_stdio.oauth.metadata import AuthorizationServer
from acp_stdio.oauth.possession import Prover
from acp_stdio.oauth.presets import preset_of
from acp_stdio.oauth.upstream import Described
from acp_stdio.secrets import Secret
from acp_stdio.settings.model import Flow, IdentitySettings
from acp_stdio.settings.origin import origin_of
from acp_stdio.tokens.context import Context
from acp_stdio.tokens.freshness import within
from acp_stdio.tokens.session_file import SessionFile
from acp_stdio.tokens.store_login import coming_session, store_grant
from acp_stdio.vault.device_key import stored_key

TIMEOUT = 300.0
"""Seconds that the person has for the browser, unless they say otherwise."""
_WEEK = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Choices:
    """How the person wants to sign in."""

    flow: Flow | None = None
    """None: what the settings of the identity say."""
    opener: Opener | None = None
    """None: the browser is the person's own business."""
    paste: Ask | None = None
    account_hint: str = ""
    step_up: StepUp = NOTHING_MORE
    """What a server asked for, or the person with words of the command line."""
    remark: Talk | None = None
    """Hears what there is to say of a sign-in that came about. None: the same as everything else."""
    force: bool = False
    timeout: float = TIMEOUT
    """Seconds."""
    hand_over: Callable[[Held], None] | None = None
    """Takes a sign-in without a refresh token, which cannot be stored. Raises `OSError` where nobody takes it.

    None: such a sign-in fails."""


def sign_in_at(
    server: AuthorizationServer,
    described: list[Described],
    ctx: Context,
    http: httpx2.Client,
    choices: Choices,
    talk: Talk,
    detail: Talk,
) -> Session:
    """Signs the person in at `server`, for the upstreams that are `described`. `detail` is for the curious.

    The session is stored, or handed over (`Choices.hand_over`) and then without a `storage`.

    Nothing is kept of a sign-in that does not come to its end, whatever ends it: what the identity provider issued
    by then is revoked, unless that might end the one that stays. Raises `Failure` with any reason, and lets
    `KeyboardInterrupt` through.
    """
    settings, preset = ctx.settings, preset_of(ctx.settings.identity)
    _say_what_is_replaced(ctx, server, talk)
    for deviation in server.deviations:
        detail(f"{server.issuer} deviates from the specifications: {deviation}.")
    wanted = plan(settings, preset, server, described, choices.step_up.scopes)
    if not choices.force:
        wanted = with_earlier(wanted, ctx.session.read(), server, more=bool(choices.step_up))
    key = proof_key(settings.identity, server)
    chooser = Chooser(ctx, server, http, talk)
    if (choices.flow or settings.identity.flow) == "device":
        if choices.step_up.parameters:  # RFC 8628 section 3.1 has a scope and nothing else
            raise Failure(
                "configuration_invalid",
                "The device flow cannot ask for a stronger sign-in.",
                "Sign in with a browser, or with --paste where there is none here.",
            )
        require_device_flow(server)  # before a client is registered that could not use it
        client = chooser.choose(None)
        code = request_device_code(server, http, client, wanted)
        talk(instructions(code))
        ours = InteractiveClient(server, http, client, Prover(key) if key else None)
        response = wait_for_person(ours, code, _without_scope(wanted.first_token), timeout=choices.timeout)
        granted = Granted(response, None, time.time())
        return _keep(ctx, http, server, client, wanted, granted, key, choices, talk)
    try:
        return _by_browser(ctx, http, server, chooser, wanted, key, choices, talk)
    except UnknownClient:
        if not chooser.forget():
            raise
        return _by_browser(ctx, http, server, chooser, wanted, key, choices, talk)


def _say_what_is_replaced(ctx: Context, server: AuthorizationServer, talk: Talk) -> None:
    session = ctx.session.read()
    if session is not None and session.signed_in and session.issuer != server.issuer:
        talk(f"This replaces your sign-in at {session.issuer}; with --profile NAME you can keep both.")


def _say_who_is_replaced(ctx: Context, account: Account, talk: Talk) -> None:
    session = ctx.session.read()
    if session is None or not session.signed_in or session.account is None or session.issuer != account.issuer:
        return
    if session.account.key != account.key:
        talk(f"This replaces the sign-in of {session.account.label}; with --profile NAME you can keep both.")


def _by_browser(
    ctx: Context,
    http: httpx2.Client,
    server: AuthorizationServer,
    chooser: Chooser,
    wanted: Wanted,
    key: Secret | None,
    choices: Choices,
    talk: Talk,
) -> Session:
    identity = ctx.settings.identity
    preset = preset_of(identity)
    wanted = wanted.with_claims(choices.step_up.claims)
    asked = StepUp(claims=wanted.first_token.get("claims", "")) | _freshly(identity) | choices.step_up
    prompt = prompt_for(wanted, preset, force=choices.force)
    beside = _beside(ctx, server) if preset.sso_silent and prompt is None else ""
    chosen: list[Client] = []

    def client_for(redirect_uri: str) -> InteractiveClient:
        chosen.append(chooser.choose(redirect_uri))
        return InteractiveClient(server, http, chosen[0], Prover(key) if key else None)

    browser = BrowserChoices(
        redirect=chooser.redirect(identity.redirect),
        timeout=choices.timeout,
        opener=choices.opener,
        paste=choices.paste,
        account_hint=choices.account_hint or _same_as_before(ctx, server, choices) or beside,
        prompt=prompt,
        silent=bool(beside),
        extra=authorize_params(identity) | asked.parameters,
    )
    with browser_grant(server, client_for, wanted, browser, talk) as (granted, succeed):
        session = _keep(ctx, http, server, chosen[0], wanted, granted, key, choices, talk)
        assert session.account is not None
        succeed(session.account.label)
    return session


def _same_as_before(ctx: Context, server: AuthorizationServer, choices: Choices) -> str:
    """Whom the page is to suggest: who was signed in here last, unless the person asked to choose again."""
    session = ctx.session.read()
    if choices.force or session is None or session.account is None or not session.account.known:
        return ""
    return session.account.label if session.issuer == server.issuer else ""


def _beside(ctx: Context, server: AuthorizationServer) -> str:
    """Who is signed in at another issuer of the same provider, in this profile; empty where nobody is known to be."""
    for path in sorted(ctx.settings.state_dir.rglob("session.json")):
        session = None
        with suppress(Failure):
            session = SessionFile(path.parent).read()
        if session is None or not session.signed_in or session.account is None or session.issuer == server.issuer:
            continue
        if session.account.known and origin_of(session.issuer) == origin_of(server.issuer):
            return session.account.label
    return ""


def _keep(
    ctx: Context,
    http: httpx2.Client,
    server: AuthorizationServer,
    client: Client,
    wanted: Wanted,
    granted: Granted,
    key: Secret | None,
    choices: Choices,
    talk: Talk,
) -> Session:
    """Proves who it is and stores the grant, or hands over what cannot be stored; else revokes it, see `_stays`."""
    response, hand_over = granted.response, choices.hand_over
    try:
        check_binding(response.token_type, None, "", required=ctx.settings.identity.dpop == "require")
        account = who_signed_in(
            ctx.settings, http, server, client, wanted, granted, choices.step_up, choices.remark or talk
        )
        scopes = granted_scopes(response.scope, wanted.scopes)
        if response.refresh_token is None and hand_over is not None:
            about = (account, wanted.resources, scopes, wanted.scopes, wanted.claims, server, client, key)
            session = coming_session(ctx, response, *about)
            try:
                hand_over(_held(ctx, session, wanted, granted, key))
            except OSError:
                raise Failure("login_required", "Whoever asked for this sign-in has gone.", "Ask again.") from None
            return session
        _say_who_is_replaced(ctx, account, talk)
        if 0 < response.refresh_expires_in <= _WEEK and (why := preset_of(ctx.settings.identity).short_lived):
            talk(why)
        return store_grant(
            ctx,
            response,
            account,
            wanted.resources,
            scopes,
            asked=wanted.scopes,
            claims=wanted.claims,
            at=server,
            client=client,
            key=key,
        )
    except BaseException:
        if not _stays(ctx, server, client, response):
            _give_back(http, server, client, response)
        raise


def _stays(ctx: Context, server: AuthorizationServer, client: Client, response: TokenResponse) -> bool:
    """Whether there is an earlier sign-in of the same person with the same client, which many providers would end
    with this one (see `store_login`). What they issued now is in nobody's hands any more."""
    session = None
    with suppress(Failure):
        session = ctx.session.read()
    if session is None or not session.signed_in or session.account is None:
        return False
    if (session.issuer, session.client_id) != (server.issuer, client.client_id):
        return False
    return response.id_token is None or claimed_subject(response.id_token) == session.account.sub


def _held(ctx: Context, session: Session, wanted: Wanted, granted: Granted, key: Secret | None) -> Held:
    """The one token that there is, proven as a renewed one would be. Raises `Failure`."""
    upstream = ctx.settings.upstreams[next(iter(wanted.resources))]
    with closing(ctx.provider(session.issuer, session.client_id)) as provider:
        token = provider.prove(granted.response, upstream, session, granted.asked_at, key)
    token = within(token, session, ctx.settings.identity.max_session_age)
    if upstream.assertion:
        token = replace(token, signing_key=stored_key(ctx.open_vault(), ctx.settings.paths.state))
    return Held(replace(session, confirmed_at=granted.asked_at), {upstream.name: token})


def _freshly(identity: IdentitySettings) -> StepUp:
    """OpenID Connect Core section 3.1.2.1: whoever signed in at the provider longer ago does so again."""
    return StepUp(max_age=round(identity.max_session_age)) if identity.max_session_age else NOTHING_MORE


def _give_back(http: httpx2.Client, server: AuthorizationServer, client: Client, response: TokenResponse) -> None:
    def end(token: Secret, hint: Literal["refresh_token", "access_token"]) -> None:
        revoke(server, http, client_id=client.client_id, token=token, hint=hint, credential=client.credential)

    if response.refresh_token is not None:
        end(response.refresh_token, "refresh_token")
    end(response.access_token, "access_token")


def _without_scope(parameters: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in parameters.items() if name != "scope"}
