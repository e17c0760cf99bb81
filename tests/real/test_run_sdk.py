"""`run` between the official SDK's client and server, in both eras, with JSON and with SSE answers."""

import hashlib
import json
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import anyio
import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitResult, ToolListChangedNotification

from acp_stdio.settings.load import load
from acp_stdio.tokens.context import open_context
from acp_stdio.tokens.refresh import obtain_token
from tests.kit.host import LEGACY, MODERN, RawHost, meta
from tests.kit.oidc_provider import oidc_provider
from tests.kit.scene import Scene
from tests.kit.sdk_acts import host, play, said
from tests.kit.sdk_upstream import sdk_upstream

pytestmark = pytest.mark.real

MEGABYTES_10 = 10 * 1024 * 1024
ERAS = pytest.mark.parametrize("era", ["legacy", MODERN])
ANSWERS = pytest.mark.parametrize("answers", ["json", "sse"])


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Scene]]:
    """Alice, signed in, before a server that answers with JSON and before one that answers with SSE."""
    with ExitStack() as stack:
        provider = stack.enter_context(oidc_provider())
        found: dict[str, Scene] = {}
        for answers, options in (("json", ["--json"]), ("sse", [])):
            upstream = stack.enter_context(sdk_upstream(provider.issuer, *options))
            found[answers] = Scene(tmp_path_factory.mktemp(answers), provider, upstream)
            found[answers].login()
        yield found


@pytest.fixture
def scene(scenes: dict[str, Scene], answers: str) -> Scene:
    return scenes[answers]


@ERAS
@ANSWERS
def test_a_call_arrives_in_the_persons_name_through_the_named_agent(scene: Scene, era: str) -> None:
    async def act() -> None:
        async with host(scene, era) as client:
            tools = {tool.name for tool in (await client.list_tools()).tools}
            assert {"echo", "slow", "acp_login", "acp_status"} <= tools
            assert said(await client.call_tool("echo", {"text": "hello"})) == "hello"
            assert said(await client.call_tool("whoami")) == "alice"
            assert "alice@example.com" in said(await client.call_tool("acp_status"))

    since = scene.upstream.now
    play(act)
    version = LEGACY if era == "legacy" else MODERN
    (line,) = scene.upstream.lines("tool=echo", "outcome=ok", since=since)
    assert "user=alice agent=claude-ai/0.1.0 tool=echo " in line
    assert f"version={version} " in line
    (intent,) = [r for r in scene.trail("call.intent") if f"request={r['id']} " in line]
    assert (intent["user"]["sub"], intent["tool"], intent["trace"]) == (
        "alice",
        "echo",
        line.partition("traceparent=")[2].split()[0],
    )


@ANSWERS
def test_a_host_of_both_eras_finds_out_by_itself_which_one_the_server_speaks(scene: Scene) -> None:
    async def act() -> None:
        async with host(scene, "auto") as client:
            assert client.protocol_version == MODERN
            assert client.server_info is not None
            assert client.server_info.name == "sdk-upstream"
            assert said(await client.call_tool("echo", {"text": "both"})) == "both"

    play(act)


@ERAS
@pytest.mark.parametrize("answers", ["sse"])  # a JSON answer has no room for anything before the result
def test_progress_comes_in_order_and_before_the_result(scene: Scene, era: str) -> None:
    seen: list[float] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        assert (total, message) == (5, f"step {progress:.0f}")
        seen.append(progress)

    async def act() -> None:
        async with host(scene, era) as client:
            assert said(await client.call_tool("progress", {"steps": 5}, progress_callback=note)) == "5 steps"

    play(act)
    assert seen == [1, 2, 3, 4, 5]


async def paris(context: Any, params: Any) -> ElicitResult:
    assert params.message == "Which city?"
    return ElicitResult(action="accept", content={"city": "Paris"})


