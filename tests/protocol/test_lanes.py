"""Two lanes and the switchboard in one process, with both ends of both wires in the test's hands."""

import dataclasses
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from acp_stdio.catalogue.file import CatalogueFile
from acp_stdio.catalogue.model import Catalogue
from acp_stdio.relay.relay import Relay
from acp_stdio.runtime.lane import HostEnd, LaneParts
from acp_stdio.runtime.lanes import switched
from acp_stdio.runtime.shell import Front
from acp_stdio.runtime.who import Who
from acp_stdio.upstream.attach import AuthorizedConnector
from tests.kit.host import reason_of, text_of
from tests.kit.playbook import hello, welcome
from tests.protocol.stage import ORIGIN, ScriptedConnector, Sent, Stage

pytestmark = pytest.mark.skipif(os.name != "posix", reason="watches POSIX pipes on the event loop")


class TwoLanes(Stage):
    """One host and one person before finance and crm, which take the same token."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder, monkeypatch)
        self.crm = ScriptedConnector(self.trail_dir)
        self.catalogues: list[Catalogue] = [{}, {}]
        self.together = CatalogueFile(folder / "cache", "together", "finance crm")

    def front(self, relay: Relay, lane: LaneParts, host: HostEnd) -> Front:
        connector = AuthorizedConnector(self.crm, ORIGIN, "finance")
        other = dataclasses.replace(lane, upstream="crm", connector=connector, who=Who(lane.keeper, "crm"))
        names = ["finance", "crm"]
        relays = [
            Relay(name, known, signed_in=True, mint=str, helpers=False)
            for name, known in zip(names, self.catalogues, strict=True)
        ]
        lanes = list(zip(relays, (lane, other), self.catalogues, strict=True))
        return switched(names, lanes, self.together, None, host, helpers=True, notice=lambda: "", jitter=lambda: 0.0)

    async def sent(self, connector: ScriptedConnector, method: str) -> Sent:
        """The newest request of this kind that reached an upstream's wire."""

        def found() -> list[Sent]:
            return [each for each in connector.sent if each.body and json.loads(each.body).get("method") == method]

        await self.until(found)
        return found()[-1]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TwoLanes:
    return TwoLanes(tmp_path, monkeypatch)


def play(stage: TwoLanes, act: Callable[[], Awaitable[None]]) -> None:
    async def on_stage() -> None:
        async with stage.running():
            stage.give(stage.token())
            await act()

    anyio.run(on_stage)


def reply(sent: Sent, result: dict[str, Any]) -> None:
    frame = {"jsonrpc": "2.0", "id": json.loads(sent.body)["id"], "result": result}
    sent.receiver.on_head(200, {"content-type": "application/json"})
    sent.receiver.on_data(json.dumps(frame).encode())
    sent.receiver.on_end()


def test_calls_to_both_are_under_way_together_and_each_answer_finds_its_own(stage: TwoLanes) -> None:
    async def act() -> None:
        first, second = stage.call("finance__report"), stage.call("crm__report")
        slow, quick = await stage.sent(stage.connector, "tools/call"), await stage.sent(stage.crm, "tools/call")
        assert [each.headers["Mcp-Name"] for each in (slow, quick)] == ["report", "report"]
        quick.answer("crm")
        answer = await stage.read()
        assert (answer["id"], text_of(answer)) == (second, "crm")
        slow.answer("finance")
        answer = await stage.read()
        assert (answer["id"], text_of(answer)) == (first, "finance")

    play(stage, act)


def test_a_logout_ends_the_calls_of_both(stage: TwoLanes) -> None:
    async def act() -> None:
        calls = {stage.call("finance__report"), stage.call("crm__report")}
        under_way = [await stage.sent(each, "tools/call") for each in (stage.connector, stage.crm)]
        stage.sign_out()
        refused = [await stage.read() for _ in calls]
        assert {answer["id"] for answer in refused} == calls
        assert {reason_of(answer) for answer in refused} == {"login_required"}
        assert all(each.aborted for each in under_way)

    play(stage, act)


def test_the_end_of_input_cancels_what_runs_at_both(stage: TwoLanes) -> None:
    async def act() -> None:
        stage.call("finance__report")
        stage.call("crm__report")
        under_way = [await stage.sent(each, "tools/call") for each in (stage.connector, stage.crm)]
        stage.host_leaves()
        await stage.until(lambda: stage.ended_with)
        assert all(each.aborted for each in under_way)

    play(stage, act)


def test_a_handshake_of_all_is_remembered_until_one_of_them_greets_differently(stage: TwoLanes) -> None:
    async def act() -> None:
        for number in (1, 2):
            stage.write({"jsonrpc": "2.0", "id": number, "method": "initialize", "params": hello()})
            for connector in (stage.connector, stage.crm):
                reply(await stage.sent(connector, "initialize"), welcome())
                connector.sent.clear()
            answer = await stage.read()
            assert (answer["id"], answer["result"]["serverInfo"]["name"]) == (number, "acp-stdio")
            assert stage.together.load().keys() == {"initialize 2025-11-25"}
        stage.write({"jsonrpc": "2.0", "id": 3, "method": "initialize", "params": hello()})
        reply(await stage.sent(stage.crm, "initialize"), {**welcome(), "instructions": "new"})
        await stage.until(lambda: not stage.together.load())

    play(stage, act)
