"""`run` before the official SDK's HTTP+SSE server (MCP 2024-11-05), which it finds by itself."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp_types import ElicitResult

from tests.kit.host import sdk_host, text_of
from tests.kit.oidc_provider import oidc_provider
from tests.kit.scene import Scene
from tests.kit.sdk_upstream import sdk_upstream

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    home: Path = tmp_path_factory.mktemp("sse")
    with oidc_provider() as provider, sdk_upstream(provider.issuer, "--sse") as upstream:
        scene = Scene(home, provider, upstream)
        scene.login()
        yield scene


def test_each_call_arrives_in_the_persons_name_and_progress_and_questions_come_on_the_one_stream(scene: Scene) -> None:
    seen: list[float] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    async def paris(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="accept", content={"city": "Paris"})

    async def act() -> None:
        with anyio.fail_after(90):
            async with sdk_host(scene.environment, scene.home, "auto", elicitation_callback=paris) as client:
                assert {"echo", "acp_login"} <= {tool.name for tool in (await client.list_tools()).tools}
                whoami: Any = await client.call_tool("whoami")
                assert whoami.content[0].text == "alice"
                await client.call_tool("progress", {"steps": 5}, progress_callback=note)
                asked: Any = await client.call_tool("ask_apart")
                assert asked.content[0].text == "accept Paris"

    since = scene.upstream.now
    anyio.run(act)
    assert seen == [1, 2, 3, 4, 5]
    (line,) = scene.upstream.lines("tool=whoami", "outcome=ok", since=since)
    assert "user=alice agent=claude-ai/0.1.0 " in line
    scene.upstream.wait_for("stream ended /sse", since=since)


def test_a_token_that_is_refused_on_the_way_is_renewed_and_the_call_sent_once_more(scene: Scene) -> None:
    with scene.host() as host:
        assert text_of(host.call("echo", text="before")) == "before"
        scene.upstream.steer("distrust")
        since = scene.upstream.now
        assert text_of(host.call("echo", text="after")) == "after"
        scene.upstream.wait_for("refused a token", since=since)


def test_a_cancelled_call_is_told_to_the_server_and_the_session_goes_on(scene: Scene) -> None:
    with scene.host() as host:
        since = scene.upstream.now
        slow = host.begin("slow")
        scene.upstream.wait_for("tool=slow", "outcome=begun", since=since)
        host.tell("notifications/cancelled", {"requestId": slow})
        scene.upstream.wait_for("tool=slow", "outcome=cancelled", since=since)
        assert text_of(host.call("echo", text="still here")) == "still here"
