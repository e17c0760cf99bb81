"""The keys that an issuer signs with: fetched once, kept, and fetched again when a token names another.

A stranger's token with an invented `kid` must not make us ask the issuer each time: there is a floor between two
fetches. An issuer that does not answer for a while is no reason to turn everybody away: the keys at hand are used
until they are a day old, after which a withdrawn one has to be gone.
"""

import json
import threading
import time
from collections.abc import Callable
from typing import Any, Final, cast
from urllib.parse import urlsplit

import httpx2
import jwt

from acp_stdio.backend.refusals import KeysUnavailable
from acp_stdio.identity.well_known import issuer_metadata

RENEW_AFTER: Final = 3600.0
USED_UNTIL: Final = 86400.0
FLOOR: Final = 10.0
"""Seconds between two attempts to fetch."""
TIMEOUT: Final = 5.0
"""Seconds for one answer in all."""
BODY_LIMIT: Final = 1024 * 1024

Fetch = Callable[[str], dict[str, Any] | None]
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


class SigningKeys:
    """One issuer's keys. Safe to use from several threads."""

    def __init__(
        self,
        issuer: str,
        jwks_uri: str = "",
        *,
        fetch: Fetch | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`jwks_uri` empty: taken from the issuer's metadata. Raises `ValueError` for addresses without https."""
        for url in filter(None, (issuer, jwks_uri)):
            _check(url)
        self._issuer = issuer
        self._jwks_uri = jwks_uri
        self._fetch = fetch or fetch_json
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: jwt.PyJWKSet | None = None
        self._fetched_at = self._asked_at = float("-inf")
        self._why = ""

    def at_hand(self) -> jwt.PyJWKSet | None:
        """The keys, where they are fresh enough to be used without asking."""
        return self._keys if self._clock() - self._fetched_at < RENEW_AFTER else None

    def renewed(self, known: jwt.PyJWKSet | None) -> jwt.PyJWKSet:
        """Keys that are newer than `known` where there are any: fetched now, unless that was tried just before.

        Raises `KeysUnavailable` where there are none that may be used.
        """
        with self._lock:
            now = self._clock()
            if self._keys is known and now - self._asked_at >= FLOOR:
                self._asked_at = now
                self._try_to_fetch()
            if self._keys is None or self._clock() - self._fetched_at >= USED_UNTIL:
                raise KeysUnavailable(self._why or f"the keys of {self._issuer} are too old")
            return self._keys

    def _try_to_fetch(self) -> None:
        try:
            document = self._fetch(self._jwks_uri or self._published())
            keys = jwt.PyJWKSet.from_dict(document) if document else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, jwt.PyJWTError) as error:
            keys, self._why = None, f"the keys of {self._issuer} cannot be had: {error}"
        if keys is not None:
            self._keys, self._fetched_at = keys, self._clock()

    def _published(self) -> str:
        for url in issuer_metadata(self._issuer):
            document = self._fetch(url)
            if document is None:
                continue
            if document.get("issuer") != self._issuer:  # RFC 8414 section 3.3: it MUST NOT be used
                raise ValueError(f"{url} is the metadata of another issuer")
            uri = document.get("jwks_uri")
            if not isinstance(uri, str):
                raise ValueError(f"{url} names no jwks_uri")
            if urlsplit(self._issuer).scheme == "https" != urlsplit(uri).scheme:
                raise ValueError(f"{url} names a jwks_uri without https")
            _check(uri)
            return uri
        raise ValueError("it publishes no metadata")


def fetch_json(url: str) -> dict[str, Any] | None:
    """The JSON object at `url`; None where there is none. Follows no redirect. Raises `OSError`."""
    deadline = time.monotonic() + TIMEOUT
    ours = urlsplit(url).hostname in _LOOPBACK
    try:
        with (
            httpx2.Client(trust_env=not ours, follow_redirects=False, timeout=TIMEOUT) as http,
            http.stream("GET", url, headers={"Accept": "application/json"}) as answer,
        ):
            if answer.status_code >= 500 or answer.status_code == 429:
                raise OSError(f"{url} answered {answer.status_code}")
            if answer.status_code != 200:
                return None
            body = bytearray()
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) > BODY_LIMIT or time.monotonic() > deadline:
                    raise OSError(f"{url} is too large or too slow")
    except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL) as error:
        raise OSError(f"{url}: {error or type(error).__name__}") from None
    document: object = json.loads(body)
    return cast("dict[str, Any]", document) if isinstance(document, dict) else None


def _check(url: str) -> None:
    parts = urlsplit(url)
    if not parts.hostname or (parts.scheme != "https" and (parts.scheme != "http" or parts.hostname not in _LOOPBACK)):
        raise ValueError(f"{url} must be an https address (http only for this machine)")
