"""The MCP server of the conformance suite's server scenarios: `python -m tests.kit.everything_upstream`.

Both eras or one (`--only`), on the SDK's low-level server, for tokens of one issuer (`--issuer`). Prints {"url": …}
and ends when its stdin does. Tools ask as the modern era does; a legacy session is asked in its own way for them.
"""

import argparse
import contextlib
import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import mcp_types as types
import uvicorn
from mcp.server.auth.settings import AuthSettings
from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    PromptsListChanged,
    ToolsListChanged,
)
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from pydantic import BaseModel

from acp_stdio.backend import TokenVerifier
from acp_stdio.backend.mcp_sdk import SdkVerifier
from acp_stdio.demo.lifetime import announce, end_with_parent, loopback_socket
from tests.kit import everything_parts as parts
from tests.kit.everything_parts import Json, ask_for, sampling, text
from tests.kit.one_era import ERAS, OneEra

MODERN = "2026-07-28"
LOG_LEVEL = "io.modelcontextprotocol/logLevel"
PAUSE = 0.05
"""Seconds between two notifications of one call, as the suite wants it."""

Ctx = ServerRequestContext[Any, Any]
Tool = Callable[[Ctx, types.CallToolRequestParams], Awaitable[Json]]


class Everything:
    """Every handler; the subscriptions' events go through one bus."""

    def __init__(self) -> None:
        self._bus = InMemorySubscriptionBus()
        self._key = secrets.token_bytes(32)
        self._tools: dict[str, Tool] = {
            "test_error_handling": _error,
            "test_tool_with_logging": _logging,
            "test_tool_with_progress": _progress,
            "test_sampling": _sampling,
            "test_elicitation": _form("User response: action: {}, content: {}", _user_form),
            "test_elicitation_sep1034_defaults": _form(_COMPLETED, lambda _: parts.DEFAULTS),
            "test_elicitation_sep1330_enums": _form(_COMPLETED, lambda _: parts.ENUMS),
            "json_schema_2020_12_tool": _said("validated"),
            "test_custom_header": _said("header seen"),
            "test_missing_capability": _missing_capability,
            "test_streaming_elicitation": _streaming_elicitation,
            "test_logging_tool": _log_once,
            "test_trigger_tool_change": self._tools_changed,
            "test_trigger_prompt_change": self._prompts_changed,
            "test_input_required_result_elicitation": _asks_name,
            "test_input_required_result_sampling": _asks_model,
            "test_input_required_result_list_roots": _asks_roots,
            "test_input_required_result_request_state": self._keeps_state,
            "test_input_required_result_tampered_state": self._keeps_state,
            "test_input_required_result_multiple_inputs": self._asks_three,
            "test_input_required_result_multi_round": self._asks_twice,
            "test_input_required_result_capabilities": _asks_what_it_may,
        }

    def server(self) -> Server[Any]:
        hint = CacheHint(ttl_ms=0, scope="private")
        server: Server[Any] = Server(
            "everything-upstream",
            version="1.0",
            on_subscriptions_listen=ListenHandler(self._bus),
            cache_hints={
                "tools/list": hint,
                "prompts/list": hint,
                "resources/list": hint,
                "resources/templates/list": hint,
                "resources/read": hint,
                "server/discover": hint,
            },
        )
        handlers: list[tuple[str, type[BaseModel], Callable[[Ctx, Any], Awaitable[Json]]]] = [
            ("tools/list", types.PaginatedRequestParams, self._list_tools),
            ("tools/call", types.CallToolRequestParams, self._call),
            ("prompts/list", types.PaginatedRequestParams, _fixed({"prompts": parts.PROMPTS})),
            ("prompts/get", types.GetPromptRequestParams, _get_prompt),
            ("resources/list", types.PaginatedRequestParams, _fixed({"resources": parts.RESOURCES})),
            ("resources/templates/list", types.PaginatedRequestParams, _fixed({"resourceTemplates": parts.TEMPLATES})),
            ("resources/read", types.ReadResourceRequestParams, _read),
            ("resources/subscribe", types.SubscribeRequestParams, _fixed({})),
            ("resources/unsubscribe", types.UnsubscribeRequestParams, _fixed({})),
            ("logging/setLevel", types.SetLevelRequestParams, _fixed({})),
            ("completion/complete", types.CompleteRequestParams, _complete),
        ]
        for method, params, handler in handlers:
            server.add_request_handler(method, params, _in_its_era(handler))
        return server

    async def _list_tools(self, _ctx: Ctx, _params: Any) -> Json:
        return {"tools": parts.tools([*parts.FIXED, *self._tools])}

    async def _call(self, ctx: Ctx, params: types.CallToolRequestParams) -> Json:
        if params.name in parts.FIXED:
            return {"content": parts.FIXED[params.name]}
        if params.name not in self._tools:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name}")
        return await self._tools[params.name](ctx, params)

    async def _tools_changed(self, _ctx: Ctx, _params: types.CallToolRequestParams) -> Json:
        await self._bus.publish(ToolsListChanged())
        return _content("told")

    async def _prompts_changed(self, _ctx: Ctx, _params: types.CallToolRequestParams) -> Json:
        await self._bus.publish(PromptsListChanged())
        return _content("told")

    # -- state that comes back -----------------------------------------------------------------------

    def _sealed(self, state: str) -> str:
        return f"{state}.{hmac.new(self._key, state.encode(), hashlib.sha256).hexdigest()}"

    def _opened(self, params: types.CallToolRequestParams) -> str:
        """The state that came back, empty where none did. Raises `MCPError` for one that is not ours."""
        if params.request_state is None:
            return ""
        state = params.request_state.partition(".")[0]
        if not hmac.compare_digest(self._sealed(state), params.request_state):
            raise MCPError(types.INVALID_PARAMS, "this state was not made here")
        return state

    async def _keeps_state(self, _ctx: Ctx, params: types.CallToolRequestParams) -> Json:
        if self._opened(params) and "confirm" in _answers(params):
            return _content("state-ok")
        return _asks({"confirm": ask_for("Please confirm", "ok", "boolean")}, self._sealed("confirm"))

    async def _asks_three(self, _ctx: Ctx, params: types.CallToolRequestParams) -> Json:
        wanted = {
            "user_name": ask_for("What is your name?", "name"),
            "greeting": sampling("Generate a greeting", 50),
            "client_roots": parts.ROOTS,
        }
        if self._opened(params) and wanted.keys() <= _answers(params).keys():
            return _content("all three came")
        return _asks(wanted, self._sealed("three"))

    async def _asks_twice(self, _ctx: Ctx, params: types.CallToolRequestParams) -> Json:
        state, answers = self._opened(params), _answers(params)
        if state == "second" and "step2" in answers:
            return _content("both steps came")
        if state == "first" and "step1" in answers:
            second = ask_for("Step 2: What is your favorite color?", "color")
            return _asks({"step2": second}, self._sealed("second"))
        return _asks({"step1": ask_for("Step 1: What is your name?", "name")}, self._sealed("first"))