@ERAS
@ANSWERS
def test_the_server_asks_the_person_in_the_middle_of_a_call(scene: Scene, era: str, answers: str) -> None:
    """On the call's own stream, on the session's where calls are answered with JSON, or as the modern era does it."""
    apart = era == "legacy" and answers == "json"

    async def act() -> None:
        async with host(scene, era, elicitation_callback=paris) as client:
            result = await client.call_tool("ask_apart" if apart else "elicit")
            assert said(result) == ("accept Paris" if apart else "Paris")

    play(act)


@ANSWERS
def test_what_the_server_tells_on_its_own_reaches_a_legacy_host(scene: Scene) -> None:
    told = anyio.Event()

    async def hear(message: Any) -> None:
        if isinstance(message, ToolListChangedNotification):
            told.set()

    async def act() -> None:
        async with host(scene, "legacy", message_handler=hear) as client:
            assert said(await client.call_tool("notify")) == "told"
            await told.wait()

    play(act)


@ANSWERS
def test_what_the_server_tells_on_its_own_reaches_a_modern_host_that_listens(scene: Scene) -> None:
    async def act() -> None:
        async with host(scene, MODERN) as client, client.listen(tools_list_changed=True) as events:
            assert said(await client.call_tool("notify")) == "told"
            async for event in events:
                assert type(event).__name__ == "ToolsListChanged"
                break

    play(act)


@ERAS
@ANSWERS
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


@ERAS
@ANSWERS
def test_ten_megabytes_go_up_and_come_down(scene: Scene, era: str) -> None:
    async def act() -> None:
        async with host(scene, era) as client:
            up = await client.call_tool("size_of", {"text": "y" * MEGABYTES_10})
            assert said(up) == str(MEGABYTES_10)
            down = await client.call_tool("big", {"size": MEGABYTES_10})
            assert said(down) == "x" * MEGABYTES_10

    play(act)


@ERAS
@ANSWERS
def test_64_calls_are_in_flight_at_once_and_each_gets_its_own_answer(scene: Scene, era: str) -> None:
    answers: dict[int, str] = {}

    async def act() -> None:
        async with host(scene, era) as client, anyio.create_task_group() as tasks:
            since = scene.upstream.now

            async def ask(number: int) -> None:
                answers[number] = said(await client.call_tool("echo", {"text": str(number)}))

            async def wait() -> None:
                assert said(await client.call_tool("slow")) == "at last"

            for _ in range(64):
                tasks.start_soon(wait)
            await anyio.to_thread.run_sync(lambda: scene.upstream.wait_for("tool=slow", "begun", since=since, count=64))
            async with anyio.create_task_group() as quick:  # these overtake the others
                for number in range(16):
                    quick.start_soon(ask, number)
            assert not scene.upstream.lines("tool=slow", "=ok", since=since)
            await anyio.to_thread.run_sync(lambda: scene.upstream.steer("release"))

    play(act)
    assert answers == {number: str(number) for number in range(16)}


@ERAS
@ANSWERS
def test_a_tools_failure_and_an_error_of_the_protocol_stay_what_they_are(scene: Scene, era: str) -> None:
    async def act() -> None:
        async with host(scene, era) as client:
            failed = await client.call_tool("fail")
            assert failed.is_error
            assert "this tool always fails" in said(failed)
            with pytest.raises(MCPError) as caught:
                await client.call_tool("rpc_error")
            assert (caught.value.code, caught.value.error.data) == (-31999, {"detail": [1.0, None]})

    play(act)
    outcomes = [r["outcome"] for r in scene.trail("call.outcome") if r["tool"] in ("fail", "rpc_error")]
    assert outcomes[-2:] == ["tool_error", "error"]


# -- byte for byte ---------------------------------------------------------------------------------


