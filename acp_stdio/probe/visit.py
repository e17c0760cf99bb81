"""One visit to an MCP server with one token, or none: shake hands, ask for one thing, leave.

The token is put on the request where it is for every call (`upstream.attach`), over the same connection code.
"""

import asyncio
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self, cast

from acp_stdio import __version__
from acp_stdio.audit.chain import NOTHING, Head
from acp_stdio.errors import Failure
from acp_stdio.identity.model import AccessToken
from acp_stdio.oauth.words import plain
from acp_stdio.probe.scrub import without
from acp_stdio.relay.answers import wants_another_proof
from acp_stdio.settings.model import NetworkSettings, UpstreamSettings
from acp_stdio.settings.origin import origin_of, target_of
from acp_stdio.upstream.attach import AuthorizedConnector
from acp_stdio.upstream.http import Exchange
from acp_stdio.upstream.network import connect
from acp_stdio.upstream.possession import ProvingConnector
from acp_stdio.upstream.statements import Statements
from acp_stdio.upstream.streamable_http import Answer
from acp_stdio.wire import errors, frames
from acp_stdio.wire.ending import Ending
from acp_stdio.wire.headers import header_annotations, header_block, param_headers, request_headers

PATIENCE: Final = 30.0
"""Seconds for one answer."""
MAX_PAGES: Final = 20
Era = Literal["2025-11-25", "2026-07-28"]
LEGACY: Final[Era] = "2025-11-25"
MODERN: Final[Era] = "2026-07-28"
_CLIENT: Final = {"name": "acp-stdio-check", "version": __version__}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for on each visit: the list of tools, or one call."""

    tool: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def words(self) -> str:
        return f"the tool {self.tool}" if self.tool else "tools/list"


@dataclass(frozen=True, slots=True)
class Seen:
    """How a visit ended."""

    status: int | None
    """Of the last HTTP answer; None: the connection broke, and `said` says how."""
    let_in: bool
    """The question was answered, and not with a JSON-RPC error."""
    said: str
    challenge: str = ""
    """`WWW-Authenticate`."""
    tools: tuple[str, ...] = ()
    request_id: str = ""
    """Of the question, or of the handshake where it came no further."""
    session: str = ""


class Visitor:
    """Visits one upstream again and again. `era` is found out with the first visit."""

    def __init__(self, upstream: UpstreamSettings, network: NetworkSettings, question: Question) -> None:
        origin, self._target = str(origin_of(upstream.url)), target_of(upstream.url)
        self._bare = ProvingConnector(connect(origin, network), origin)
        self._authorized = AuthorizedConnector(self._bare, origin, upstream.name, self._bare)
        self._question = question
        self._annotations: dict[tuple[str, ...], str] = {}
        self.era: Era | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._bare.aclose()

    async def visit(self, token: AccessToken | None, *, request_id: str = "", session: str = "") -> Seen:
        """Asks the question as whoever `token` is. `session`: in an existing session instead of one of its own.

        `request_id`: the question's `X-Request-Id`; default: a new one.
        """
        asker = _Asker(self._authorized, self._bare, self._target, token)
        request_id = request_id or str(uuid.uuid4())
        if self.era is None:
            self.era = await self._find_era(asker)
        if self.era == MODERN:
            return await self._ask(asker, request_id)
        if session:
            asker.session = session
            return await self._ask(asker, request_id)
        greeting = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": _CLIENT}
        heard = await asker.post("initialize", greeting, {})
        if heard.refusal is not None:
            return heard.seen(())
        version = heard.result.get("protocolVersion")
        asker.version = version if isinstance(version, str) else LEGACY
        await asker.post("notifications/initialized", None, {}, notification=True)
        return await self._ask(asker, request_id)

    async def leave(self, token: AccessToken | None, session: str) -> None:
        """Ends a session, as a host would."""
        if session:
            asker = _Asker(self._authorized, self._bare, self._target, token)
            asker.session = session
            await asker.send("DELETE", b"", {})

    async def _find_era(self, asker: "_Asker") -> Era:
        """MCP 2026-07-28, streamable-http: a server of the legacy era answers a modern request with 4xx."""
        heard = await asker.post(
            "server/discover", {"_meta": _META}, dict(request_headers("server/discover", MODERN, {}))
        )
        if heard.ending.status in (401, 403):  # it looks at the token first; what comes next tells
            return LEGACY
        legacy = errors.means_legacy(heard.ending.status, heard.ending.body)
        return LEGACY if legacy or heard.error.get("code") == frames.METHOD_NOT_FOUND else MODERN

    async def _ask(self, asker: "_Asker", request_id: str) -> Seen:
        if self._question.tool:
            return await self._call(asker, request_id)
        return await self._list(asker, request_id)

    async def _list(self, asker: "_Asker", request_id: str) -> Seen:
        names: list[str] = []
        cursor: Any = None
        heard = None
        for _ in range(MAX_PAGES):
            heard = await asker.post(
                "tools/list",
                self._params({"cursor": cursor} if cursor else {}),
                self._headers("tools/list", {}),
                request_id,
            )
            if heard.refusal is not None:
                break
            found: Any = heard.result.get("tools")
            for tool in cast("list[Any]", found if isinstance(found, list) else []):
                if isinstance(tool, dict):
                    self._learn(cast("dict[str, Any]", tool), names)
            cursor = heard.result.get("nextCursor")
            if not cursor:
                break
        assert heard is not None
        return heard.seen(tuple(names))

    def _learn(self, tool: dict[str, Any], names: list[str]) -> None:
        names.append(str(tool.get("name", "")))

    async def _call(self, asker: "_Asker", request_id: str) -> Seen:
        params = {"name": self._question.tool, "arguments": dict(self._question.arguments)}
        if self.era == MODERN and not self._annotations:
            self._annotations = await self._annotated(asker)
        headers = self._headers("tools/call", params)
        headers |= dict(param_headers(self._annotations, self._question.arguments))
        heard = await asker.post("tools/call", self._params(params), headers, request_id)
        return heard.seen(())

    async def _annotated(self, asker: "_Asker") -> dict[tuple[str, ...], str]:
        """The tool's arguments that travel as headers too (x-mcp-header)."""
        heard = await asker.post("tools/list", self._params({}), self._headers("tools/list", {}))
        tools: Any = heard.result.get("tools")
        for tool in cast("list[Any]", tools if isinstance(tools, list) else []):
            if isinstance(tool, dict) and cast("dict[str, Any]", tool).get("name") == self._question.tool:
                return header_annotations(cast("dict[str, Any]", tool).get("inputSchema", {}))
        return {}

    def _params(self, params: dict[str, Any]) -> dict[str, Any]:
        return {**params, "_meta": _META} if self.era == MODERN else params

    def _headers(self, method: str, params: Mapping[str, Any]) -> dict[str, str]:
        return dict(request_headers(method, MODERN, params)) if self.era == MODERN else {}