# -- results ---------------------------------------------------------------------------------------


def _content(words: str, **more: Any) -> Json:
    return {"content": [text(words)], **more}


def _asks(requests: Json, state: str | None = None) -> Json:
    return {
        "resultType": "input_required",
        "inputRequests": requests,
        **({} if state is None else {"requestState": state}),
    }


def _in_its_era(handler: Callable[[Ctx, Any], Awaitable[Json]]) -> Callable[[Ctx, Any], Awaitable[Json]]:
    """Says `resultType`, which the modern era wants; in the legacy era asks what the handler wants to know."""

    async def answer(ctx: Ctx, params: Any) -> Json:
        result = await handler(ctx, params)
        if ctx.protocol_version == MODERN:
            return {"resultType": "complete", **result}
        while result.get("resultType") == "input_required":
            given = await _asked(ctx, result["inputRequests"])
            if not given:
                raise MCPError(types.INVALID_REQUEST, "nothing that was asked for came")
            state = {"input_responses": given, "request_state": result.get("requestState")}
            result = await handler(ctx, params.model_copy(update=state))
        return result

    return answer


_QUESTIONS: dict[str, tuple[type[types.ServerRequest], type[BaseModel]]] = {
    "elicitation/create": (types.ElicitRequest, types.ElicitResult),
    "sampling/createMessage": (types.CreateMessageRequest, types.CreateMessageResult),
    "roots/list": (types.ListRootsRequest, types.ListRootsResult),
}


