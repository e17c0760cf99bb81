"""Gets together what a check needs: fresh tokens, a genuine one for somebody else, the issuer's keys."""

from collections.abc import Callable
from dataclasses import replace

import jwt

from acp_stdio.errors import Failure
from acp_stdio.identity.model import AccessToken, Session
from acp_stdio.oauth.cache import PublicCache
from acp_stdio.oauth.http import open_client
from acp_stdio.oauth.keys import signing_keys
from acp_stdio.oauth.metadata import server_of
from acp_stdio.probe.examine import Person
from acp_stdio.secrets import Secret
from acp_stdio.settings.model import Settings, UpstreamSettings
from acp_stdio.tokens.context import open_context
from acp_stdio.tokens.endings import signed_out
from acp_stdio.tokens.provider import bound_to
from acp_stdio.tokens.refresh import obtain_token
from acp_stdio.tokens.session_file import SessionFile
from acp_stdio.tokens.sign_ins import settings_of
from acp_stdio.vault.device_key import stored_key

Record = Callable[[Settings, Session], str]
"""Writes into that person's trail that the check is about to act for them; returns the record's id, or raises."""


def signed_in(settings: Settings) -> Session:
    """The session of the sign-in at hand. Raises `Failure(login_required)`."""
    session = SessionFile(settings.session_dir).read()
    if session is None or not session.signed_in:
        raise signed_out(session)
    return session


def person(settings: Settings, upstream: UpstreamSettings, record: Record) -> Person:
    """Whoever is signed in for `upstream`, with a fresh token for it. Raises `Failure`."""
    settings = settings_of(settings, upstream)
    session = signed_in(settings)
    if session.account is None:
        raise signed_out(session)
    context = open_context(settings, may_prompt=False)
    token = obtain_token(context, upstream)
    if upstream.assertion:
        token = replace(token, signing_key=stored_key(context.open_vault(), settings.paths.state))
    return Person(session.account, token, record(settings, session))


def published_keys(settings: Settings, issuer: str, token: Secret) -> jwt.PyJWKSet | None:
    """The issuer's keys, as everybody can read them; None where they cannot be had or the token has no use for them."""
    try:
        with open_client(settings.network) as http:
            cache = PublicCache(settings.cache_dir)
            server = server_of(settings.identity, issuer, http, cache)
            return signing_keys(server.jwks_uri, http, token, cache)
    except Failure:
        return None


def token_for_somebody_else(settings: Settings, upstream: UpstreamSettings, named: str) -> tuple[str, AccessToken]:
    """A genuine token of the same person that `upstream` must not take, and what it is.

    The ID token, which is made out to us; or, where the person says so, that of the server `named`, which is
    thereby shown to `upstream`. `settings`: with all upstreams. Raises `Failure` where there is none.
    """
    known = settings.upstreams
    if named:
        if named not in known:
            raise Failure("configuration_invalid", f"There is no upstream {named} in the configuration.")
        context = open_context(settings_of(settings, known[named]), may_prompt=False)
        token = obtain_token(context, known[named])
        return f"made out to {named}", replace(token, upstream=upstream.name, origin=bound_to(upstream.url))
    if any(each.token_format == "id_token" for each in known.values()):  # noqa: S105 - its kind, not a token
        raise Failure(
            "denied", "some server here takes ID tokens, so yours is not shown to another; name one: --foreign"
        )
    asked = replace(upstream, token_format="id_token", audience=())  # noqa: S106 - its kind, not a token
    return "the ID token", obtain_token(open_context(settings_of(settings, upstream), may_prompt=False), asked)
