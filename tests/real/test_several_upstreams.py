"""`run` in front of several servers at once: one entry, one sign-in, and nobody waits for the one that is dead."""

import socket
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp_types import ElicitResult, ToolListChangedNotification

from tests.kit.host import MODERN, reason_of, sdk_host, text_of
from tests.kit.oidc_provider import OidcProvider, oidc_provider
from tests.kit.scene import Scene, eventually
from tests.kit.sdk_upstream import SdkUpstream, sdk_upstream

pytestmark = pytest.mark.real

ERAS = pytest.mark.parametrize("era", ["legacy", MODERN])
BOTH = pytest.mark.parametrize("modern", [False, True], ids=["legacy", "modern"])


@pytest.fixture(scope="module")
def servers(provider: OidcProvider) -> Iterator[dict[str, SdkUpstream]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(sdk_upstream(provider.issuer)) for name in ("finance", "crm")}


def configure(scene: Scene, others: dict[str, str], more: str = "") -> None:
    """Adds upstreams to the configuration, by name and address; `more`: lines for the last of them."""
    for url in others.values():
        scene.provider.add_resource(url)
    tables = [f'[upstreams.{name}]\nurl = "{url}"' for name, url in others.items()]
    scene.machine.upstream_lines = "\n".join([*tables, more])
    scene.machine.configure()


@pytest.fixture
def scene(provider: OidcProvider, servers: dict[str, SdkUpstream], tmp_path: Path) -> Scene:
    """Alice, signed in for finance and crm."""
    scene = Scene(tmp_path, provider, servers["finance"])
    configure(scene, {"crm": servers["crm"].url})
    scene.login()
    return scene