async def _asked(ctx: Ctx, questions: Json) -> Json:
    """Asks on the call's own stream, all at once."""
    given: Json = {}

    async def ask(key: str, question: Json) -> None:
        request, result = _QUESTIONS[question["method"]]
        own_stream = ServerMessageMetadata(related_request_id=ctx.request_id)
        with contextlib.suppress(MCPError):  # refused: without this answer, then
            given[key] = await ctx.session.send_request(request.model_validate(question), result, metadata=own_stream)

    async with anyio.create_task_group() as tasks:
        for key, question in questions.items():
            tasks.start_soon(ask, key, question)
    return given


def _answers(params: types.CallToolRequestParams | types.GetPromptRequestParams) -> dict[str, Any]:
    return dict(params.input_responses or {})


def _field(answer: Any, name: str) -> Any:
    """One field of an accepted form; None where it was not."""
    if not isinstance(answer, types.ElicitResult) or answer.action != "accept":
        return None
    return (answer.content or {}).get(name)


def _fixed(result: Json) -> Callable[[Ctx, Any], Awaitable[Json]]:
    async def answer(_ctx: Ctx, _params: Any) -> Json:
        return result

    return answer


def _said(words: str) -> Tool:
    return _fixed(_content(words))


# -- tools -----------------------------------------------------------------------------------------


async def _error(_ctx: Ctx, _params: types.CallToolRequestParams) -> Json:
    return _content("This tool intentionally returns an error for testing", isError=True)


async def _log(ctx: Ctx, words: str) -> None:
    """One log line at level info; the modern era sends it only where it was asked for."""
    if ctx.protocol_version == MODERN and LOG_LEVEL not in (ctx.meta or {}):
        return
    params = types.LoggingMessageNotificationParams(level="info", data=words)
    await ctx.session.send_notification(types.LoggingMessageNotification(params=params), ctx.request_id)


async def _logging(ctx: Ctx, _params: types.CallToolRequestParams) -> Json:
    for words in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await _log(ctx, words)
        await anyio.sleep(PAUSE)
    return _content("Tool with logging executed successfully")


async def _log_once(ctx: Ctx, _params: types.CallToolRequestParams) -> Json:
    await _log(ctx, "once")
    return _content("logged")


async def _progress(ctx: Ctx, _params: types.CallToolRequestParams) -> Json:
    for done in (0, 50, 100):
        await ctx.session.report_progress(done, 100)
        await anyio.sleep(PAUSE)
    return _content("Tool with progress executed successfully")


async def _sampling(_ctx: Ctx, params: types.CallToolRequestParams) -> Json:
    answer = _answers(params).get("words")
    if not isinstance(answer, types.CreateMessageResult):
        return _asks({"words": sampling(str((params.arguments or {})["prompt"]), 100)})
    content = answer.content
    return _content(f"LLM response: {content.text if isinstance(content, types.TextContent) else ''}")


def _form(words: str, question: Callable[[types.CallToolRequestParams], Json]) -> Tool:
    """A tool that says how its form was answered."""

    async def ask(_ctx: Ctx, params: types.CallToolRequestParams) -> Json:
        answer = _answers(params).get("form")
        if not isinstance(answer, types.ElicitResult):
            return _asks({"form": question(params)})
        return _content(words.format(answer.action, answer.content))

    return ask