_META: Final = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": _CLIENT,
}


class _Heard:
    """Collects one answer (`upstream.streamable_http.Sink`)."""

    def __init__(self, expected: int | None, request_id: str, token: AccessToken | None) -> None:
        self.request_id = request_id
        self._sent = [token.value] if token else []
        self.session = ""
        self.ending = Ending(None, why="no answer in time")
        self.exchange: Exchange | None = None
        self.done = asyncio.Event()
        self._expected = expected
        self._frame: dict[str, Any] = {}

    def opened(self, session_id: str | None) -> None:
        self.session = session_id or ""

    def received(self, raw: bytes) -> None:
        try:
            frame: object = json.loads(raw)
        except (ValueError, RecursionError):
            return
        if isinstance(frame, dict) and cast("dict[str, Any]", frame).get("id") == self._expected:
            self._frame = cast("dict[str, Any]", frame)
            if self.exchange is not None and self._expected is not None:
                self.exchange.abort()  # a stream may stay open after the answer
                self.ending = Ending(200)
                self.done.set()

    def ended(self, ending: Ending) -> None:
        self.ending = ending
        if ending.status is not None and ending.status >= 300:
            self.received(ending.body)
        self.done.set()

    @property
    def result(self) -> dict[str, Any]:
        return self._member("result")

    @property
    def error(self) -> dict[str, Any]:
        return self._member("error")

    def _member(self, name: str) -> dict[str, Any]:
        found: object = self._frame.get(name)
        return cast("dict[str, Any]", found) if isinstance(found, dict) else {}

    @property
    def refusal(self) -> str | None:
        """Why there is no result, in words; None where there is one."""
        if self.ending.status is None:
            return self.ending.why
        if self.ending.status >= 300:
            return f"HTTP {self.ending.status}"
        if self.error:
            message = without(str(self.error.get("message", "")), self._sent)  # before it is shortened
            return f"error {self.error.get('code')}: {plain(message)}"
        return None if self.result else "no answer"

    def seen(self, tools: tuple[str, ...]) -> Seen:
        refusal = self.refusal
        said = refusal or ("answered with isError" if self.result.get("isError") else "answered")
        return Seen(
            self.ending.status, refusal is None, said, self.ending.challenge, tools, self.request_id, self.session
        )


