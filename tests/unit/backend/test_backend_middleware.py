"""Nobody gets through `BearerAuth` without a good token; whoever does is in the request and in the log."""

import json
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from acp_stdio.backend import BearerAuth, caller_of
from acp_stdio.backend.middleware import App, Message, Scope
from tests.unit.backend.issuers import AUDIENCE, ISSUER, Issuer

CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "salary", "arguments": {"person": "ceo"}}}
AGENT = {"user-agent": "acp-stdio/0.1.0 (claude-ai/0.1.0)", "x-request-id": "r-7"}
METADATA = "https://finance.example.com/.well-known/oauth-protected-resource/mcp"


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""

    @property
    def document(self) -> Any:
        return json.loads(self.body)


def ask(
    app: App,
    *,
    token: str = "",
    body: Any = None,
    pieces: list[bytes] | None = None,
    path: str = "/mcp",
    method: str = "POST",
    headers: list[tuple[str, str]] | None = None,
) -> Answer:
    """One request, as a server would hand it over."""
    parts = pieces if pieces is not None else [json.dumps(CALL if body is None else body).encode()]
    given = [*AGENT.items(), *(headers or [])] + ([("authorization", f"Bearer {token}")] if token else [])
    scope: Scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "https",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in given],
    }  # fmt: skip
    incoming = [
        {"type": "http.request", "body": part, "more_body": number + 1 < len(parts)}
        for number, part in enumerate(parts)
    ]
    answer = Answer()

    async def receive() -> Message:
        return incoming.pop(0) if incoming else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
        else:
            answer.body += message.get("body", b"")

    async def whole() -> None:
        with anyio.fail_after(30):
            await app(scope, receive, send)

    anyio.run(whole)
    return answer


async def echo(request: Request) -> Response:
    """Says who asks and what the body was."""
    caller = caller_of(request)
    body = await request.body()
    told = {"user": caller.user, "tool": caller.tool, "agent": caller.agent, "body": body.decode()}
    return JSONResponse(told)


@dataclass
class Stage:
    issuer: Issuer = field(default_factory=Issuer)
    lines: list[str] = field(default_factory=list[str])

    def app(self, endpoint: Any = echo, **options: Any) -> BearerAuth:
        verifier = self.issuer.verifier(**{"scopes": ["finance.read"]} | options.pop("verifier", {}))
        inner = Starlette(routes=[Route("/{rest:path}", endpoint, methods=["GET", "POST", "DELETE"])])
        return BearerAuth(inner, verifier, log=self.lines.append, **options)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_the_application_learns_who_asks_and_gets_the_body_whole(stage: Stage) -> None:
    raw = json.dumps(CALL).encode()
    answer = ask(stage.app(), token=stage.issuer.token(), pieces=[raw[:10], b"", raw[10:]])
    assert answer.status == 200
    assert answer.document == {
        "user": "u-1001", "tool": "salary", "agent": "claude-ai/0.1.0", "body": raw.decode(),
    }  # fmt: skip
    assert stage.lines == [
        "user=sarah@acme.example sub=u-1001 agent=claude-ai/0.1.0 tool=salary request=r-7 outcome=ok"
    ]


def test_without_a_token_the_challenge_says_where_to_get_one_and_names_no_error(stage: Stage) -> None:
    answer = ask(stage.app())
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == f'Bearer resource_metadata="{METADATA}", scope="finance.read"'
    assert stage.lines == ["user=- sub=- agent=claude-ai/0.1.0 tool=- request=r-7 outcome=denied"]


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS", "PUT"])
@pytest.mark.parametrize("path", ["/mcp", "/", "/mcp/../x", "/.well-known/oauth-protected-resource"])
def test_no_method_and_no_path_gets_by_without_a_token(stage: Stage, method: str, path: str) -> None:
    assert ask(stage.app(), method=method, path=path).status == 401


@pytest.mark.parametrize("claims", [{"aud": "https://hr.example.com/mcp"}, {"exp": 1}, {"iss": "https://evil.example"}])
def test_a_bad_token_is_refused_and_the_caller_is_not_told_why(stage: Stage, claims: dict[str, Any]) -> None:
    answer = ask(stage.app(), token=stage.issuer.token(**claims))
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith('Bearer error="invalid_token", resource_metadata=')
    assert answer.document == {"error": "invalid_token"}


def test_a_missing_scope_is_403_and_names_the_scope(stage: Stage) -> None:
    answer = ask(stage.app(), token=stage.issuer.token(scope="other"))
    assert answer.status == 403
    assert answer.headers["www-authenticate"] == (
        f'Bearer error="insufficient_scope", resource_metadata="{METADATA}", scope="finance.read"'
    )


def test_an_issuer_that_does_not_answer_is_nobodys_fault(stage: Stage) -> None:
    stage.issuer.down = True
    answer = ask(stage.app(), token=stage.issuer.token())
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")


def test_the_metadata_is_there_for_everybody(stage: Stage) -> None:
    answer = ask(stage.app(), method="GET", path="/.well-known/oauth-protected-resource/mcp")
    assert answer.status == 200
    assert answer.document == {
        "resource": AUDIENCE,
        "authorization_servers": [ISSUER],
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": ["ES256"],
        "scopes_supported": ["finance.read"],
    }
    assert not stage.lines