class Direct:
    """The same server without us: one POST a frame, with the person's token."""

    def __init__(self, scene: Scene) -> None:
        environ = {"ACP_STDIO_HOME": str(scene.home)}
        settings = load(config=None, profile="default", targets=(), environ=environ)
        self._token = obtain_token(open_context(settings, may_prompt=False), settings.upstreams["finance"])
        scene.remember()
        self._url = scene.upstream.url
        self._session = ""

    def post(self, frame: bytes, *, modern: bool) -> bytes:
        """The bytes of the answering frame; of the last one where it is a stream."""
        decoded = json.loads(frame)
        headers = {
            "Authorization": f"Bearer {self._token.value.reveal()}",
            "Accept": "application/json, text/event-stream",
            "Content-Type": "application/json",
        }
        if modern:
            headers |= {"MCP-Protocol-Version": MODERN, "Mcp-Method": decoded["method"]}
            if name := decoded["params"].get("name"):
                headers["Mcp-Name"] = name
        elif self._session:
            headers |= {"MCP-Protocol-Version": LEGACY, "Mcp-Session-Id": self._session}
        request = urllib.request.Request(self._url, frame, headers)  # noqa: S310  # loopback
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            self._session = answer.headers.get("mcp-session-id") or self._session
            body: bytes = answer.read()
        events = [line.removeprefix(b"data: ") for line in body.splitlines() if line.startswith(b"data: {")]
        return events[-1] if events else body


def frames_of(era: str) -> list[bytes]:
    """Requests as no encoder of ours would write them."""
    more = "" if era == "legacy" else ', "_meta":  ' + json.dumps(meta()["_meta"])
    return [
        f.encode()
        for f in (
            '{"id":  "a-1" , "jsonrpc":"2.0","method":"tools/call","params":{"name":"echo","arguments":'
            '{"text":"tab\\t \\u00e9 é 😀 \\ud83d\\ude00 \\u2028"}' + more + "}}",
            '{"jsonrpc":"2.0","id":77,"method":"tools/call","params":{ "arguments":{"text":""},"name":"echo"'
            + more
            + '},"x-unknown":{"big":9007199254740993,"one":1.0}}',
            '{"jsonrpc":"2.0","id":78,"method":"tools/call","params":{"name":"fail","arguments":{}' + more + "}}",
            '{"jsonrpc":"2.0","id":79,"method":"tools/call","params":{"name":"rpc_error","arguments":{}' + more + "}}",
            '{"jsonrpc":"2.0","id":80,"method":"tools/call","params":{"name":"no-such-tool"' + more + "}}",
            '{"jsonrpc":"2.0","id":81,"method":"resources/list","params":{"x":1' + more + "}}",
            '{"jsonrpc":"2.0","id":82,"method":"prompts/get","params":{"name":"none"' + more + "}}",
        )
    ]


@ERAS
@ANSWERS
def test_frames_are_those_of_the_other_side_byte_for_byte(scene: Scene, era: str) -> None:
    direct = Direct(scene)
    modern = era != "legacy"
    with RawHost(scene.environment, scene.home, modern=modern) as raw:
        raw.shake_hands()
        if not modern:
            hello = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": HELLO}
            direct.post(json.dumps(hello).encode(), modern=False)
        for frame in frames_of(era):
            since = scene.upstream.now
            raw.send_raw(frame)
            through = raw.raw_answer(json.loads(frame)["id"])
            digest = hashlib.sha256(frame).hexdigest()
            assert scene.upstream.lines(f"body bytes={len(frame)} sha256={digest}", since=since), frame
            assert through == direct.post(frame, modern=modern)
        listing = raw.answer(raw.send("tools/list"))
        theirs = json.loads(direct.post(raw_list(modern, listing["id"]), modern=modern))
    ours = listing["result"].pop("tools")
    expected = theirs["result"].pop("tools")
    assert ours[: len(expected)] == expected
    assert [tool["name"] for tool in ours[len(expected) :]] == ["acp_login", "acp_status"]
    assert listing == theirs


HELLO = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "direct", "version": "1"}}


def raw_list(modern: bool, request_id: int) -> bytes:
    params = {"params": meta()} if modern else {}
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "method": "tools/list", **params}).encode()
