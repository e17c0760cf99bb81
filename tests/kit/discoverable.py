"""An MCP server and the authorization server it names, by script: everything that can be discovered.

One origin, real HTTP. `/mcp` refuses everybody with a 401; the metadata lies where the test says;
clients register (RFC 7591), bring a metadata document, or are known, and must prove themselves in
exactly the way that was agreed.
"""

import base64
import json
import secrets
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote_plus, urlsplit

from tests.kit.scripted_idp import Form, Refused, ScriptedIdp, Server, ServerHandler

Method = Literal["none", "client_secret_basic", "client_secret_post"]
Place = Literal["header", "path", "root", "nowhere"]
RESOURCE_METADATA = "/.well-known/oauth-protected-resource"


@dataclass
class KnownClient:
    """A client of this server."""

    method: Method = "none"
    secret: str = ""
    redirect_uris: tuple[str, ...] = ()
    """None: any loopback address."""


@dataclass
class Discoverable(ScriptedIdp):
    """Both servers on one origin. A context manager."""

    client_id: str = ""
    place: Place = "header"
    """Where the protected resource metadata lies: at the address of the challenge, below the path, at the root."""
    challenge_scope: str | None = None
    resource_scopes: tuple[str, ...] | None = None
    scopes_supported: tuple[str, ...] | None = ("openid", "offline_access")
    auth_methods: tuple[str, ...] | None = ("none",)
    registers_as: Method = "none"
    registration: bool = True
    documents: bool = False
    id_tokens: bool = True
    pkce: bool = True
    says_iss: bool = True
    """RFC 9207: the redirect says who answers."""
    authorization_servers: list[str] | None = None
    """What the resource names; None: this very server."""
    clients: dict[str, KnownClient] = field(default_factory=dict[str, KnownClient])
    registered: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Every registration request, oldest first."""
    broken: dict[str, int] = field(default_factory=dict[str, int])
    """Paths, and the statuses that they answer with whatever is there."""
    more: list[str] = field(default_factory=list[str])
    """Paths of further MCP servers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._server.RequestHandlerClass = _Handler

    @property
    def url(self) -> str:
        """The MCP server's address."""
        return f"{self.origin}/mcp"

    def forget_clients(self) -> None:
        """As a server that lost its database: nobody is known any more."""
        self.clients.clear()

    def metadata(self) -> dict[str, Any]:
        document = super().metadata() | {
            "registration_endpoint": f"{self.origin}/register" if self.registration else None,
            "scopes_supported": self.scopes_supported,
            "token_endpoint_auth_methods_supported": self.auth_methods,
            "client_id_metadata_document_supported": self.documents or None,
        }
        missing = [] if self.id_tokens else ["jwks_uri", "id_token_signing_alg_values_supported"]
        missing += [] if self.pkce else ["code_challenge_methods_supported"]
        missing += [] if self.says_iss else ["authorization_response_iss_parameter_supported"]
        return {name: value for name, value in document.items() if value is not None and name not in missing}

    def resource_metadata(self, path: str) -> dict[str, Any] | None:
        there = {
            "header": "/somewhere/else",
            "path": f"{RESOURCE_METADATA}/mcp",
            "root": RESOURCE_METADATA,
            "nowhere": "",
        }[self.place]
        also = path.removeprefix(RESOURCE_METADATA)
        if path != there and also not in self.more:
            return None
        document = {
            "resource": f"{self.origin}{also}" if also in self.more else self.url,
            "authorization_servers": self.authorization_servers or [self.issuer],
            "scopes_supported": self.resource_scopes,
        }
        return {name: value for name, value in document.items() if value is not None}

    def also_at(self, path: str) -> str:
        """One more MCP server, which publishes its metadata below its path."""
        self.more.append(path)
        return f"{self.origin}{path}"

    def challenge(self) -> str:
        parts = ['error="invalid_token"']
        if self.place == "header":
            parts.append(f'resource_metadata="{self.origin}/somewhere/else"')
        if self.challenge_scope is not None:
            parts.append(f'scope="{self.challenge_scope}"')
        return f"Bearer {', '.join(parts)}"

    def register(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """RFC 7591 section 3.2.1."""
        self.registered.append(asked)
        if asked.get("application_type") != "native":  # OpenID Connect: a web client's redirects are https
            return 400, {"error": "invalid_redirect_uri", "error_description": "http is for native clients"}
        client_id = f"client-{secrets.token_hex(4)}"
        client = KnownClient(self.registers_as, "", tuple(asked.get("redirect_uris", ())))
        answer = {**asked, "client_id": client_id, "token_endpoint_auth_method": self.registers_as}
        if self.registers_as != "none":
            client.secret = self._secret() + "/+% :"
            self.issued.append(client.secret)
            answer |= {"client_secret": client.secret, "client_secret_expires_at": 0}
        self.clients[client_id] = client
        return 201, answer

    def check_redirect(self, uri: str) -> bool:
        """To the byte for those who registered theirs."""
        known = self.clients.get(self.client_id)
        return super().check_redirect(uri) and (known is None or not known.redirect_uris or uri in known.redirect_uris)

    def identify(self, path: str, form: Form, basic: str) -> Form:
        """Makes whoever asks the client of this request. Raises `Refused`."""
        if path == "/authorize":
            client_id = form.get("client_id", "")
            if not self._is_known(client_id):
                raise Refused("invalid_request", "unknown client")
            self.client_id = client_id
            return form
        method: Method = "client_secret_post" if "client_secret" in form else "none"
        client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
        if basic:
            name, _, word = base64.b64decode(basic).decode().partition(":")
            method, client_id, secret = "client_secret_basic", unquote_plus(name), unquote_plus(word)
        known = self.clients.get(client_id, KnownClient())
        if not self._is_known(client_id) or (method, secret) != (known.method, known.secret):
            raise Refused("invalid_client", "who?", 401)
        self.client_id = client_id
        return {**form, "client_id": client_id}

    def _is_known(self, client_id: str) -> bool:
        return client_id in self.clients or (self.documents and client_id.startswith("http"))

    def identifies(self, scopes: tuple[str, ...], form: Form) -> bool:
        return self.id_tokens and super().identifies(scopes, form)

    def keeps(self, scopes: tuple[str, ...], form: Form) -> bool:
        """A server that does not offer `offline_access` issues refresh tokens without it."""
        return "offline_access" not in (self.scopes_supported or ()) or super().keeps(scopes, form)

    def asked(self, path: str) -> list[Form]:
        """The requests to one endpoint, oldest first."""
        return [form for name, form in self.requests if name == path]


class _Handler(ServerHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]  # the only server that uses it

    def _answer(self, text: str) -> None:
        idp = self.server.idp
        assert isinstance(idp, Discoverable)
        path = urlsplit(self.path).path
        if path in idp.broken:
            return self._say(idp.broken[path], {})
        if path == "/mcp":
            return self._say(401, {}, [("WWW-Authenticate", idp.challenge())])
        if path in idp.more:
            return self._say(401, {}, [("WWW-Authenticate", "Bearer")])
        if (metadata := idp.resource_metadata(path)) is not None:
            return self._say(200, metadata)
        if path == "/register" and idp.registration:
            return self._say(*idp.register(json.loads(text)))
        form = dict(parse_qsl(text, keep_blank_values=True))
        basic = self.headers.get("Authorization", "").removeprefix("Basic ")
        if path in ("/authorize", "/token", "/revoke", "/devicecode"):
            try:
                form = idp.identify(path, form, basic)
            except Refused as refused:
                return self._say(refused.status, refused.document)
        status, result = idp.answer(self.command, path, form)
        if isinstance(result, str):
            return self._say(status, {}, [("Location", result)])
        return self._say(status, result)

    def _say(self, status: int, document: dict[str, Any], headers: list[tuple[str, str]] | None = None) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in headers or []:
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
