"""The device flow (RFC 8628): a code that the person types in a browser somewhere else.

Only when it is asked for by name: RFC 10027 (BCP 247) keeps it for computers without a browser,
since whoever talks a person into typing a code has their sign-in.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from acp_stdio.errors import Failure
from acp_stdio.login.client import InteractiveClient
from acp_stdio.login.opener import safe_url
from acp_stdio.login.wanted import Wanted
from acp_stdio.oauth.client import Client, proven
from acp_stdio.oauth.endpoint import TokenError, TokenResponse
from acp_stdio.oauth.explain import explain
from acp_stdio.oauth.http import ConnectionFailed, send
from acp_stdio.oauth.metadata import AuthorizationServer
from acp_stdio.oauth.words import plain
from acp_stdio.secrets import Secret

DEFAULT_INTERVAL = 5.0
"""Seconds between two polls where the server does not say (RFC 8628 section 3.2), and what `slow_down` adds."""
LONGEST = 1800.0
"""Seconds after which a code is given up, whatever the server promised."""
_SURVIVABLE = frozenset({"unsent", "answer_lost", "transient"})


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """What the server gave us and the person."""

    device_code: Secret
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: float
    interval: float


def require_device_flow(server: AuthorizationServer) -> str:
    """The address of the server's device flow (RFC 8628 section 4). Raises `Failure(configuration_invalid)`."""
    if server.device_authorization_endpoint is None:
        raise Failure(
            "configuration_invalid",
            f"{server.issuer} does not offer the device flow (it has no device_authorization_endpoint).",
            "Run `acp-stdio login --paste`, which works with a browser on any computer.",
        )
    return server.device_authorization_endpoint


def request_device_code(server: AuthorizationServer, http: httpx2.Client, client: Client, wanted: Wanted) -> DeviceCode:
    """RFC 8628 section 3.1. Raises `Failure`: configuration_invalid, idp_unreachable, denied."""
    url = require_device_flow(server)
    scope = {"scope": " ".join(wanted.scopes)} if wanted.scopes else {}
    named = {"client_id": client.client_id}
    form, basic = proven({**named, **scope}, client.credential)
    try:  # the client's name stays in the form beside HTTP Basic: Google's documentation requires it
        answer = send(http, "POST", url, {**form, **named, **wanted.audiences}, basic=basic)
    except ConnectionFailed as error:
        raise error.failure() from None
    document = answer.json_object() or {}
    if answer.status != 200 or "error" in document:
        raise _not_started(answer.status, document)
    return _read(document)


def _not_started(status: int, document: Mapping[str, Any]) -> Failure:
    error, description = (
        plain(str(document.get("error", status)), 60),
        plain(str(document.get("error_description", ""))),
    )
    if status < 500 and (known := explain(error, description)):
        return known
    if error == "invalid_scope":
        advice = "It may allow fewer scopes with a code than with a browser: run `acp-stdio login --paste`."
    else:
        advice = "Ask whoever runs it to allow the device flow for this client, or run `acp-stdio login --paste`."
    return Failure(
        "idp_unreachable" if status >= 500 else "configuration_invalid",
        f"The identity provider did not start the device flow ({error}: {description or 'no reason given'}).",
        advice,
    )


def wait_for_person(
    client: InteractiveClient,
    code: DeviceCode,
    parameters: Mapping[str, str],
    *,
    timeout: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> TokenResponse:
    """Polls until the person is done, the code expires or `timeout` seconds are over.

    A network that is gone for a while and a server in trouble are waited out.
    Raises `Failure`: denied, timeout, configuration_invalid, login_required.
    """
    until = clock() + min(code.expires_in, timeout, LONGEST)
    interval = code.interval
    while clock() + interval < until:
        sleep(interval)
        try:
            return client.poll_device(code.device_code, parameters)
        except TokenError as error:
            if error.error == "slow_down":
                interval += DEFAULT_INTERVAL
            elif error.error == "access_denied":
                raise Failure(
                    "denied", "The sign-in was refused or cancelled.", "Run `acp-stdio login --device` to try again."
                ) from None
            elif error.error == "expired_token":
                break
            elif error.error != "authorization_pending" and error.kind not in _SURVIVABLE:
                raise error.failure() from None
            elif error.kind == "unsent" or error.kind == "answer_lost":
                interval = min(interval * 2, 60.0)  # RFC 8628 section 3.5: back off on connection timeouts
    raise Failure(
        "timeout", "The code expired before anybody used it.", "Run `acp-stdio login --device` to get a new one."
    )


def instructions(code: DeviceCode) -> str:
    """What the person reads: where to go, what to type, and what never to do."""
    direct = code.verification_uri_complete
    link = f"or open the address that has the code in it already:\n\n  {direct}\n\n" if direct else ""
    return (
        f"On any device with a browser, open\n\n  {code.verification_uri}\n\nand type the code\n\n"
        f"  {code.user_code}\n\n{link}"
        "Only go on if you started this yourself, just now. Never give this code to anybody and never type one\n"
        "that somebody sent you: whoever started it gets your sign-in."
    )


def _read(document: Mapping[str, Any]) -> DeviceCode:
    device_code, user_code = document.get("device_code"), document.get("user_code")
    # Google's is older than RFC 8628 (developers.google.com/identity/protocols/oauth2/limited-input-device).
    uri = document.get("verification_uri") or document.get("verification_url")
    complete = document.get("verification_uri_complete")
    if not (isinstance(device_code, str) and isinstance(user_code, str) and isinstance(uri, str)):
        raise Failure(
            "idp_unreachable",
            "The identity provider's answer holds no device code.",
            "Tell whoever runs it, or sign in with a browser.",
        )
    return DeviceCode(
        device_code=Secret(device_code),
        user_code=plain(user_code, 60),
        verification_uri=safe_url(uri),
        verification_uri_complete=safe_url(complete) if isinstance(complete, str) else "",
        expires_in=_seconds(document.get("expires_in"), LONGEST),
        interval=max(1.0, _seconds(document.get("interval"), DEFAULT_INTERVAL)),
    )


def _seconds(value: object, default: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        return default
    return float(value)
