"""The token and revocation endpoints: what we ask without a human, and what the answers mean."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import httpx2

from acp_stdio.errors import Failure
from acp_stdio.identity.binding import BEARER, BOUND
from acp_stdio.oauth.client import Credential, proven
from acp_stdio.oauth.explain import explain
from acp_stdio.oauth.http import Answer, ConnectionFailed, send
from acp_stdio.oauth.metadata import AuthorizationServer
from acp_stdio.oauth.possession import Prover
from acp_stdio.oauth.words import plain
from acp_stdio.secrets import Secret

UNSAID_LIFETIME: Final = 300.0
"""Seconds assumed where the answer has no `expires_in` (RFC 6749 section 5.1 only recommends it)."""

TokenErrorKind = Literal["unsent", "answer_lost", "transient", "invalid_grant", "misconfigured"]
_TEMPORARY: Final = frozenset({"temporarily_unavailable", "server_error", "slow_down", "use_dpop_nonce"})
"""The last one only where the nonce that came with it was refused as well."""
NEEDS_PERSON: Final = frozenset(
    {"interaction_required", "login_required", "consent_required", "account_selection_required"}
)
"""Errors that a page of the provider's may help (OpenID Connect Core section 3.1.2.6)."""


@dataclass(frozen=True, slots=True)
class TokenResponse:
    """A successful answer of the token endpoint, RFC 6749 section 5.1."""

    access_token: Secret
    token_type: str
    """`Bearer`, or `DPoP`: bound to the key of the `Prover`."""
    expires_in: float
    """Seconds from the answer; `UNSAID_LIFETIME` where the server did not say."""
    refresh_token: Secret | None = None
    refresh_expires_in: float = 0.0
    """Seconds from the answer that the refresh token is good for; 0: no end of it was said."""
    id_token: Secret | None = None
    scope: str | None = None


class TokenError(Exception):
    """No token. What that means for the refresh token is `kind`.

    - `unsent`: the request did not leave (DNS, TCP, TLS, proxy); nothing has changed.
    - `answer_lost`: it left and no whole answer came; the refresh token may be spent.
    - `transient`: the server, or something on the way, could not answer; try later, keep the token.
    - `invalid_grant`: the server does not accept the refresh token or code.
    - `misconfigured`: it refuses the request itself (client, scope, resource), or a policy of its own stands against
      it; repeating does not help, and the token is as good as before.
    """

    def __init__(self, kind: TokenErrorKind, message: str, *, error: str = "", description: str = "") -> None:
        super().__init__(message)
        self.kind: TokenErrorKind = kind
        self.message = message
        self.error = error
        """The server's `error`, or nothing."""
        self.description = description
        """The server's `error_description` on one printable line, shortened."""

    def failure(self) -> Failure:
        """As what the person sees, where the caller knows nothing better."""
        if self.kind not in ("unsent", "transient") and (known := explain(self.error, self.description)):
            return known
        if self.error in NEEDS_PERSON:  # the grant stays good, so a plain `login` would find nothing to do
            return Failure("login_required", self.message, "Run `acp-stdio login --force` to sign in again.")
        if self.kind == "invalid_grant":
            return Failure("login_required", self.message, "Run `acp-stdio login` to sign in again.")
        if self.kind == "misconfigured":
            return Failure(
                "configuration_invalid",
                self.message,
                "Check client_id, scopes and audience in the configuration with whoever runs the provider.",
            )
        return Failure("idp_unreachable", self.message, "Check the network, then try again in a minute.")


def refresh(
    server: AuthorizationServer,
    http: httpx2.Client,
    *,
    client_id: str,
    refresh_token: Secret,
    params: Mapping[str, str],
    credential: Credential | None = None,
    prover: Prover | None = None,
) -> TokenResponse:
    """Spends `refresh_token` once (RFC 6749 section 6); never repeats by itself. Raises `TokenError`.

    `params` says what the token is for, see `asking.token_request_params`.
    """
    return request_token(
        server,
        http,
        {
            **params,
            "grant_type": "refresh_token",
            "client_id": client_id,
            "refresh_token": refresh_token.reveal(),
        },
        credential,
        prover,
    )


def request_token(
    server: AuthorizationServer,
    http: httpx2.Client,
    form: Mapping[str, str],
    credential: Credential | None = None,
    prover: Prover | None = None,
) -> TokenResponse:
    """One POST of `form` to the token endpoint, by a confidential client with its secret. Raises `TokenError`.

    With a `prover` a server that wants a nonce in the proof gets a second one: the first was refused before anything
    was redeemed (RFC 9449 section 8), so whoever spends a refresh token has still spent it once.
    """
    form, basic = proven(form, credential)

    def post() -> Answer:
        proof = prover.headers("POST", server.token_endpoint) if prover else None
        try:
            return send(http, "POST", server.token_endpoint, form, basic=basic, headers=proof)
        except ConnectionFailed as error:
            what = "The connection broke after the request had left" if error.sent else "Could not be reached"
            kind: TokenErrorKind = "answer_lost" if error.sent else "unsent"
            raise TokenError(kind, f"{error.host}: {what} ({error.why}).") from None

    answer = post()
    if prover is not None and prover.wants_another(answer):
        answer = post()
        prover.take_nonce(answer)
    return parse_token_response(answer, bound=prover is not None)


_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - the name of a kind


