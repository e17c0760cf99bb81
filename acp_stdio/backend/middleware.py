"""ASGI middleware: nobody gets through without a good token, and the application behind it knows who is asking.

For Starlette, FastAPI, the MCP SDK's `streamable_http_app()` and every other ASGI application (ASGI 3.0).
Challenges as RFC 6750 section 3 and MCP authorization want them; the metadata of RFC 9728 is served here too.
"""

import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import replace
from typing import Any, Final, cast
from urllib.parse import urlsplit

from acp_stdio.backend.assertion import AssertionVerifier, InvalidAssertion
from acp_stdio.backend.body import Asked, BadBody, asked
from acp_stdio.backend.caller import NOBODY, Caller
from acp_stdio.backend.outcome import Outcome
from acp_stdio.backend.proof import ALGORITHMS, NO_PROOF, InvalidProof, Proof, ProofVerifier
from acp_stdio.backend.refusals import InsufficientScope, InvalidToken, KeysUnavailable, Refused
from acp_stdio.backend.verifier import TokenVerifier
from acp_stdio.identity.binding import BEARER, BOUND
from acp_stdio.identity.statement import HEADER
from acp_stdio.identity.well_known import resource_metadata

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = dict[str, str]

CALLER: Final = "acp_stdio.caller"
"""The key of the request's scope under which its `Caller` is."""

_log = logging.getLogger("acp_stdio.backend")


class _NoToken(InvalidToken):
    """Nobody tried: the challenge has no error then (RFC 6750 section 3.1)."""


class _Malformed(Refused):
    """A request that nobody should guess about: 400."""


class _TooLarge(Refused):
    """413."""


class _Gone(Exception):
    """The client went away while it was still sending."""


def caller_of(request: Any) -> Caller:
    """Who sent this request: a Starlette or FastAPI request, or an ASGI scope. Raises `LookupError` for anything that
    did not come through `BearerAuth`.

    With MCP the request is `ctx.request_context.request`. Not a context variable: what runs in a session may have
    been started by another request, of another person.
    """
    scope: object = getattr(request, "scope", request)
    found = cast("Scope", scope).get(CALLER) if isinstance(scope, MutableMapping) else None
    if not isinstance(found, Caller):
        raise LookupError("this request did not come through BearerAuth")
    return found


