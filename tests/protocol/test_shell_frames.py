"""What a host and a server may put into one line, event or body, through the whole shell."""

import json
import os
from pathlib import Path
from typing import Any

import anyio
import pytest

from acp_stdio.wire.framing import MAX_LINE
from tests.kit.host import text_of
from tests.kit.playbook import hello, welcome
from tests.protocol.stage import Sent, Stage

pytestmark = pytest.mark.skipif(os.name != "posix", reason="watches POSIX pipes on the event loop")


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(tmp_path, monkeypatch)


def reply(sent: Sent, body: Any, status: int = 200) -> None:
    """One HTTP answer; JSON where there is a body."""
    sent.receiver.on_head(status, {"content-type": "application/json"})
    if body is not None:
        sent.receiver.on_data(json.dumps(body).encode())
    sent.receiver.on_end()


def result(request: int, text: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request, "result": {"content": [{"type": "text", "text": text}]}}


async def open_session(stage: Stage, version: str) -> None:
    """A handshake in which both ends agree on this revision."""
    stage.give(stage.token())
    stage.write({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello(version)})
    await stage.until(lambda: stage.connector.sent)
    reply(stage.connector.sent[0], {"jsonrpc": "2.0", "id": 0, "result": welcome(version)})
    assert (await stage.read())["result"]["protocolVersion"] == version
    stage.write({"jsonrpc": "2.0", "method": "notifications/initialized"})
    await stage.until(lambda: len(stage.connector.sent) == 2)
    reply(stage.connector.sent[1], None, 202)
    await stage.until(lambda: len(stage.connector.sent) == 3)  # the session's stream


def tool(request: int) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request, "method": "tools/call", "params": {"name": f"t{request}"}}


def test_a_batch_is_split_each_call_is_recorded_and_the_servers_own_batch_is_split_too(stage: Stage) -> None:
    async def act() -> None:
        async with stage.running():
            await open_session(stage, "2025-03-26")
            stage.write(json.dumps([tool(1), {"jsonrpc": "2.0"}, tool(2)]).encode())
            await stage.until(lambda: len(stage.connector.sent) == 5)
            first, second = stage.connector.sent[3:]
            assert [json.loads(sent.body)["id"] for sent in (first, second)] == [1, 2]
            assert (await stage.read())["error"]["code"] == -32600
            note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}}
            reply(first, [note, result(1, "one")])
            assert (await stage.read())["method"] == "notifications/message"
            assert text_of(await stage.read()) == "one"
            reply(second, result(2, "two"))
            assert text_of(await stage.read()) == "two"
            assert [record for record in stage.records() if record[0] == "call.intent"] == [("call.intent", "")] * 2

    anyio.run(act)


def test_elsewhere_a_batch_is_refused_and_nothing_of_it_is_sent(stage: Stage) -> None:
    async def act() -> None:
        async with stage.running():
            await open_session(stage, "2025-11-25")
            stage.write(json.dumps([tool(1), tool(2)]).encode())
            refused = await stage.read()
            assert (refused["id"], refused["error"]["code"]) == (None, -32600)
            assert "batches" in refused["error"]["message"]
            assert len(stage.connector.sent) == 3

    anyio.run(act)


def test_a_message_above_the_limit_is_refused_and_the_next_one_is_served(stage: Stage) -> None:
    async def act() -> None:
        async with stage.running():
            stage.give(stage.token())
            await anyio.to_thread.run_sync(stage.write, b"x" * (MAX_LINE + 1))
            refused = await stage.read()
            assert (refused["id"], refused["error"]["message"]) == (None, "a message is larger than 64 MiB")
            stage.call()
            await stage.until(lambda: stage.connector.sent)
            stage.connector.sent[0].answer("served")
            assert text_of(await stage.read()) == "served"

    anyio.run(act)