def exchange(
    server: AuthorizationServer,
    http: httpx2.Client,
    *,
    client_id: str,
    subject_token: Secret,
    params: Mapping[str, str],
    credential: Credential | None = None,
    prover: Prover | None = None,
) -> TokenResponse:
    """A token for somebody else in exchange for the person's own (RFC 8693 section 2). Raises `TokenError`.

    `params` says whom it is for, see `asking.exchange_params`.
    """
    return request_token(
        server,
        http,
        {
            **params,
            "grant_type": _EXCHANGE,
            "client_id": client_id,
            "subject_token": subject_token.reveal(),
            "subject_token_type": _ACCESS_TOKEN,
            "requested_token_type": _ACCESS_TOKEN,
        },
        credential,
        prover,
    )


_REFRESH_LIFETIMES: Final = ("refresh_token_expires_in", "refresh_expires_in")
"""What no standard has a name for: Google's, GitHub's and Entra External ID's, and Keycloak's, where 0 is "no end"."""
_CENTURY: Final = 36_500 * 86_400.0
_B64TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""What a Bearer credential is made of (RFC 6750 section 2.1)."""


def parse_token_response(answer: Answer, *, bound: bool = False) -> TokenResponse:
    """The token endpoint's answer as a value. Raises `TokenError`, which never quotes a token.

    `bound`: we have proved to hold a key, so the token may be one that is bound to it.
    """
    document = answer.json_object()
    if document is None:  # an empty 400, a proxy's web page: says nothing about the grant
        raise TokenError("transient", f"The identity provider answered {answer.status} without a readable reason.")
    if isinstance(document.get("error"), str):
        raise _refused(answer.status, document)
    if answer.status != 200:
        raise TokenError("transient", f"The identity provider answered {answer.status}.")
    access_token, token_type = document.get("access_token"), document.get("token_type")
    if not isinstance(access_token, str) or not access_token or not isinstance(token_type, str):
        raise TokenError("misconfigured", "The identity provider's answer holds no access token.")
    if not _B64TOKEN.fullmatch(access_token):
        raise TokenError("misconfigured", "The identity provider issued an access token that no header can carry.")
    known = next((each for each in (BEARER, BOUND)[: 2 if bound else 1] if each.lower() == token_type.lower()), None)
    if known is None:  # RFC 6749 section 7.1: a type we do not know must not be used
        raise TokenError("misconfigured", f"The identity provider issued a {plain(token_type, 40)} token.")
    scope = document.get("scope")
    return TokenResponse(
        access_token=Secret(access_token),
        token_type=known,
        expires_in=_lifetime(document.get("expires_in")),
        refresh_token=_secret(document, "refresh_token"),
        refresh_expires_in=_refresh_lifetime(document),
        id_token=_secret(document, "id_token"),
        scope=scope if isinstance(scope, str) else None,
    )


def revoke(
    server: AuthorizationServer,
    http: httpx2.Client,
    *,
    client_id: str,
    token: Secret,
    hint: Literal["refresh_token", "access_token"],
    credential: Credential | None = None,
) -> Literal["revoked", "unsupported", "failed"]:
    """Ends `token` at the server (RFC 7009). Never raises: what could not be done is the answer."""
    if server.revocation_endpoint is None:
        return "unsupported"
    asked = {"token": token.reveal(), "token_type_hint": hint, "client_id": client_id}
    form, basic = proven(asked, credential)
    try:
        answer = send(http, "POST", server.revocation_endpoint, form, basic=basic)
    except ConnectionFailed:
        return "failed"
    if answer.status == 200:
        return "revoked"
    error = (answer.json_object() or {}).get("error")
    return "unsupported" if error == "unsupported_token_type" else "failed"


_SPENT: Final = ("invalid_grant", "bad_refresh_token", "bad_verification_code")
"""RFC 6749 section 5.2, and GitHub's own two (docs.github.com, troubleshooting access token requests)."""


def _refused(status: int, document: Mapping[str, Any]) -> TokenError:
    error = plain(document["error"], 60)
    description = plain(str(document.get("error_description") or ""))
    kind: TokenErrorKind = "misconfigured"
    if status >= 500 or status == 429 or error in _TEMPORARY:
        kind = "transient"
    elif error in _SPENT and explain(error, description) is None:
        # What has an explanation of its own is about a policy: where a person is, with what, how they proved who they
        # are. It may pass where they go on, and MSAL keeps the refresh token then, too (msal/application.py).
        kind = "invalid_grant"
    said = f"{error}: {description}" if description else error
    return TokenError(kind, f"The identity provider refused ({said}).", error=error, description=description)


def _secret(document: Mapping[str, Any], name: str) -> Secret | None:
    value = document.get(name)
    return Secret(value) if isinstance(value, str) and value else None


def _refresh_lifetime(document: Mapping[str, Any]) -> float:
    said = max(_seconds(document.get(name)) for name in _REFRESH_LIFETIMES)
    return said if said < _CENTURY else 0.0


def _lifetime(value: object) -> float:
    return _seconds(value, UNSAID_LIFETIME)


def _seconds(value: object, unsaid: float = 0.0) -> float:
    """A length of time as answers have it, some of them as text; `unsaid` where it is none."""
    try:
        seconds = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else -1.0
    except (ValueError, OverflowError):
        seconds = -1.0
    return seconds if math.isfinite(seconds) and seconds >= 0 else unsaid
