"""Dynamic client registration (RFC 7591), for servers that know us neither by name nor by document."""

import math
import secrets
import time
from dataclasses import dataclass
from typing import Any, Final

import httpx2

from acp_stdio.errors import Failure
from acp_stdio.oauth.client import AuthMethod, Client, Credential, method_with_secret
from acp_stdio.oauth.endpoint import TokenError, request_token
from acp_stdio.oauth.http import ConnectionFailed, send
from acp_stdio.oauth.metadata import AuthorizationServer
from acp_stdio.oauth.words import plain
from acp_stdio.secrets import Secret

DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
_CONFIGURE: Final = (
    "Ask whoever runs it for a client id and write it as `client_id`, with `issuer`, under [identity]; "
    "or host a client id metadata document and write its address as `client_metadata_url`."
)
_METHODS: Final[tuple[AuthMethod, ...]] = ("none", "client_secret_basic", "client_secret_post")


@dataclass(frozen=True, slots=True)
class Registration:
    """What one server gave us when we registered there. Never used with another server."""

    issuer: str
    client_id: str
    redirect_uris: tuple[str, ...] = ()
    """As registered, to the byte."""
    grant_types: tuple[str, ...] = ()
    registered_at: float = 0.0
    expires_at: float = 0.0
    """Epoch seconds of the secret's end; 0: it has none."""
    credential: Credential | None = None

    @property
    def client(self) -> Client:
        return Client(self.client_id, "registered", self.credential)

    def serves(self, redirect_uri: str | None, now: float) -> bool:
        """Can it be used for a sign-in that ends at `redirect_uri`, or with a device code (None)?"""
        if self.expires_at and now >= self.expires_at:
            return False
        return DEVICE_GRANT in self.grant_types if redirect_uri is None else redirect_uri in self.redirect_uris


def register(server: AuthorizationServer, http: httpx2.Client, redirect_uri: str | None) -> Registration:
    """Registers this program for exactly `redirect_uri`; None: for the device flow only.

    Raises `Failure`: configuration_invalid where the server does not have it, idp_unreachable.
    """
    if server.registration_endpoint is None:
        raise Failure(
            "configuration_invalid", f"{server.issuer} does not let programs register themselves.", _CONFIGURE
        )
    grants = ["authorization_code"] if redirect_uri else []
    grants += ["refresh_token", *([DEVICE_GRANT] if server.device_authorization_endpoint else [])]
    asked: dict[str, Any] = {
        "client_name": "acp-stdio",
        "application_type": "native",  # RFC 7591 leaves it to OpenID Connect; without it `http` redirects are refused
        "token_endpoint_auth_method": _method_to_ask(server),
        "grant_types": grants,
        "response_types": ["code"] if redirect_uri else [],
        **({"redirect_uris": [redirect_uri]} if redirect_uri else {}),
    }
    try:
        answer = send(http, "POST", server.registration_endpoint, document=asked)
    except ConnectionFailed as error:
        raise error.failure() from None
    document = answer.json_object() or {}
    if server.defaults and answer.status in (404, 405):
        raise Failure(
            "configuration_invalid",
            f"{server.issuer} publishes nothing about signing in, and lets no program register at its /register.",
            "Ask whoever runs it for a client id, and write it as `client_id`, without `issuer`, under [identity].",
        )
    if answer.status not in (200, 201) or "error" in document:
        raise _refused(server, answer.status, document)
    return _read(server, document, asked)


def is_known(server: AuthorizationServer, http: httpx2.Client, client: Client) -> bool:
    """Does the server still know `client`? Asked with a token that nobody issued; False only for a clear no.

    The authorization endpoint would say it to the person, in a page that never leads back to us.
    """
    form = {"grant_type": "refresh_token", "refresh_token": secrets.token_urlsafe(24), "client_id": client.client_id}
    try:
        request_token(server, http, form, client.credential)
    except TokenError as error:
        return error.error != "invalid_client"
    return True


def _method_to_ask(server: AuthorizationServer) -> AuthMethod:
    if not server.auth_methods or "none" in server.auth_methods:
        return "none"
    return method_with_secret(server.issuer, server.auth_methods)


def _read(server: AuthorizationServer, document: dict[str, Any], asked: dict[str, Any]) -> Registration:
    """RFC 7591 section 3.2.1: what the server answers counts, also where it is not what was asked for."""
    client_id, secret = document.get("client_id"), document.get("client_secret")
    has_secret = isinstance(secret, str) and bool(secret)
    method = document.get("token_endpoint_auth_method")
    if method is None:
        method = asked["token_endpoint_auth_method"]
        public_only = bool(server.auth_methods) and not set(_METHODS[1:]) & set(server.auth_methods)
        if method == "none" and has_secret and not public_only:  # RFC 7591 section 2: nothing said means Basic
            method = method_with_secret(server.issuer, server.auth_methods)
    if not isinstance(client_id, str) or not client_id or not client_id.isprintable():
        raise _unusable(server, "its answer holds no client id")
    if method not in _METHODS:
        raise _unusable(server, f"it wants us to authenticate with {plain(str(method), 60)}")
    if method != "none" and not has_secret:
        raise _unusable(server, "it wants a client secret and issued none")
    return Registration(
        issuer=server.issuer,
        client_id=client_id,
        redirect_uris=tuple(asked.get("redirect_uris", ())),
        grant_types=tuple(asked["grant_types"]),
        registered_at=time.time(),
        expires_at=_time(document.get("client_secret_expires_at")) if method != "none" else 0.0,
        credential=Credential(Secret(str(secret)), method) if method != "none" else None,
    )


def _time(value: object) -> float:
    """Epoch seconds; 0 for "never" and for what is no time."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return 0.0
    return max(0.0, float(value))


def _refused(server: AuthorizationServer, status: int, document: dict[str, Any]) -> Failure:
    said = f"{document.get('error', status)}: {document.get('error_description', 'no reason given')}"
    if status >= 500 or status == 429:
        return Failure("idp_unreachable", f"{server.issuer} could not register us ({plain(said)}).", "Try again later.")
    if document.get("error") == "invalid_redirect_uri":
        advice = "Set `redirect` under [identity] to what it takes, such as http://localhost:8400/callback."
    else:
        advice = _CONFIGURE
    return Failure("configuration_invalid", f"{server.issuer} did not register this program ({plain(said)}).", advice)


def _unusable(server: AuthorizationServer, why: str) -> Failure:
    return Failure("configuration_invalid", f"{server.issuer} registered this program, but {why}.", _CONFIGURE)
