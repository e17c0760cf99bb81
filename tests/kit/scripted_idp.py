"""Identity providers that misbehave on request: real HTTP, real keys, answers by script.

`ScriptedIdp` follows the specifications, `tests.kit.scripted_entra` differs as Microsoft Entra ID does.
`forge_…` makes one part of the next answers a lie, so that a test can see it refused. Nobody has to
fill in a form: the authorization endpoint redirects at once, as with single sign-on.
"""

import base64
import functools
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Literal, Self
from urllib.parse import parse_qs, parse_qsl, unquote_plus, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

TokenLie = Literal[
    "wrong_iss", "wrong_aud", "bad_nonce", "alg_none", "alg_hs256", "foreign_kid", "foreign_key", "other_account",
    "expired", "bound_elsewhere",
]  # fmt: skip
RedirectLie = Literal["wrong_iss", "missing_iss", "iss_twice", "wrong_state", "wrong_iss_error"]
DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
Form = dict[str, str]


@functools.cache
def _key(name: str) -> rsa.RSAPrivateKey:
    """One key pair per name and process; `name` is its kid."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Refused(Exception):
    """An OAuth error answer."""

    def __init__(self, error: str, description: str = "", status: int = 400) -> None:
        super().__init__(error)
        self.document: dict[str, Any] = {"error": error, "error_description": description}
        self.status = status


@dataclass(slots=True)
class _Grant:
    user: str
    scopes: tuple[str, ...]
    request: Form


@dataclass
class ScriptedIdp:
    """A provider by the book for the public client `acp-stdio`. A context manager.

    `resource` and `scope` are honoured, refresh tokens rotate, every endpoint is on `issuer`.
    """

    user: str = "alice"
    client_id: str = "acp-stdio"
    access_ttl: int = 300
    forge_id_token: TokenLie | None = None
    forge_access_token: TokenLie | None = None
    forge_redirect: RedirectLie | None = None
    token_user: str = ""
    """Whose access tokens are issued, whoever signed in."""
    key: str = "good"
    """The kid of the key that is published, and signs unless `signs_with` names another."""
    signs_with: str = ""
    lost_renewals: int = 0
    """How many of the next renewals are done, and their answers lost on the way."""
    clock_offset: int = 0
    """Seconds by which the provider's clock is ahead of ours."""
    grants: Callable[[tuple[str, ...]], tuple[str, ...] | None] = field(default=lambda asked: asked)
    """What is granted of what was asked for, and said in the answer; None: all of it, and nothing is said."""
    ends_everything: bool = False
    """A refresh token that is revoked takes along whatever else the client has of the person (RFC 7009 section 2.1
    leaves that to the provider)."""
    disabled: set[str] = field(default_factory=set[str])
    requests: list[tuple[str, Form]] = field(default_factory=list[tuple[str, Form]])
    """Path and parameters of every request to an endpoint, oldest first."""
    issued: list[str] = field(default_factory=list[str])
    """Every token and code issued."""

    def __post_init__(self) -> None:
        self._codes: dict[str, _Grant] = {}
        self._refresh: dict[str, _Grant] = {}
        self._server = Server(self)
        self.origin = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def issuer(self) -> str:
        return self.origin

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    # What a personality may do differently.

    metadata_paths: tuple[str, ...] = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")
    endpoints: str = ""
    """The path before `/authorize`, `/token`, `/devicecode`, `/keys` and `/revoke`."""

    def metadata(self) -> dict[str, Any]:
        base = self.origin + self.endpoints
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{base}/authorize",
            "token_endpoint": f"{base}/token",
            "device_authorization_endpoint": f"{base}/devicecode",
            "jwks_uri": f"{base}/keys",
            "revocation_endpoint": f"{base}/revoke",
            "code_challenge_methods_supported": ["S256"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "authorization_response_iss_parameter_supported": True,
            "response_types_supported": ["code"],
        }

    def check_redirect(self, uri: str) -> bool:
        """RFC 8252 section 7.3."""
        return urlsplit(uri).scheme == "http" and urlsplit(uri).hostname in ("127.0.0.1", "::1", "localhost")

    def check_request(self, form: Form) -> None:
        """Refuses what the provider does not understand, at every endpoint. Raises `Refused`."""

    def check_user(self, user: str) -> None:
        """Raises `Refused` for a person who may not have tokens any more."""
        if user in self.disabled:
            raise Refused("invalid_grant", "the account is disabled")

    def id_claims(self, user: str) -> dict[str, Any]:
        return {"sub": user, "email": f"{user}@example.com", "email_verified": True}

    def access_claims(self, user: str, form: Form) -> dict[str, Any]:
        return {"sub": user, "client_id": self.client_id, "aud": form.get("resource", "default-audience")}

    def lifetime(self, form: Form) -> int:
        """Of an access token, in seconds."""
        return self.access_ttl

    def access_token(self, user: str, form: Form) -> str:
        """A JWT, unless the provider's are none. `form` is the sign-in's request, with the token request over it."""
        return self._sign(self.access_claims(user, form), self.forge_access_token)

    def keeps(self, scopes: tuple[str, ...], form: Form) -> bool:
        """Does the answer bring a refresh token?"""
        return "offline_access" in scopes

    def identifies(self, scopes: tuple[str, ...], form: Form) -> bool:
        """Does the answer bring an ID token?"""
        return "openid" in scopes

    def besides(self, scopes: tuple[str, ...], form: Form) -> dict[str, Any]:
        """Members of a token answer that no standard has."""
        return {}

    def next_refresh_token(self, spent: str | None) -> str:
        if spent is not None:
            self._refresh.pop(spent, None)
        return self._secret()

    # The endpoints.

    def answer(self, method: str, path: str, form: Form) -> tuple[int, dict[str, Any] | str]:
        """Status and JSON document, or the address to redirect to."""
        if path in self.metadata_paths:
            return 200, self.metadata()
        name = path.removeprefix(self.endpoints)
        if name == "/keys":
            return 200, {"keys": [self._public_key()]}
        if name not in ("/authorize", "/token", "/devicecode", "/revoke"):
            return 404, {}
        self.requests.append((name, form))
        if name == "/authorize":
            return self._authorize(form)
        try:
            if method != "POST" or form.get("client_id") != self.client_id:
                raise Refused("invalid_client", status=401)
            self.check_request(form)
            return 200, {"/token": self._token, "/devicecode": self._device, "/revoke": self._revoke}[name](form)
        except Refused as refused:
            return refused.status, refused.document

    def _authorize(self, form: Form) -> tuple[int, dict[str, Any] | str]:
        redirect = form.get("redirect_uri", "")
        if form.get("client_id") != self.client_id or not self.check_redirect(redirect):
            return 400, {"error": "invalid_request", "error_description": "the redirect is not registered"}
        answer = [("state", form.get("state", ""))]
        try:
            self.check_request(form)
            if form.get("code_challenge_method") != "S256" or not form.get("code_challenge"):
                raise Refused("invalid_request", "PKCE is required")
            self.check_user(self.user)
            code = self._secret()
            self._codes[code] = _Grant(self.user, tuple(form.get("scope", "").split()), form)
            answer.append(("code", code))
        except Refused as refused:
            answer += refused.document.items()
        promised = self.metadata().get("authorization_response_iss_parameter_supported")
        match self.forge_redirect:
            case None if promised:
                answer.append(("iss", self.issuer))
            case "wrong_iss":
                answer.append(("iss", "https://evil.example"))
            case "iss_twice":
                answer += [("iss", self.issuer), ("iss", "https://evil.example")]
            case "wrong_state":
                answer = [("state", "another-sign-in"), *answer[1:], ("iss", self.issuer)]
            case "wrong_iss_error":
                evil = {"error": "access_denied", "error_description": "call 555", "iss": "https://evil.example"}
                answer = [answer[0], *evil.items()]
            case _:
                pass
        return 302, f"{redirect}{'&' if '?' in redirect else '?'}{urlencode(answer)}"

    def _token(self, form: Form) -> dict[str, Any]:
        spent: str | None = None
        nonce: str | None = None
        match form.get("grant_type"):
            case "authorization_code":
                grant = self._codes.pop(form.get("code", ""), None)
                digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
                challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
                if grant is None or grant.request.get("code_challenge") != challenge:
                    raise Refused("invalid_grant", "the code or its verifier is wrong")
                if grant.request.get("redirect_uri") != form.get("redirect_uri"):
                    raise Refused("invalid_grant", "the redirect differs")
                nonce = grant.request.get("nonce")
            case "refresh_token":
                spent = form.get("refresh_token", "")
                grant = self._refresh.get(spent)
            case device if device == DEVICE_GRANT:
                grant = self._codes.pop(form.get("device_code", ""), None)
            case _:
                raise Refused("unsupported_grant_type")
        if grant is None:
            raise Refused("invalid_grant", "unknown or spent")
        self.check_user(grant.user)
        return self._tokens(grant, form, spent, nonce)

    def _tokens(self, grant: _Grant, form: Form, spent: str | None, nonce: str | None) -> dict[str, Any]:
        asked = tuple(form.get("scope", "").split()) or grant.scopes
        granted = self.grants(grant.scopes if spent is None else asked)
        if spent is not None and "scope" in form and granted is not None and not set(asked) <= set(granted):
            raise Refused("invalid_scope", "more than was granted")  # RFC 6749 section 6
        access = self.access_token(self.token_user or grant.user, {**grant.request, **form})
        answer: dict[str, Any] = {
            "token_type": "Bearer",
            "access_token": access,
            "expires_in": self.lifetime({**grant.request, **form}),
        }
        answer |= self.besides(asked, {**grant.request, **form})
        if granted is not None:
            answer["scope"] = " ".join(granted)
        if self.keeps(asked, {**grant.request, **form}):
            answer["refresh_token"] = self.next_refresh_token(spent)
            self._refresh[answer["refresh_token"]] = grant
        if self.identifies(asked, {**grant.request, **form}):
            claims = {**self.id_claims(grant.user), "aud": self.client_id}
            claims |= {"nonce": nonce} if nonce else {}
            answer["id_token"] = self._sign(claims, self.forge_id_token)
        return answer

    def _device(self, form: Form) -> dict[str, Any]:
        code = self._secret()
        self._codes[code] = _Grant(self.user, tuple(form.get("scope", "").split()), form)
        return {
            "device_code": code,
            "user_code": "ABCD-EFGH",
            "verification_uri": f"{self.origin}/device",
            "expires_in": 900,
            "interval": 0,
        }

    def _revoke(self, form: Form) -> dict[str, Any]:
        grant = self._refresh.pop(form.get("token", ""), None)
        if grant is not None and self.ends_everything:
            self._refresh = {token: its for token, its in self._refresh.items() if its.user != grant.user}
        return {}

    def _sign(self, claims: dict[str, Any], lie: TokenLie | None) -> str:
        now = int(time.time()) + self.clock_offset
        claims = {"iss": self.issuer, "iat": now, "exp": now + self.access_ttl, "jti": secrets.token_hex(8), **claims}
        kid, algorithm = self.signs_with or self.key, "RS256"
        key = _key(kid)
        match lie:
            case "wrong_iss":
                claims["iss"] = "https://evil.example"
            case "wrong_aud":
                claims["aud"] = "somebody-else"
            case "bad_nonce":
                claims["nonce"] = "of-another-sign-in"
            case "other_account":
                claims |= {"sub": "mallory", "oid": "mallory"}
            case "expired":
                claims |= {"iat": now - 7200, "exp": now - 3600}
            case "bound_elsewhere":
                claims["cnf"] = {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}
            case "foreign_kid":
                kid, key = "foreign", _key("foreign")
            case "foreign_key":
                key = _key("foreign")
            case "alg_none":
                algorithm = "none"
            case "alg_hs256":
                algorithm = "HS256"
            case None:
                pass
        material: Any = key
        if algorithm == "none":
            material = None
        elif algorithm == "HS256":  # the classic: the public key, which everybody has, as the secret
            material = hashlib.sha256(json.dumps(self._public_key()).encode()).digest()
        token = jwt.encode(claims, material, algorithm=algorithm, headers={"kid": kid})
        self.issued.append(token)
        return token

    def _public_key(self) -> dict[str, Any]:
        jwk: dict[str, Any] = json.loads(RSAAlgorithm.to_jwk(_key(self.key).public_key()))
        return {**jwk, "kid": self.key, "use": "sig"}

    def _secret(self) -> str:
        value = secrets.token_urlsafe(24)
        self.issued.append(value)
        return value


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, idp: ScriptedIdp) -> None:
        self.idp = idp
        super().__init__(("127.0.0.1", 0), ServerHandler)


class ServerHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    disable_nagle_algorithm = True  # 40 ms an answer otherwise, headers and body being two writes
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]  # the only server that uses it

    def do_GET(self) -> None:
        self._answer(urlsplit(self.path).query)

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode())

    def _answer(self, text: str) -> None:
        repeated = [name for name, values in parse_qs(text).items() if len(values) > 1 and name != "resource"]
        form = dict(parse_qsl(text, keep_blank_values=True))
        path = urlsplit(self.path).path
        kind, _, pair = self.headers.get("Authorization", "").partition(" ")
        if kind == "Basic":  # RFC 6749 section 2.3.1
            name, _, secret = base64.b64decode(pair).decode().partition(":")
            form["in_the_form"] = form.get("client_id", "")
            form |= {"client_id": unquote_plus(name), "client_secret": unquote_plus(secret)}
        if kind == "Bearer":
            form["access_token"] = pair
        status, result = (400, {}) if repeated else self.server.idp.answer(self.command, path, form)
        if form.get("grant_type") == "refresh_token" and self.server.idp.lost_renewals:
            self.server.idp.lost_renewals -= 1
            self.close_connection = True
            return
        body = b"" if isinstance(result, str) else json.dumps(result).encode()
        self.send_response(status)
        if isinstance(result, str):
            self.send_header("Location", result)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a request line may hold a code."""
