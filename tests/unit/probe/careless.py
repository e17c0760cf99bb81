"""An MCP server over loopback HTTP with one weakness at a time, and an issuer whose tokens it takes."""

import base64
import hashlib
import hmac
import json
import threading
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.unit.backend.issuers import ISSUER, private_key, public_jwk

KEY = "sk-shared-key-of-everybody"
MODERN = "2026-07-28"
TOOLS = {"u-1001": ["report", "salary"], "u-1002": ["report"]}


class Careless(ThreadingHTTPServer):
    """`weak`: what it gets wrong, one of the names in the tests; empty: nothing."""

    daemon_threads = True

    def __init__(self, log: Path, weak: str = "", era: str = MODERN) -> None:
        super().__init__(("127.0.0.1", 0), Door)
        self.log, self.weak, self.era = log, weak, era
        self.url = f"http://127.0.0.1:{self.server_port}/mcp"
        self.late = 0.0
        """Seconds that its clock is ahead: to see a token expire."""
        self.sessions: dict[str, str] = {}
        self.called: list[str] = []
        """JSON-RPC methods that were carried out."""

    def who(self, token: str, session: str) -> str | None:
        """The `sub` of whom it lets in; None: nobody."""
        if self.weak == "open" or (self.weak == "anything" and token):
            return "somebody"
        if self.weak == "session" and session in self.sessions:
            return self.sessions[session]
        if self.weak == "shared key" and token == KEY:
            return "service-account"
        try:
            return self._claims(token)["sub"]
        except (jwt.PyJWTError, ValueError, KeyError, OSError):
            return None

    def _claims(self, token: str) -> dict[str, Any]:
        header = jwt.get_unverified_header(token)
        told = jwt.decode(token, options={"verify_signature": False})
        key: Any = jwt.PyJWK(public_jwk("ec1"))
        match self.weak, header["alg"]:
            case "no signature", _:
                return told
            case "alg none", "none":
                return told
            case "password", "HS256":
                public: Any = private_key("ec1").public_key()
                pem: bytes = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
                signed, _, mac = token.rpartition(".")
                wanted = hmac.new(pem, signed.encode(), hashlib.sha256).digest()
                if not hmac.compare_digest(base64.urlsafe_b64decode(mac + "="), wanted):
                    raise jwt.InvalidSignatureError
                return told
            case "own key", _ if "jwk" in header:
                key = jwt.PyJWK(header["jwk"])
            case "any issuer" | "asks strangers", _ if told["iss"] != ISSUER:
                with urllib.request.urlopen(f"{told['iss']}/jwks", timeout=30) as answer:  # noqa: S310  # a test's own
                    key = jwt.PyJWK(json.load(answer)["keys"][0])
                if self.weak == "asks strangers":
                    raise jwt.InvalidIssuerError
            case _:
                pass
        verified = jwt.decode(
            token,
            key,
            ["ES256"],
            audience=self.url,
            issuer=None if self.weak == "any issuer" else ISSUER,
            options={"verify_aud": self.weak != "no aud", "verify_exp": False},
        )
        if self.weak != "no exp" and verified["exp"] < time.time() + self.late:
            raise jwt.ExpiredSignatureError
        return verified


class Door(BaseHTTPRequestHandler):
    server: Careless  # pyright: ignore[reportIncompatibleVariableOverride]  # the one that made it
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body leave in two writes

    def do_GET(self) -> None:
        server = self.server
        issuers = ["https://another.example"] if server.weak == "metadata issuer" else [ISSUER]
        resource = "https://another.example/mcp" if server.weak == "metadata resource" else server.url
        document = {"resource": resource, "authorization_servers": [] if server.weak == "names no issuer" else issuers}
        known = "oauth-protected-resource" in self.path and server.weak != "no metadata"
        self.answer(200 if known else 404, document if known else {})

    def do_DELETE(self) -> None:
        self.server.sessions.pop(self.headers.get("Mcp-Session-Id", ""), None)
        self.answer(200, {})

    def do_POST(self) -> None:
        server = self.server
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        session = self.headers.get("Mcp-Session-Id", "")
        sub = server.who(token, session)
        if sub is None:
            self.refuse(asked)
            return
        method = asked["method"]
        server.called.append(method)
        if method in ("tools/list", "tools/call"):
            self.write_log(sub, token)
        if "id" not in asked:
            self.answer(202, None)
        elif server.era != MODERN and method == "server/discover":
            self.answer(400, {"error": {"code": -32600, "message": "no session"}})
        elif method == "initialize":
            opened = f"s-{len(server.sessions)}"
            server.sessions[opened] = sub
            self.result(asked, {"protocolVersion": "2025-11-25", "capabilities": {}}, {"Mcp-Session-Id": opened})
        elif method == "tools/list":
            self.result(asked, {"tools": [{"name": name} for name in TOOLS.get(sub, ["report"])]})
        elif method == "tools/call":
            self.result(asked, {"content": [], "isError": asked["params"]["name"] not in TOOLS.get(sub, ["report"])})
        else:
            self.result(asked, {"supportedVersions": [MODERN]})

    def refuse(self, asked: dict[str, Any]) -> None:
        server = self.server
        pointer = f"{server.url.removesuffix('/mcp')}/.well-known/oauth-protected-resource/mcp"
        match server.weak:
            case "refuses within MCP":
                self.answer(200, {"id": asked.get("id"), "error": {"code": -32001, "message": "Unauthorized"}})
            case "breaks":
                self.answer(500, {})
            case "no challenge":
                self.answer(401, {})
            case "no pointer":
                self.answer(401, {}, {"WWW-Authenticate": "Bearer"})
            case _:
                self.answer(401, {}, {"WWW-Authenticate": f'Bearer resource_metadata="{pointer}"'})

    def write_log(self, sub: str, token: str) -> None:
        who = {"no name": "service-account", "no line": None}.get(self.server.weak, sub)
        if who is not None:
            leak = f" authorization={token}" if self.server.weak == "leaks" else ""
            with open(self.server.log, "a", encoding="utf-8") as log:
                log.write(f"user={who} request={self.headers['X-Request-Id']}{leak}\n")

    def result(self, asked: dict[str, Any], result: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        self.answer(200, {"jsonrpc": "2.0", "id": asked["id"], "result": result}, headers)

    def answer(self, status: int, document: dict[str, Any] | None, headers: dict[str, str] | None = None) -> None:
        body = b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@contextmanager
def careless(log: Path, weak: str = "", era: str = MODERN) -> Generator[Careless]:
    log.touch()
    with Careless(log, weak, era) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
