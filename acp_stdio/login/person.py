"""Who it is that signed in, proven by what the identity provider issued."""

import time
from dataclasses import replace
from typing import Any

import httpx2

from acp_stdio.errors import Failure
from acp_stdio.identity.claims import account_from_claims, check_required_account, verify_id_token
from acp_stdio.identity.model import Account, unverified
from acp_stdio.identity.step_up import StepUp
from acp_stdio.identity.strength import check_age, check_session_age, unmet
from acp_stdio.login.browser import Granted, Talk
from acp_stdio.login.wanted import Wanted
from acp_stdio.oauth.cache import PublicCache
from acp_stdio.oauth.client import Client
from acp_stdio.oauth.keys import signing_keys
from acp_stdio.oauth.metadata import AuthorizationServer
from acp_stdio.oauth.presets import claim_names
from acp_stdio.oauth.user_endpoint import user_claims
from acp_stdio.settings.model import Settings
from acp_stdio.settings.revocations import revoked_failure


def who_signed_in(
    settings: Settings,
    http: httpx2.Client,
    server: AuthorizationServer,
    client: Client,
    wanted: Wanted,
    granted: Granted,
    step_up: StepUp,
    remark: Talk,
) -> Account:
    """The person that `granted` is about, once that is proven and they are somebody who may sign in here.

    `remark` hears what there is to say of how they signed in. Raises `Failure`: wrong_audience, denied,
    configuration_invalid, idp_unreachable.
    """
    identity, response = settings.identity, granted.response
    names = claim_names(identity)
    if response.id_token is None and not server.user_endpoint:
        return _nobody_known(settings, server, wanted)
    if response.id_token is None:
        claims = user_claims(server, http, response.access_token)
    else:
        claims = _proven_claims(settings, http, server, client, granted, step_up, remark)
    check_required_account(claims, identity.require_account, names)
    # The session is the configured issuer's, also where its tokens name an alias of it.
    account = replace(account_from_claims(claims, names), issuer=server.issuer)
    if account.key in settings.revoked:
        raise revoked_failure()
    return account


def _proven_claims(
    settings: Settings,
    http: httpx2.Client,
    server: AuthorizationServer,
    client: Client,
    granted: Granted,
    step_up: StepUp,
    remark: Talk,
) -> dict[str, Any]:
    response, now, leeway = granted.response, time.time(), settings.identity.clock_skew
    assert response.id_token is not None
    claims = verify_id_token(
        response.id_token,
        keys=signing_keys(server.jwks_uri, http, response.id_token, PublicCache(settings.cache_dir)),
        issuers=server.token_issuers,
        client_id=client.client_id,
        nonce=granted.nonce,
        now=now,
        leeway=leeway,
        algorithms=server.signing_algorithms,
        access_token=response.access_token,
    )
    check_age(claims, step_up, now, leeway)
    check_session_age(claims, settings.identity.max_session_age, now, leeway)
    if words := unmet(claims, step_up):
        remark(words)
    return claims


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
