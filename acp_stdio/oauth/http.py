"""How we talk to identity providers: one client, no redirects, bounded answers, https only.

Runs in `login` and in the token helper, never in `run`. What carries a code or a refresh token
goes to the address that was configured or published, and nowhere that an answer points to
(RFC 9700 section 4.12).
"""

import contextlib
import json
import ssl
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import urlsplit

import httpx2

from acp_stdio import __version__
from acp_stdio.errors import Failure
from acp_stdio.oauth.words import plain
from acp_stdio.settings import checks
from acp_stdio.settings.model import NetworkSettings

CONNECT_TIMEOUT: Final = 10.0
READ_TIMEOUT: Final = 20.0
"""Seconds for one read; some identity providers think for more than five."""
TOTAL_TIMEOUT: Final = 25.0
"""Seconds for one whole answer, however slowly it drips."""
BODY_LIMIT: Final = 1024 * 1024
"""Bytes of one answer; metadata, key sets and token answers stay far below."""

_LOOPBACK: Final = ("all://127.0.0.1", "all://localhost", "all://[::1]")
_NOT_SENT: Final = (
    httpx2.ConnectError,  # DNS, TCP and TLS: nothing of the request has left
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
    httpx2.LocalProtocolError,
)


class ConnectionFailed(Exception):
    """No complete answer. `sent`: the request may have reached the server and been acted upon."""

    def __init__(self, url: str, why: str, *, sent: bool) -> None:
        self.host = urlsplit(url).netloc
        self.why = plain(why)
        self.sent = sent
        super().__init__(f"{self.host}: {self.why}")

    def failure(self, reason: str = "idp_unreachable") -> Failure:
        """As a `Failure` with `reason`."""
        if "CERTIFICATE_VERIFY_FAILED" in self.why or "certificate verify failed" in self.why:
            advice = "If your company inspects TLS, set [network] ca_bundle to its root certificate."
        else:
            advice = "Check the network, VPN and proxy, then try again."
        return Failure(reason, f"{self.host} could not be reached: {self.why}.", advice)


@dataclass(frozen=True, slots=True)
class Answer:
    """One complete HTTP answer. The body may hold tokens, so it is never printed."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"Answer(status={self.status})"

    def json_object(self) -> dict[str, Any] | None:
        """The body as a JSON object, or None where it is anything else."""
        try:
            document: object = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return cast("dict[str, Any]", document) if isinstance(document, dict) else None


def open_client(network: NetworkSettings) -> httpx2.Client:
    """A client for OAuth traffic; close it, or use it as a context manager.

    The proxy comes from the settings, else from the environment or the system; loopback is never
    proxied. Certificates are checked against `ca_bundle`, else the OS trust store.

    Raises `Failure(configuration_invalid)` where `ca_bundle` or `proxy` cannot be used.
    """
    if not network.ca_bundle:
        verify = httpx2.create_ssl_context()  # once: a proxy's transport would read all certificates again
    else:
        try:
            verify = ssl.create_default_context(cafile=network.ca_bundle)
        except OSError as error:  # ssl.SSLError is one
            raise Failure(
                "configuration_invalid",
                f"[network] ca_bundle {network.ca_bundle} cannot be read: {plain(str(error))}.",
                "Name a readable PEM file, or remove the key to use the system's certificates.",
            ) from None
    try:
        return httpx2.Client(
            verify=verify,
            proxy=network.proxy or None,
            trust_env=True,
            mounts=dict.fromkeys(_LOOPBACK),
            follow_redirects=False,
            timeout=httpx2.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT),
            headers={"User-Agent": f"acp-stdio/{__version__}"},
        )
    except (ValueError, ImportError, httpx2.InvalidURL) as error:
        raise Failure(
            "configuration_invalid",
            f"The proxy cannot be used: {plain(str(error))}.",
            "Give [network] proxy as http://host:port.",
        ) from None


def send(
    http: httpx2.Client,
    method: str,
    url: str,
    form: Mapping[str, str | Sequence[str]] | None = None,
    *,
    document: Mapping[str, Any] | None = None,
    basic: tuple[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request, one complete answer of at most `BODY_LIMIT` bytes, whatever its status.

    A list in `form` is a repeated parameter (RFC 8707 section 2); `document` is sent as JSON;
    `basic` are user and password (RFC 7617); `headers` are further ones.

    Raises `ConnectionFailed`. A plain http address that is not of this machine is not asked.
    """
    started = time.monotonic()
    accept = {"Accept": "application/json", **(headers or {})}
    with (
        _sending(url),
        http.stream(method, url, data=form, json=document, headers=accept, auth=basic) as response,
    ):
        if response.headers.get("Content-Type", "").startswith("text/event-stream"):
            # An MCP server that answers every GET with its stream, which has no end and no document in it.
            return Answer(response.status_code, _lower(response.headers), b"")
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > BODY_LIMIT:
                raise ConnectionFailed(url, "the answer is larger than 1 MiB", sent=True)
            if time.monotonic() - started > TOTAL_TIMEOUT:
                raise ConnectionFailed(url, "the answer took too long", sent=True)
        return Answer(response.status_code, _lower(response.headers), bytes(body))


def send_for_headers(
    http: httpx2.Client, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
) -> tuple[int, dict[str, str]]:
    """One request; status and headers of its answer, whose body may be a stream without an end.

    Raises `ConnectionFailed`.
    """
    with _sending(url), http.stream(method, url, content=body, headers=headers) as response:
        return response.status_code, _lower(response.headers)


@contextlib.contextmanager
def _sending(url: str) -> Generator[None]:
    """Turns the client's errors into ours; refuses addresses that must not be asked."""
    if problem := checks.url(url):
        raise ConnectionFailed(url, f"the address {problem}", sent=False)
    try:
        yield
    except _NOT_SENT as error:
        raise ConnectionFailed(url, _why(error), sent=False) from None
    except (httpx2.RequestError, httpx2.StreamError) as error:
        raise ConnectionFailed(url, _why(error), sent=True) from None
    except httpx2.InvalidURL:
        raise ConnectionFailed(url, "the address is not one", sent=False) from None


def _lower(headers: httpx2.Headers) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def get_json(http: httpx2.Client, url: str, *, reason: str = "idp_unreachable") -> dict[str, Any] | None:
    """The JSON object at `url`; None where there is none (4xx, a redirect, a web page). Raises as `look_for_json`."""
    return look_for_json(http, url, reason=reason)[1]


def look_for_json(
    http: httpx2.Client, url: str, *, reason: str = "idp_unreachable"
) -> tuple[int, dict[str, Any] | None]:
    """The answer's status, and the JSON object where there is one.

    Raises `Failure(reason)` where the server cannot be reached or has a problem of its own.
    """
    try:
        answer = send(http, "GET", url)
    except ConnectionFailed as error:
        raise error.failure(reason) from None
    if answer.status >= 500 or answer.status == 429:
        raise Failure(
            reason,
            f"{urlsplit(url).netloc} answered {answer.status} to {urlsplit(url).path}.",
            "Try again in a minute.",
        )
    return answer.status, answer.json_object() if answer.status == 200 else None


def _why(error: Exception) -> str:
    if isinstance(error, httpx2.TimeoutException):
        return "no answer in time"
    return str(error) or type(error).__name__