class BearerAuth:
    """`BearerAuth(app, verifier)` is an ASGI application that lets only proven people through to `app`."""

    def __init__(
        self,
        app: App,
        verifier: TokenVerifier,
        *,
        resource: str = "",
        assertions: AssertionVerifier | None = None,
        proofs: ProofVerifier | None = None,
        log: Callable[[str], object] | None = None,
        max_body: int = 4 * 1024 * 1024,
    ) -> None:
        """`resource`: this server's address as clients know it; default: the verifier's audience.

        `assertions`: each request must also bring a signed statement about itself, see `AssertionVerifier`.
        `proofs`: how the proofs of bound tokens are checked (RFC 9449); default: with `ProofVerifier`'s defaults.
        `log` gets one line for each request that is answered or refused: who asked for what, and how it ended.
        `max_body`: bytes of one POST. Raises `ValueError` where the resource is not an address.
        """
        self._app = app
        self._verifier = verifier
        self._assertions = assertions
        self._log = log
        self._max_body = max_body
        self._resource = resource or verifier.audience[0]
        if urlsplit(self._resource).scheme not in ("https", "http"):
            raise ValueError(f"say `resource`: {self._resource} is not this server's address")
        self._origin = "{0.scheme}://{0.netloc}".format(urlsplit(self._resource))
        self._proofs = proofs or ProofVerifier()
        self._metadata_url = resource_metadata(self._resource)
        self._metadata_path = urlsplit(self._metadata_url).path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["path"] == self._metadata_path and scope["method"] in ("GET", "HEAD"):
            await _answer(send, 200, self._metadata())
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller, what, body, scheme = NOBODY, Asked(), b"", BEARER
        try:
            headers = _headers(scope)
            caller = NOBODY.asking(headers)
            scheme, token = _presented(headers)
            proof = self._proved(scope, headers, token) if scheme == BOUND else NO_PROOF
            caller = (await self._verifier.verify_async(token, key=proof.thumbprint)).asking(headers)
            if proof.thumbprint:
                self._proofs.take(proof)
            if scope["method"] == "POST":
                body = await self._read(receive)
                proof.check_body(body)
                what = asked(body)
                caller = caller.asking(headers, what.tool, what.client_info)
            if self._assertions is not None:
                said = self._assertions.verify(
                    headers.get(HEADER.lower(), ""),
                    token=token,
                    caller=caller,
                    asked=what,
                    request_id=headers.get("x-request-id", ""),
                )
                caller = replace(caller, statement=said)
        except _Gone:
            return
        except (Refused, BadBody) as error:
            refusal = _Malformed(str(error)) if isinstance(error, BadBody) else error
            _log.info("refused: %s", refusal.why)
            await self._refuse(send, refusal, scheme)
            self._write(caller, "denied")
            return
        outcome = Outcome()
        try:
            await self._app(
                {**scope, CALLER: caller}, _again(body, receive) if body else receive, _watched(send, outcome)
            )
        finally:
            if what.is_request:
                self._write(caller, outcome.word())

    def _proved(self, scope: Scope, headers: Headers, token: str) -> Proof:
        return self._proofs.verify(
            headers.get("dpop", ""), method=scope["method"], origin=self._origin, path=scope["path"], token=token
        )

    def _write(self, caller: Caller, outcome: str) -> None:
        if self._log is not None:
            self._log(caller.line(outcome))

    async def _read(self, receive: Receive) -> bytes:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            body += message.get("body", b"")
            if len(body) > self._max_body:
                raise _TooLarge(f"the body is larger than {self._max_body} bytes")
            if not message.get("more_body", False):
                return bytes(body)

    def _metadata(self) -> dict[str, Any]:
        """RFC 9728 section 2."""
        scopes = {"scopes_supported": list(self._verifier.scopes)} if self._verifier.scopes else {}
        return {
            "resource": self._resource,
            "authorization_servers": [self._verifier.issuer],
            "bearer_methods_supported": ["header"],
            "dpop_signing_alg_values_supported": list(ALGORITHMS),
            **scopes,
        }

    async def _refuse(self, send: Send, refusal: Refused, scheme: str) -> None:
        scopes = " ".join(self._verifier.scopes)
        known = [f'resource_metadata="{self._metadata_url}"', *([f'scope="{scopes}"'] if scopes else [])]
        match refusal:
            case KeysUnavailable():
                await _answer(send, 503, {"error": "temporarily_unavailable"}, ("retry-after", "5"))
            case InsufficientScope():
                await _challenge(send, 403, scheme, "insufficient_scope", known)
            case InvalidAssertion():
                await _answer(send, 403, {"error": "invalid_assertion"})
            case _NoToken():
                await _challenge(send, 401, BEARER, "", known)
            case InvalidProof():
                await _challenge(send, 401, scheme, "invalid_dpop_proof", known)
            case InvalidToken():
                await _challenge(send, 401, scheme, "invalid_token", known)
            case _TooLarge():
                await _answer(send, 413, {"error": "too_large"})
            case _:
                await _answer(send, 400, {"error": "invalid_request", "error_description": refusal.why})


def _headers(scope: Scope) -> Headers:
    """By lower-case name. Raises `_Malformed` where one that counts is there twice."""
    found: Headers = {}
    for raw_name, raw_value in scope["headers"]:
        name = raw_name.decode("latin-1").lower()
        if name in found and name in ("authorization", "x-request-id", "acp-assertion", "dpop"):
            raise _Malformed(f"the header {name} is there twice")
        found[name] = raw_value.decode("latin-1")
    return found


def _presented(headers: Headers) -> tuple[str, str]:
    """The scheme and the token that came with it. Raises `_NoToken`."""
    said, _, token = headers.get("authorization", "").partition(" ")
    scheme = {"bearer": BEARER, "dpop": BOUND}.get(said.lower())
    if scheme is None or not token.strip():
        raise _NoToken("no token")
    return scheme, token.strip()


async def _challenge(send: Send, status: int, scheme: str, error: str, parameters: list[str]) -> None:
    algorithms = [f'algs="{" ".join(ALGORITHMS)}"'] if scheme == BOUND else []
    told = ", ".join(([f'error="{error}"'] if error else []) + algorithms + parameters)
    await _answer(send, status, {"error": error or "unauthorized"}, ("www-authenticate", f"{scheme} {told}"))


async def _answer(send: Send, status: int, document: dict[str, Any], *more: tuple[str, str]) -> None:
    body = json.dumps(document).encode()
    headers = (("content-type", "application/json"), ("content-length", str(len(body))), *more)
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers],
        }
    )
    await send({"type": "http.response.body", "body": body})


def _again(body: bytes, receive: Receive) -> Receive:
    """Gives the body that was read out once more, then whatever comes."""
    given = False

    async def from_the_start() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return from_the_start


def _watched(send: Send, outcome: Outcome) -> Send:
    async def passing(message: Message) -> None:
        if message["type"] == "http.response.start":
            types = [value for name, value in message.get("headers", ()) if name.lower() == b"content-type"]
            outcome.head(message["status"], types[0].decode("latin-1") if types else "")
        elif message["type"] == "http.response.body":
            outcome.data(message.get("body", b""))
        await send(message)

    return passing