@pytest.mark.parametrize(
    "raw",
    [
        b'{"method":"tools/call","id":1,"params":{"name":"report","name":"salary"}}',
        b'{"method":"tools/call","id":1,"params":{"name":"a"},"params":{"name":"b"}}',
        b'[{"method":"tools/call","id":1,"params":{"name":"a"}}]',
        b'{"method":7,"id":1}',
        b'{"a":NaN}',
        b"[" * 100_000,
        b"\xff",
        b"",
    ],
)
def test_a_body_that_two_readers_could_read_differently_is_refused(stage: Stage, raw: bytes) -> None:
    answer = ask(stage.app(), token=stage.issuer.token(), pieces=[raw])
    assert answer.status == 400
    assert stage.lines[0].startswith("user=sarah@acme.example ")
    assert stage.lines[0].endswith(" outcome=denied")


def test_the_tool_is_the_bodys_whatever_a_header_says(stage: Stage) -> None:
    ask(stage.app(), token=stage.issuer.token(), headers=[("mcp-name", "report")])
    assert " tool=salary " in stage.lines[0]


@pytest.mark.parametrize("twice", ["authorization", "x-request-id"])
def test_a_header_that_counts_may_be_there_once(stage: Stage, twice: str) -> None:
    more = [("authorization", f"Bearer {stage.issuer.token()}"), (twice, "Bearer x")]
    assert ask(stage.app(), headers=more).status == 400


@pytest.mark.parametrize("scheme", ["Basic abc", "bearer", "Bearer ", "Bearer\t", ""])
def test_other_credentials_are_no_token(stage: Stage, scheme: str) -> None:
    assert ask(stage.app(), headers=[("authorization", scheme)]).status == 401


def test_a_body_without_end_is_refused(stage: Stage) -> None:
    assert ask(stage.app(max_body=1000), token=stage.issuer.token(), pieces=[b" " * 600] * 3).status == 413


def test_a_client_that_goes_away_while_sending_reaches_nobody(stage: Stage) -> None:
    ask(stage.app(), token=stage.issuer.token(), pieces=[])
    assert not stage.lines


@pytest.mark.parametrize(
    ("told", "outcome"),
    [
        ({"result": {"content": [], "isError": False}}, "ok"),
        ({"result": {"content": [], "isError": True}}, "tool_error"),
        ({"result": {"content": [{"type": "text", "text": '"isError":true'}]}}, "ok"),
        ({"error": {"code": -32602, "message": "no such tool"}}, "error"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_the_line_says_how_it_ended(stage: Stage, told: dict[str, Any], outcome: str, stream: bool) -> None:
    raw = json.dumps({"jsonrpc": "2.0", "id": 1} | told)

    async def tool(request: Request) -> Response:
        if stream:
            events = ': hello\n\nevent: message\ndata: {"method":"notifications/progress"}\n\n' + f"data: {raw}\n\n"
            return PlainTextResponse(events, media_type="text/event-stream")
        return Response(raw, media_type="application/json")

    assert ask(stage.app(tool), token=stage.issuer.token()).status == 200
    assert stage.lines[0].endswith(f" outcome={outcome}")


@pytest.mark.parametrize(("status", "outcome"), [(403, "denied"), (404, "error"), (500, "error")])
def test_a_refusal_of_the_application_is_its_outcome(stage: Stage, status: int, outcome: str) -> None:
    async def tool(request: Request) -> Response:
        return PlainTextResponse("no", status_code=status)

    ask(stage.app(tool), token=stage.issuer.token())
    assert stage.lines[0].endswith(f" outcome={outcome}")


def test_an_application_that_fails_leaves_its_line(stage: Stage) -> None:
    async def tool(scope: Scope, receive: Any, send: Any) -> None:
        raise RuntimeError("broken")

    guarded = BearerAuth(tool, stage.issuer.verifier(), log=stage.lines.append)
    with pytest.raises(RuntimeError):
        ask(guarded, token=stage.issuer.token())
    assert stage.lines[0].endswith(" outcome=error")


def test_a_notification_leaves_no_line_and_a_stream_none(stage: Stage) -> None:
    token = stage.issuer.token()
    ask(stage.app(), token=token, body={"jsonrpc": "2.0", "method": "notifications/initialized"})
    ask(stage.app(), token=token, method="GET")
    assert not stage.lines


def test_a_request_that_came_another_way_has_no_caller() -> None:
    with pytest.raises(LookupError):
        caller_of({"type": "http"})
    with pytest.raises(LookupError):
        caller_of(None)


def test_an_audience_that_is_no_address_needs_one(stage: Stage) -> None:
    with pytest.raises(ValueError, match="resource"):
        stage.app(verifier={"audience": "api://finance"})
    assert ask(stage.app(verifier={"audience": "api://finance"}, resource=AUDIENCE)).status == 401


def test_web_sockets_are_closed() -> None:
    sent: list[Message] = []

    async def nothing() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {"type": "websocket", "path": "/mcp", "headers": []}
    anyio.run(Stage().app(), scope, nothing, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]
