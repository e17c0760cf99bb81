"""One sign-in after the other: for each identity, and for each issuer that its upstreams name."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

import httpx2

from acp_stdio.errors import Failure
from acp_stdio.identity.model import Session
from acp_stdio.identity.scopes import covered_scopes
from acp_stdio.login.browser import Talk
from acp_stdio.login.flow import Choices, sign_in_at
from acp_stdio.login.wanted import survey
from acp_stdio.oauth.asking import check_identity
from acp_stdio.oauth.cache import PublicCache
from acp_stdio.oauth.http import open_client
from acp_stdio.oauth.metadata import server_of
from acp_stdio.oauth.presets import preset_of
from acp_stdio.oauth.upstream import Described, discover_from
from acp_stdio.settings.model import Settings
from acp_stdio.settings.paths import private_dir
from acp_stdio.tokens.context import open_context
from acp_stdio.tokens.endings import is_ours, misbound, too_old
from acp_stdio.tokens.sign_ins import at_issuer, by_sign_in, serves
from acp_stdio.vault.lock import FileLock

_DEFAULTS: Final = "/authorize and /token (MCP 2025-03-26)"
PATIENCE: Final = 0.5
"""Seconds for the login lock: others hold it for a moment just to see whether it is free."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one sign-in."""

    settings: Settings
    """With its identity and its upstreams at hand."""
    session: Session | None = None
    """It is stored, or handed over where it has no `storage`; None: see `failure`."""
    already: bool = False
    """It was there before, and nothing was done."""
    failure: Failure | None = None

    def result(self) -> Session:
        """The session. Raises the failure."""
        if self.session is None:
            raise self.failure or AssertionError("neither a session nor a failure")
        return self.session


def sign_in(settings: Settings, choices: Choices, talk: Talk, detail: Talk = lambda _: None) -> Iterator[Outcome]:
    """Signs the person in wherever the upstreams at hand need it, or finds that they are. `talk` is for everybody.

    One that fails leaves the others alone; what was done before a `KeyboardInterrupt` stays. Raises no `Failure`.
    """
    for mine in settings.by_identity():
        try:
            check_identity(mine.identity)
            with _alone(mine):
                yield from _as(mine, choices, talk, detail)
        except Failure as failure:
            yield Outcome(mine, failure=failure)


@contextmanager
def _alone(settings: Settings) -> Generator[None]:
    lock = FileLock(private_dir(settings.identity_dir) / "login.lock")
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


def _as(settings: Settings, choices: Choices, talk: Talk, detail: Talk) -> Iterator[Outcome]:
    """As one identity. Raises `Failure` where no sign-in could begin, or the only one failed."""
    open_context(settings, may_prompt=True).vault.probe()  # before anybody is sent to a browser
    again = choices.force or choices.step_up.stronger or choices.step_up.anew
    done = [] if again else list(_already(settings, choices))
    yield from done
    covered = {name for each in done for name in each.settings.upstreams}
    open_ones = [upstream for name, upstream in settings.upstreams.items() if name not in covered]
    if done and not open_ones:
        return
    with open_client(settings.network) as http:
        described = survey(open_ones, http, talk)
        if not settings.identity.issuer:
            yield from _at_each_issuer(settings, described, http, choices, talk, detail)
            return
        server = server_of(settings.identity, settings.identity.issuer, http, PublicCache(settings.cache_dir))
        context = open_context(settings, may_prompt=True)
        yield Outcome(settings, sign_in_at(server, described, context, http, choices, talk, detail))


def _at_each_issuer(
    settings: Settings, rest: list[Described], http: httpx2.Client, choices: Choices, talk: Talk, detail: Talk
) -> Iterator[Outcome]:
    """Goes on after one that failed. Raises `Failure(configuration_invalid)` where there is nowhere to sign in."""
    if not rest:
        raise Failure(
            "configuration_invalid",
            "Neither an issuer nor an upstream is configured, so there is nowhere to sign in.",
            "Write `issuer` and `client_id` under [identity], or name a server: `acp-stdio login URL`.",
        )
    preset, cache = preset_of(settings.identity), PublicCache(settings.cache_dir)
    several = False
    while rest:
        its, mine = rest[:1], _about(settings, rest[:1])
        try:
            server = discover_from(rest[0], preset, http, cache)
            its += [each for each in rest[1:] if server.issuer in each.issuers]
            mine = at_issuer(_about(settings, its), server.issuer)
            several = several or len(its) < len(rest)
            if several:
                talk(f"For {', '.join(mine.upstreams)} you sign in at {server.issuer}.")
            if server.defaults:
                talk(f"{server.issuer} publishes nothing about signing in, so its own {_DEFAULTS} are asked.")
            context = open_context(mine, may_prompt=True, default_endpoints=server.defaults)
            yield Outcome(mine, sign_in_at(server, its, context, http, choices, talk, detail))
        except Failure as failure:
            yield Outcome(mine, failure=failure)
        rest = [each for each in rest if each not in its]


def _about(settings: Settings, described: list[Described]) -> Settings:
    return replace(settings, upstreams={each.upstream.name: each.upstream for each in described})


def _already(settings: Settings, choices: Choices) -> Iterator[Outcome]:
    """The sign-ins whose grants are in the vault and that cover what is asked for now."""
    for mine in by_sign_in(settings):
        ctx = open_context(mine, may_prompt=True)
        session = ctx.session.read()
        if session is None or not session.signed_in or not set(choices.step_up.scopes) <= set(covered_scopes(session)):
            continue
        identity = mine.identity
        if identity.issuer not in ("", session.issuer) or identity.client_id not in ("", session.client_id):
            continue
        if too_old(session, identity.max_session_age, ctx.clock()) or misbound(session, identity.dpop):
            continue
        covered = {name: each for name, each in mine.upstreams.items() if serves(session, each)}
        # At a configured issuer all is asked for anew where one is missing, for one sign-in is to serve them all.
        enough = len(covered) == len(mine.upstreams) or (covered and not identity.issuer)
        grant = ctx.vault.load() if enough else None
        if grant is not None and grant.generation == session.generation and is_ours(grant, ctx.place):
            yield Outcome(replace(mine, upstreams=covered), session, already=True)
