"""A provider that takes a refresh token once, ends the grant when it comes again, and loses answers on request.

One thread serves one connection after the other, in the order in which they came: a request of a
process that is dead by then has been acted upon before the next process is heard.
"""

import json
import secrets
import socket
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Final, Literal, Self
from urllib.parse import parse_qsl

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from acp_stdio.identity.model import Account
from acp_stdio.oauth.endpoint import TokenResponse
from acp_stdio.secrets import Secret

Loss = Literal["nothing", "request", "answer"]
"""What the connection breaks before: nothing, the provider's act, or its answer."""

CLIENT_ID: Final = "acp-stdio"
_KID: Final = "strict"


class StrictProvider:
    """One person's provider on loopback, for the public client `acp-stdio`. A context manager."""

    def __init__(self, resource: str, access_ttl: float = 300.0, user: str = "alice") -> None:
        self._resource, self._access_ttl, self._user = resource, access_ttl, user
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._lock = threading.Lock()
        self._losses: deque[Loss] = deque()
        self._grants: dict[str, int] = {}
        self._good: dict[int, str] = {}
        self.refreshes = 0
        """How often a refresh token was taken."""
        self.reuses = 0
        """How often a spent one came again."""
        self.issued: list[str] = []
        """Every token, oldest first."""
        self._server = _Server(self)
        self.issuer: Final = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def account(self) -> Account:
        """Who signs in here."""
        return Account(self._user, f"{self._user}@example.com", self._user, self.issuer)

    def sign_in(self) -> TokenResponse:
        """What the person's sign-in yields: a grant of its own."""
        with self._lock:
            token = self._refresh_token(len(self._good))
            return TokenResponse(Secret(self._access_token()), "Bearer", self._access_ttl, Secret(token))

    def takes(self, token: Secret | None) -> bool:
        """Whether `token` is one that would be taken now."""
        with self._lock:
            return token is not None and token.reveal() in self._good.values()

    def settle(self) -> None:
        """Returns once every connection that came before has been dealt with."""
        with socket.create_connection(("127.0.0.1", self._server.server_port), 30) as last:
            last.sendall(b"GET /settled HTTP/1.1\r\n\r\n")
            while last.recv(1024):
                pass

    def end_grants(self) -> None:
        """As if the company had closed the account."""
        with self._lock:
            self._good = dict.fromkeys(self._good, "")

    def lose(self, what: Loss) -> None:
        """Says what becomes of one more of the next token requests; the others go well."""
        self._losses.append(what)

    def forget_losses(self) -> None:
        """From now on every answer arrives."""
        self._losses.clear()

    def answer(self, path: str, form: dict[str, str]) -> tuple[int, dict[str, Any]] | None:
        """Status and document; None for a broken connection."""
        match path:
            case "/.well-known/oauth-authorization-server":
                return 200, self._metadata()
            case "/keys":
                return 200, {"keys": [self._public_key()]}
            case "/token":
                loss = self._losses.popleft() if self._losses else "nothing"
                if loss == "request":
                    return None
                answer = self._token(form)
                return None if loss == "answer" else answer
            case _:
                return 404, {}

    def _token(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        refused = {"error": "invalid_grant", "error_description": "not a token that is good here"}
        with self._lock:
            spent = form.get("refresh_token", "")
            grant = self._grants.get(spent)
            if grant is None or form.get("client_id") != CLIENT_ID or form.get("resource") != self._resource:
                return 400, refused
            if self._good.get(grant) != spent:
                self.reuses += 1
                self._good[grant] = ""  # RFC 9700 section 4.14.2: whoever holds the newer one may be the thief
                return 400, refused
            self.refreshes += 1
            return 200, {
                "token_type": "Bearer",
                "access_token": self._access_token(),
                "expires_in": self._access_ttl,
                "refresh_token": self._refresh_token(grant),
            }

    def _refresh_token(self, grant: int) -> str:
        token = secrets.token_urlsafe(32)
        self.issued.append(token)
        self._grants[token], self._good[grant] = grant, token
        return token

    def _access_token(self) -> str:
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": self._user,
            "aud": self._resource,
            "client_id": CLIENT_ID,
            "jti": secrets.token_hex(8),
            "iat": now,
            "exp": now + int(self._access_ttl),
        }
        token = jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": _KID})
        self.issued.append(token)
        return token

    def _metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "code_challenge_methods_supported": ["S256"],
            "response_types_supported": ["code"],
        }

    def _public_key(self) -> dict[str, Any]:
        jwk: dict[str, Any] = json.loads(ECAlgorithm.to_jwk(self._key.public_key()))
        return {**jwk, "kid": _KID, "use": "sig", "alg": "ES256"}


class _Server(HTTPServer):
    request_queue_size = 64

    def __init__(self, provider: StrictProvider) -> None:
        self.provider = provider
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: the client was killed."""


class _Handler(BaseHTTPRequestHandler):
    timeout = 30
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]  # the only server that uses it

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        text = self.rfile.read(length)
        if len(text) < length:
            return  # killed while it was sending
        answer = self.server.provider.answer(self.path, dict(parse_qsl(text.decode())))
        if answer is None:
            return
        body = json.dumps(answer[1]).encode()
        head = f"HTTP/1.1 {answer[0]} said\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self.wfile.write(f"{head}Connection: close\r\n\r\n".encode() + body)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""