class _Asker:
    """Sends requests as one person, or as nobody."""

    def __init__(self, authorized: AuthorizedConnector, bare: Any, target: str, token: AccessToken | None) -> None:
        self._authorized, self._bare, self._target, self._token = authorized, bare, target, token
        self.session = ""
        self.version = LEGACY
        self._id = 0

    async def post(
        self,
        method: str,
        params: dict[str, Any] | None,
        headers: dict[str, str],
        request_id: str = "",
        *,
        notification: bool = False,
    ) -> _Heard:
        self._id += 1
        frame: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        frame |= {} if notification else {"id": self._id}
        frame |= {} if params is None else {"params": params}
        more = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
        if self.session or (method != "initialize" and "MCP-Protocol-Version" not in headers):
            more["MCP-Protocol-Version"] = self.version
        heard = await self.send(
            "POST", json.dumps(frame).encode(), more | headers, None if notification else self._id, request_id
        )
        self.session = self.session or heard.session
        heard.session = self.session
        return heard

    def _statement(self, token: AccessToken, body: bytes, request_id: str) -> tuple[str, str]:
        """For a server that wants one with each request."""
        agent = {**_CLIENT, "evidence": "self_reported"}
        user = {"iss": token.claims.get("iss", ""), "sub": token.claims.get("sub", "")}
        said = Statements()
        return said.header(token, user=user, act=agent, body=body, request_id=request_id, head=Head("", 0, NOTHING))

    async def send(
        self,
        verb: str,
        body: bytes,
        headers: dict[str, str],
        expected: int | None = None,
        request_id: str = "",
        *,
        proves_again: bool = True,
    ) -> _Heard:
        heard = _Heard(expected, request_id or str(uuid.uuid4()), self._token)
        head = {
            **headers,
            "User-Agent": f"acp-stdio/{__version__} (acp-stdio-check/{__version__})",
            "X-Request-Id": heard.request_id,
            **({"Mcp-Session-Id": self.session} if self.session else {}),
        }
        if self._token is not None and self._token.signing_key is not None:
            head |= [self._statement(self._token, body, heard.request_id)]
        block = header_block(head.items())
        answer = Answer(heard)
        if self._token is None:
            exchange = self._bare.request(verb, self._target, block, body, answer, head_timeout=None)
        else:
            exchange = self._authorized.request(self._token, verb, self._target, block, body, answer)
        heard.exchange = answer.exchange = exchange
        try:
            await asyncio.wait_for(heard.done.wait(), PATIENCE)
        except TimeoutError:
            exchange.abort()
        if heard.ending.status is None and not heard.ending.sent:
            raise Failure(
                "upstream_unreachable", f"The server cannot be reached: {heard.ending.why}.", "Check the network."
            )
        if proves_again and wants_another_proof(heard.ending):
            return await self.send(verb, body, headers, expected, request_id, proves_again=False)
        return heard
