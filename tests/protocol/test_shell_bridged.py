"""The shell with host and server of different eras: the bridge takes over, and the trail tells of each request."""

import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.kit.host import text_of
from tests.kit.playbook import hello, welcome
from tests.protocol.stage import META, Sent, Stage

pytestmark = pytest.mark.skipif(os.name != "posix", reason="watches POSIX pipes on the event loop")

MODERN: dict[str, Any] = {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
FORM: dict[str, Any] = {"method": "elicitation/create", "params": {"mode": "form", "message": "Who?"}}


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(tmp_path, monkeypatch)


def play(stage: Stage, act: Callable[[], Awaitable[None]]) -> None:
    async def on_stage() -> None:
        async with stage.running():
            stage.give(stage.token())
            await act()

    anyio.run(on_stage)


async def sent(stage: Stage, method: str, count: int = 1) -> Sent:
    """The request of this method that reached the wire, the last of `count`."""

    def found() -> list[Sent]:
        return [one for one in stage.connector.sent if one.body and json.loads(one.body).get("method") == method]

    await stage.until(lambda: len(found()) >= count)
    return found()[count - 1]


def answer(exchange: Sent, status: int = 200, **outcome: Any) -> None:
    """One JSON body, and the end."""
    frame = {"jsonrpc": "2.0", "id": json.loads(exchange.body).get("id"), **outcome}
    exchange.receiver.on_head(status, {"content-type": "application/json", "mcp-session-id": "S1"})
    if outcome:
        exchange.receiver.on_data(json.dumps(frame).encode())
    exchange.receiver.on_end()


def test_a_legacy_host_is_asked_what_a_modern_server_wants_to_know(stage: Stage) -> None:
    async def act() -> None:
        stage.write({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {**hello(), "capabilities": ELICITS}})
        answer(await sent(stage, "initialize"), 400, error={"code": -32022, "message": "no", "data": {}})
        answer(await sent(stage, "server/discover"), result=MODERN)
        assert (await stage.read())["result"]["protocolVersion"] == "2025-11-25"
        stage.write({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "pay", "arguments": {}}})
        first = await sent(stage, "tools/call")
        assert (first.headers["Mcp-Name"], first.intents) == ("pay", [first.headers["X-Request-Id"]])
        answer(first, result={"resultType": "input_required", "inputRequests": {"who": FORM}, "requestState": "s"})
        question = await stage.read()
        assert question["method"] == "elicitation/create"
        stage.write({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept"}})
        again = await sent(stage, "tools/call", 2)
        assert json.loads(again.body)["params"]["requestState"] == "s"
        assert again.headers["traceparent"] == first.headers["traceparent"]
        assert again.headers["X-Request-Id"] != first.headers["X-Request-Id"]
        answer(again, result={"resultType": "complete", "content": [{"type": "text", "text": "paid"}]})
        assert text_of(await stage.read()) == "paid"

    play(stage, act)
    assert stage.records() == [("call.intent", ""), ("call.outcome", "ok")] * 2


def test_a_modern_host_that_knows_no_other_era_gets_a_session_of_ours(stage: Stage) -> None:
    async def act() -> None:
        stage.write({"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": META}})
        answer(await sent(stage, "server/discover"), 400)
        assert (await stage.read())["error"]["code"] == -32601
        stage.call("pay")
        answer(await sent(stage, "initialize"), result=welcome())
        answer(await sent(stage, "notifications/initialized"), 202)
        call = await sent(stage, "tools/call")
        assert (call.headers["Mcp-Session-Id"], "Mcp-Name" in call.headers) == ("S1", False)
        assert "io.modelcontextprotocol/protocolVersion" not in call.body.decode()
        assert call.headers["User-Agent"].endswith("(claude-code/3)")
        answer(call, result={"content": [{"type": "text", "text": "paid"}]})
        told = await stage.read()
        assert (text_of(told), told["result"]["resultType"]) == ("paid", "complete")

    play(stage, act)
    assert stage.records() == [("call.intent", ""), ("call.outcome", "ok")]


ELICITS: dict[str, Any] = {"elicitation": {}}