@contextmanager
def silent() -> Generator[str]:
    """An address where connections are taken and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"


@ERAS
def test_each_call_reaches_its_server_with_that_servers_own_token(
    scene: Scene, servers: dict[str, SdkUpstream], era: str
) -> None:
    since = {name: server.now for name, server in servers.items()}

    async def act() -> None:
        async with sdk_host(scene.environment, scene.home, era) as client:
            tools = [tool.name for tool in (await client.list_tools()).tools]
            assert tools[:1] == ["finance__echo"]
            assert tools[-2:] == ["acp_login", "acp_status"]
            assert {"finance__whoami", "crm__whoami"} <= set(tools)
            for name in servers:
                result: Any = await client.call_tool(f"{name}__whoami")
                assert result.content[0].text == "alice"
            status: Any = await client.call_tool("acp_status")
            lines = status.content[0].text.splitlines()
            assert [line.partition(" at ")[0] for line in lines] == [
                "finance: Signed in as alice@example.com",
                "crm: Signed in as alice@example.com",
            ]

    with_bound(act)
    for name, server in servers.items():
        (line,) = server.lines("tool=whoami", "outcome=ok", since=since[name])
        (intent,) = [record for record in scene.trail("call.intent") if f"request={record['id']} " in line]
        assert (intent["upstream"], intent["tool"], intent["token"]["aud"]) == (name, "whoami", server.url)


@ERAS
def test_progress_questions_and_changes_come_from_each_of_them(scene: Scene, era: str) -> None:
    heard: list[anyio.Event] = []
    steps: list[float] = []

    async def paris(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="accept", content={"city": "Paris"})

    async def step(progress: float, total: float | None, message: str | None) -> None:
        steps.append(progress)

    async def hear(message: Any) -> None:
        if isinstance(message, ToolListChangedNotification):
            for event in heard:  # the SDK may tell it twice
                event.set()

    async def act() -> None:
        async with sdk_host(
            scene.environment, scene.home, era, elicitation_callback=paris, message_handler=hear
        ) as client:
            answers: dict[str, str] = {}
            async with anyio.create_task_group() as tasks:

                async def ask(name: str) -> None:
                    result: Any = await client.call_tool(f"{name}__elicit")
                    answers[name] = result.content[0].text

                for name in ("finance", "crm"):
                    tasks.start_soon(ask, name)
            assert answers == {"finance": "Paris", "crm": "Paris"}
            await client.call_tool("crm__progress", {"steps": 3}, progress_callback=step)
            assert steps == [1, 2, 3]
            if era == "legacy":
                for name in ("finance", "crm"):
                    changed = anyio.Event()
                    heard.append(changed)
                    await client.call_tool(f"{name}__notify")
                    await changed.wait()

    with_bound(act)


@ERAS
def test_servers_of_two_eras_serve_a_host_of_either(provider: OidcProvider, tmp_path: Path, era: str) -> None:
    async def paris(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="accept", content={"city": "Paris"})

    with (
        sdk_upstream(provider.issuer, "--only", "legacy") as old,
        sdk_upstream(provider.issuer, "--only", "modern") as new,
    ):
        scene = Scene(tmp_path, provider, old)
        configure(scene, {"new": new.url})
        scene.login()

        async def act() -> None:
            async with sdk_host(scene.environment, scene.home, era, elicitation_callback=paris) as client:
                tools = {tool.name for tool in (await client.list_tools()).tools}
                assert {"finance__whoami", "new__whoami", "acp_status"} <= tools
                for name in ("finance", "new"):
                    result: Any = await client.call_tool(f"{name}__whoami")
                    assert result.content[0].text == "alice"
                    asked: Any = await client.call_tool(f"{name}__elicit")
                    assert asked.content[0].text == "Paris"

        with_bound(act)
        assert "version=2025-11-25" in old.lines("tool=whoami")[-1]
        assert "version=2026-07-28" in new.lines("tool=whoami")[-1]


def with_bound(act: Any) -> None:
    """Runs one act; nothing in it may take longer than a minute and a half."""

    async def bounded() -> None:
        with anyio.fail_after(90):
            await act()

    anyio.run(bounded)


@BOTH
def test_one_that_is_dead_and_one_that_is_silent_hide_and_delay_nothing(
    provider: OidcProvider, servers: dict[str, SdkUpstream], tmp_path: Path, modern: bool
) -> None:
    scene = Scene(tmp_path, provider, servers["finance"])
    with silent() as address, sdk_upstream(provider.issuer) as dying:
        configure(scene, {"dead": dying.url, "crm": servers["crm"].url})
        scene.login()
        dying.stop()
        silent_too = {"dead": dying.url, "silent": address, "crm": servers["crm"].url}
        configure(scene, silent_too)
        with scene.host(modern=modern) as host:
            tools = host.tools()
            assert {"finance__whoami", "crm__whoami", "dead__whoami", "acp_status"} <= set(tools)
            waiting = host.begin("silent__anything")
            for name in ("finance", "crm"):
                assert text_of(host.call(f"{name}__whoami")) == "alice"
            assert reason_of(host.call("dead__whoami")) == "upstream_unreachable"
            assert not [line for line in host.lines if f'"id":{waiting},'.encode() in line.replace(b" ", b"")]


@BOTH
def test_the_next_start_answers_from_memory_also_when_nobody_is_there(
    provider: OidcProvider, tmp_path: Path, modern: bool
) -> None:
    with sdk_upstream(provider.issuer) as first, sdk_upstream(provider.issuer) as second:
        scene = Scene(tmp_path, provider, first)
        configure(scene, {"crm": second.url})
        scene.login()
        with scene.host(modern=modern) as host:
            assert text_of(host.call("crm__whoami")) == "alice"
            seen = host.tools()
        together = list(scene.cache.glob("together-*.handshakes.json"))
        assert len(together) == 1
    with scene.host(modern=modern, shaken=False) as host:
        assert host.shake_hands()["capabilities"]["tools"] == {"listChanged": True}
        assert host.tools() == seen


def test_a_server_of_another_identity_says_so_until_acp_login_and_then_works_in_the_same_process(
    scene: Scene, servers: dict[str, SdkUpstream]
) -> None:
    with oidc_provider() as elsewhere, sdk_upstream(elsewhere.issuer) as partner:
        elsewhere.add_resource(partner.url)
        identity = f'identity = "theirs"\n[identities.theirs]\nissuer = "{elsewhere.issuer}"\nclient_id = "acp-stdio"'
        configure(scene, {"crm": servers["crm"].url, "partner": partner.url}, identity)
        with scene.host() as host:
            refused = host.call("partner__whoami")
            assert (reason_of(refused), refused["result"]["isError"]) == ("login_required", True)
            assert text_of(host.call("crm__whoami")) == "alice"
            status = text_of(host.call("acp_status"))
            assert "crm: Signed in as alice@example.com" in status
            assert "partner: You have not signed in yet." in status
            done = text_of(host.call("acp_login"))
            assert "finance, crm: Already signed in as alice@example.com." in done
            assert "partner: Signed in as alice@example.com." in done
            assert text_of(host.call("partner__whoami")) == "alice"
            host.wait_for(lambda frame: frame.get("method") == "notifications/tools/list_changed")
            eventually(lambda: "partner__whoami" in host.tools(), "the partner's tools are listed")
        assert scene.pages_opened() == 2


def test_a_server_that_was_added_after_the_sign_in_is_open_until_acp_login(
    provider: OidcProvider, servers: dict[str, SdkUpstream], tmp_path: Path
) -> None:
    scene = Scene(tmp_path, provider, servers["finance"])
    scene.login()
    configure(scene, {"crm": servers["crm"].url})
    with scene.host() as host:
        refused = host.call("crm__whoami")
        assert reason_of(refused) == "login_required"
        assert "before crm was part of the configuration" in text_of(refused)
        assert text_of(host.call("finance__whoami")) == "alice"
        assert "crm: You have not signed in yet." in text_of(host.call("acp_status"))
        assert text_of(host.call("acp_login")).startswith("finance, crm: Signed in as alice@example.com.")
        assert text_of(host.call("crm__whoami")) == "alice"