def _user_form(params: types.CallToolRequestParams) -> Json:
    fields = {
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"},
    }
    return parts.form(str((params.arguments or {})["message"]), fields, ["username", "email"])


_COMPLETED = "Elicitation completed: action={}, content={}"


async def _missing_capability(ctx: Ctx, _params: types.CallToolRequestParams) -> Json:
    declared = ctx.session.client_capabilities
    if declared is None or declared.sampling is None:
        raise MCPError(
            types.MISSING_REQUIRED_CLIENT_CAPABILITY, "sampling is needed", {"requiredCapabilities": {"sampling": {}}}
        )
    return _content("sampling is declared")


async def _streaming_elicitation(_ctx: Ctx, params: types.CallToolRequestParams) -> Json:
    name = _field(_answers(params).get("user_name"), "name")
    return _content(f"Hello, {name}!") if name else _asks({"user_name": ask_for("What is your name?", "name")})


_asks_name = _streaming_elicitation


async def _asks_model(_ctx: Ctx, params: types.CallToolRequestParams) -> Json:
    answer = _answers(params).get("capital_question")
    if isinstance(answer, types.CreateMessageResult):
        return _content(answer.content.text if isinstance(answer.content, types.TextContent) else "")
    return _asks({"capital_question": sampling("What is the capital of France?", 100)})


async def _asks_roots(_ctx: Ctx, params: types.CallToolRequestParams) -> Json:
    answer = _answers(params).get("client_roots")
    if isinstance(answer, types.ListRootsResult):
        return _content(", ".join(str(root.uri) for root in answer.roots))
    return _asks({"client_roots": parts.ROOTS})


async def _asks_what_it_may(ctx: Ctx, params: types.CallToolRequestParams) -> Json:
    if _answers(params):
        return _content("answered")
    declared = ctx.session.client_capabilities
    wanted: Json = {}
    if declared is not None and declared.elicitation is not None:
        wanted["user_name"] = ask_for("What is your name?", "name")
    if declared is not None and declared.sampling is not None:
        wanted["capital_question"] = sampling("What is the capital of France?", 100)
    return _asks(wanted) if wanted else _content("nothing to ask")


# -- the rest --------------------------------------------------------------------------------------


async def _get_prompt(_ctx: Ctx, params: types.GetPromptRequestParams) -> Json:
    if params.name == "test_input_required_result_prompt":
        context = _field(_answers(params).get("user_context"), "context")
        if context is None:
            return _asks({"user_context": ask_for("What context should the prompt use?", "context")})
        contents: list[Json] | None = [text(f"Context: {context}")]
    else:
        contents = parts.prompt(params.name, params.arguments or {})
    if contents is None:
        raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {params.name}")
    return {"messages": [{"role": "user", "content": content} for content in contents]}


async def _read(_ctx: Ctx, params: types.ReadResourceRequestParams) -> Json:
    contents = parts.contents(str(params.uri))
    if contents is None:
        raise MCPError(types.INVALID_PARAMS, "Resource not found", {"uri": str(params.uri)})
    return {"contents": [contents]}


async def _complete(_ctx: Ctx, params: types.CompleteRequestParams) -> Json:
    known = ("paris", "park", "party", "test")
    values = [word for word in known if word.startswith(params.argument.value)]
    return {"completion": {"values": values, "total": len(values), "hasMore": False}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--issuer", required=True)
    parser.add_argument("--only", choices=ERAS, default="both")
    args = parser.parse_args()
    issuer: str = args.issuer
    listener = loopback_socket(0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
    auth = AuthSettings.model_validate(
        {"issuer_url": issuer, "resource_server_url": url, "validate_token_resource": True}
    )
    app = Everything().server().streamable_http_app(auth=auth, token_verifier=SdkVerifier(TokenVerifier(issuer, url)))
    end_with_parent()
    announce({"url": url})
    config = uvicorn.Config(OneEra(app, args.only), log_config=None, access_log=False, lifespan="on")
    anyio.run(uvicorn.Server(config).serve, [listener])


if __name__ == "__main__":
    main()
