"""The keys that a provider signs with (RFC 7517), fetched when a token needs one that we lack."""

import time
from typing import Any, Final

import httpx2
import jwt

from acp_stdio.errors import Failure
from acp_stdio.oauth.cache import PublicCache
from acp_stdio.oauth.http import get_json
from acp_stdio.secrets import Secret

REFETCH_AFTER: Final = 30.0
"""Seconds between two fetches: a stranger's token with an unknown kid must not make us a nuisance."""
KEYS_MAX_AGE: Final = 86400.0
"""Seconds after which keys are fetched again even if they still fit: a withdrawn key must go."""


def signing_keys(jwks_uri: str, http: httpx2.Client, token: Secret, cache: PublicCache | None = None) -> jwt.PyJWKSet:
    """The provider's keys, with the one that `token` names if the provider has it.

    Raises `Failure(idp_unreachable)` where they cannot be had.
    """
    if not jwks_uri:
        raise Failure(
            "configuration_invalid",
            "The authorization server publishes no keys, so nobody can tell whether a signature is its own.",
            "Ask whoever runs it to publish `jwks_uri` in its metadata, or write it as `jwks` into `endpoints`.",
        )
    now = time.time()
    if cache is not None:
        known = cache.load(jwks_uri, max_age=KEYS_MAX_AGE, now=now)
        recent = cache.load(jwks_uri, max_age=REFETCH_AFTER, now=now) is not None
        keys = _parse(known) if known else None
        if keys is not None and (recent or _has_key_of(keys, token)):
            return keys
    document = get_json(http, jwks_uri)
    keys = _parse(document) if document else None
    if document is None or keys is None:
        raise Failure(
            "idp_unreachable",
            f"{jwks_uri} holds no keys that a signature could be checked with.",
            "Try again in a minute; if it stays so, tell whoever runs the identity provider.",
        )
    if cache is not None:
        cache.store(jwks_uri, document, now=now)
    return keys


def _parse(document: dict[str, Any]) -> jwt.PyJWKSet | None:
    try:
        return jwt.PyJWKSet.from_dict(document)
    except (jwt.PyJWTError, KeyError, TypeError, AttributeError):
        return None


def _has_key_of(keys: jwt.PyJWKSet, token: Secret) -> bool:
    try:
        kid = jwt.get_unverified_header(token.reveal()).get("kid")
    except jwt.PyJWTError:
        return True  # no JWT: other keys would not make it one
    return kid is None or any(key.key_id == kid for key in keys.keys)
