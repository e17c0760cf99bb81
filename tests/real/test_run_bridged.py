"""`run` between an SDK client of one era and an SDK server of the other alone, over real pipes and HTTP."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp_types import ElicitResult, ToolListChangedNotification

from tests.kit.host import LEGACY, MODERN, text_of
from tests.kit.oidc_provider import oidc_provider
from tests.kit.scene import Scene
from tests.kit.sdk_acts import host, play, said
from tests.kit.sdk_upstream import sdk_upstream

pytestmark = pytest.mark.real

CROSSED = pytest.mark.parametrize(("era", "only"), [("legacy", "modern"), (MODERN, "legacy")])


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Scene]]:
    """Alice, signed in, before a server of one era and before one of the other."""
    with ExitStack() as stack:
        provider = stack.enter_context(oidc_provider())
        found: dict[str, Scene] = {}
        for only in ("legacy", "modern"):
            upstream = stack.enter_context(sdk_upstream(provider.issuer, "--only", only))
            found[only] = Scene(tmp_path_factory.mktemp(only), provider, upstream)
            found[only].login()
        yield found


@pytest.fixture
def scene(scenes: dict[str, Scene], only: str) -> Scene:
    return scenes[only]


@CROSSED
def test_a_call_arrives_in_the_servers_era_in_the_persons_name_through_the_named_agent(scene: Scene, era: str) -> None:
    async def act() -> None:
        async with host(scene, era) as client:
            tools = {tool.name for tool in (await client.list_tools()).tools}
            assert {"echo", "slow", "acp_login", "acp_status"} <= tools
            assert said(await client.call_tool("echo", {"text": "hello"})) == "hello"
            assert said(await client.call_tool("whoami")) == "alice"
            assert (await client.call_tool("size_of", {"text": "four"})).structured_content == {"result": 4}
            assert "alice@example.com" in said(await client.call_tool("acp_status"))

    since = scene.upstream.now
    play(act)
    (line,) = scene.upstream.lines("tool=echo", "outcome=ok", since=since)
    assert "user=alice agent=claude-ai/0.1.0 tool=echo " in line
    assert f"version={LEGACY if era == MODERN else MODERN} " in line
    (intent,) = [r for r in scene.trail("call.intent") if f"request={r['id']} " in line]
    assert intent["trace"] in line


@CROSSED
def test_the_server_asks_the_person_in_the_middle_of_a_call_and_the_trail_has_one_outcome_for_each_intent(
    scene: Scene, era: str
) -> None:
    async def paris(_context: Any, params: Any) -> ElicitResult:
        assert params.message == "Which city?"
        return ElicitResult(action="accept", content={"city": "Paris"})

    async def act() -> None:
        async with host(scene, era, elicitation_callback=paris) as client:
            assert said(await client.call_tool("elicit")) == "Paris"

    play(act)
    intents = [record["call"] for record in scene.trail("call.intent") if record["tool"] == "elicit"]
    outcomes = [(r["call"], r["outcome"], r["reason"]) for r in scene.trail("call.outcome") if r["tool"] == "elicit"]
    assert [call for call, _, _ in outcomes] == intents
    rounds = ["input_required", ""] if era == "legacy" else [""]  # an MCP request each, or one that waited
    assert [(outcome, reason) for _, outcome, reason in outcomes] == [("ok", reason) for reason in rounds]
    assert len({record["trace"] for record in scene.trail("call.intent") if record["tool"] == "elicit"}) == 1


@CROSSED
def test_progress_comes_in_order_and_before_the_result(scene: Scene, era: str) -> None:
    seen: list[float] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    async def act() -> None:
        async with host(scene, era) as client:
            assert said(await client.call_tool("progress", {"steps": 5}, progress_callback=note)) == "5 steps"

    play(act)
    assert seen == [1, 2, 3, 4, 5]


@CROSSED
def test_what_the_server_tells_on_its_own_reaches_the_host_in_its_eras_way(scene: Scene, era: str) -> None:
    told = anyio.Event()

    async def hear(message: Any) -> None:
        if isinstance(message, ToolListChangedNotification):
            told.set()

    async def act() -> None:
        if era == "legacy":
            async with host(scene, era, message_handler=hear) as client:
                while not told.is_set():  # the subscription is opened behind the handshake
                    assert said(await client.call_tool("notify")) == "told"
                    with anyio.move_on_after(0.2):
                        await told.wait()
            return
        async with host(scene, era) as client, client.listen(tools_list_changed=True) as events:
            assert said(await client.call_tool("notify")) == "told"
            async for event in events:
                assert type(event).__name__ == "ToolsListChanged"
                break

    play(act)


@CROSSED
def test_a_cancelled_call_ends_at_the_server_and_the_next_one_goes_on(scene: Scene, era: str) -> None:
    async def act() -> None:
        async with host(scene, era) as client, anyio.create_task_group() as tasks:
            since = scene.upstream.now
            tasks.start_soon(client.call_tool, "slow")
            await anyio.to_thread.run_sync(lambda: scene.upstream.wait_for("tool=slow", "begun", since=since))
            tasks.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(lambda: scene.upstream.wait_for("tool=slow", "cancelled", since=since))
                assert said(await client.call_tool("echo", {"text": "next"})) == "next"

    play(act)


@pytest.mark.parametrize("only", ["legacy"])
def test_a_host_of_both_eras_is_not_translated_for(scene: Scene) -> None:
    async def act() -> None:
        async with host(scene, "auto") as client:
            assert client.protocol_version == LEGACY
            assert said(await client.call_tool("echo", {"text": "both"})) == "both"

    play(act)


@CROSSED
def test_the_first_start_of_all_finds_out_by_itself(
    scenes: dict[str, Scene], tmp_path: Path, era: str, only: str
) -> None:
    """Nothing is remembered: the files are gone that the sign-in left."""
    scene = scenes[only]
    for path in scene.cache.glob("*.json"):
        path.unlink()
    with scene.host(modern=era == MODERN, shaken=False) as raw:
        if era == MODERN:
            raw.ask("server/discover")
        else:
            raw.shake_hands()
        assert text_of(raw.call("whoami")) == "alice"


@pytest.mark.parametrize("era", ["legacy", "auto", MODERN])
def test_servers_of_different_eras_stand_behind_one_host(scenes: dict[str, Scene], tmp_path: Path, era: str) -> None:
    """Each lane is mirrored or translated by itself."""
    older, newer = scenes["legacy"], scenes["modern"]
    scene = Scene(tmp_path, older.provider, older.upstream)
    scene.machine.upstream_lines = f'[upstreams.crm]\nurl = "{newer.upstream.url}"'
    scene.machine.configure()
    scene.login()

    async def paris(_context: Any, _params: Any) -> ElicitResult:
        return ElicitResult(action="accept", content={"city": "Paris"})

    async def act() -> None:
        async with host(scene, era, elicitation_callback=paris) as client:
            for name in ("finance", "crm"):
                assert said(await client.call_tool(f"{name}__whoami")) == "alice"
                assert said(await client.call_tool(f"{name}__elicit")) == "Paris"

    play(act)
