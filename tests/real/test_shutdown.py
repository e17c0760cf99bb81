"""The end of `run`: quick whatever it is doing, with a goodbye to the server, a full trail and nothing left behind."""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.kit import host as host_kit
from tests.kit.fault_upstream import FaultUpstream, Request, fault_upstream
from tests.kit.host import RUN, RawHost, text_of
from tests.kit.oidc_provider import OidcProvider
from tests.kit.scene import Scene, all_gone, eventually, processes_below
from tests.real.test_faults import holds_in_the_trail, long_ago, scene_before, warmed_up

pytestmark = pytest.mark.real
log = logging.getLogger(__name__)  # what was measured: `pytest -rP --log-level=INFO`

BOUND: Final = 3.0
"""Seconds; 1.5 are promised, and a busy machine takes its time."""
SAVING: Final = 5.0
"""Seconds that a refresh already sent may go on."""
METADATA: Final = "/.well-known/oauth-authorization-server"
WAYS: Final = ["EOF", "SIGTERM", "SIGINT", "SIGHUP", "parent killed"]
PARENT: Final = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))"
"""A host between us and `run`; our end of stdin stays open when it dies."""


@pytest.fixture(scope="module")
def server() -> Iterator[FaultUpstream]:
    with fault_upstream() as server:
        yield server


@pytest.fixture(scope="module")
def shared(provider: OidcProvider, server: FaultUpstream, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return scene_before(tmp_path_factory.mktemp("shutdown"), provider, server)


@pytest.fixture
def scene(shared: Scene, server: FaultUpstream) -> Iterator[Scene]:
    yield shared
    server.behave()
    all_gone(shared.home)


def started(scene: Scene, way: str) -> tuple[RawHost, int]:
    """A host that has shaken hands, and the process id of its `run`."""
    with pytest.MonkeyPatch.context() as patch:
        if way == "parent killed":
            patch.setattr(host_kit, "RUN", (sys.executable, "-S", "-c", PARENT, *RUN))
        host = RawHost(scene.environment, scene.home)
    host.shake_hands()
    if way != "parent killed":
        return host, host.process.pid
    (child,) = [int(p.name) for p in processes_below(scene.home) if parent_of(int(p.name)) == host.process.pid]
    return host, child


def parent_of(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def is_running(pid: int) -> bool:
    """Whether it has not ended; whether somebody has heard of its end does not matter."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def end(host: RawHost, pid: int, way: str) -> float:
    """Ends it, asserts that it goes in time, and with exit code 0; returns the seconds that it took."""
    began = time.monotonic()
    match way:
        case "EOF":
            assert host.process.stdin is not None
            host.process.stdin.close()
        case "parent killed":
            host.process.kill()
        case _:
            os.kill(pid, getattr(signal, way))
    while is_running(pid):
        assert time.monotonic() - began < BOUND, f"still there {BOUND} s after {way}"
        time.sleep(0.005)
    took = time.monotonic() - began
    log.info("%s: %.2f s", way, took)
    code = host.process.wait(host_kit.PATIENCE)
    assert code == (-signal.SIGKILL if way == "parent killed" else 0)
    with contextlib.suppress(OSError):
        host.leave()
    return took


@pytest.mark.parametrize("way", WAYS)
def test_an_idle_run_goes_at_once_and_ends_its_session(scene: Scene, server: FaultUpstream, way: str) -> None:
    host, pid = started(scene, way)
    warmed_up(host)
    (session,) = server.sessions
    end(host, pid, way)
    assert server.sessions == set()
    assert server.seen("DELETE")[-1].headers["mcp-session-id"] == session
    all_gone(scene.home)


@pytest.mark.parametrize("way", WAYS)
def test_calls_in_flight_before_a_server_that_hangs_hold_nothing_up(
    scene: Scene, server: FaultUpstream, way: str
) -> None:
    known = len(scene.trail())
    host, pid = started(scene, way)
    warmed_up(host)
    calls = [f"{way} {n}" for n in range(4)]
    server.next("tools/call", *[Request.never] * len(calls))
    server.next("DELETE", Request.never)
    for text in calls:
        host.begin("echo", text=text)
    held = [server.held(text) for text in calls]
    end(host, pid, way)
    server.until(lambda: server.seen("DELETE"), "the session's end was told")
    assert all(request.left.wait(30) for request in held), "the connections are closed"
    records = scene.trail()
    assert len(records) > known
    ours = [r for r in records if r["event"] == "call.outcome" and r["reason"] == "host_left"]
    assert [r["outcome"] for r in ours][-len(calls) :] == ["cancelled"] * len(calls)
    holds_in_the_trail(scene)
    server.sessions.clear()
    all_gone(scene.home)


@pytest.mark.parametrize("way", ["EOF", "SIGTERM", "parent killed"])
def test_a_refresh_that_has_not_begun_does_not_begin_any_more(scene: Scene, way: str) -> None:
    for path in scene.cache.glob("public-*"):
        path.unlink()
    scene.provider.fault(METADATA, "hold")
    asked, spent = len(scene.provider.log()), scene.token_requests()
    host, pid = started(scene, way)
    call = host.begin("echo", text="waits for its token")
    assert call
    eventually(lambda: len(scene.provider.log()) > asked, "the provider was asked who it is")
    end(host, pid, way)
    began = time.monotonic()
    all_gone(scene.home)
    assert time.monotonic() - began < BOUND
    scene.provider.release()
    assert scene.token_requests() == spent


@pytest.mark.parametrize("way", ["EOF", "SIGTERM", "parent killed"])
def test_a_refresh_already_sent_is_still_stored(scene: Scene, way: str) -> None:
    spent = scene.token_requests()
    scene.provider.fault("/token", "hold")
    host, pid = started(scene, way)
    host.begin("echo", text="waits for its token")
    eventually(lambda: scene.token_requests() > spent, "the refresh token was sent")
    end(host, pid, way)
    scene.provider.release()
    all_gone(scene.home)
    assert scene.session()["in_flight_since"] == 0.0
    assert scene.token_requests() == spent + 1
    with scene.host() as again:
        assert text_of(again.call("echo", text=f"after {way}")) == f"after {way}"


def test_a_refresh_that_is_never_answered_does_not_live_on(
    provider: OidcProvider, server: FaultUpstream, tmp_path: Path
) -> None:
    scene = scene_before(tmp_path, provider, server)
    spent = scene.token_requests()
    provider.fault("/token", "hold")
    host, pid = started(scene, "EOF")
    eventually(lambda: scene.token_requests() > spent, "the refresh token was sent")
    end(host, pid, "EOF")
    began = time.monotonic()
    all_gone(scene.home)
    took = time.monotonic() - began
    log.info("helper: %.2f s", took)
    assert took < SAVING + BOUND
    assert scene.session()["in_flight_since"] > 0.0
    provider.release()


def deaf(scene: Scene) -> "subprocess.Popen[bytes]":
    """A `run` whose host writes and never reads."""
    with (scene.home / "deaf").open("wb") as errors:
        return subprocess.Popen(
            RUN, env=scene.environment, cwd=scene.home, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        )


@pytest.mark.parametrize("way", ["EOF", "SIGTERM"])
@pytest.mark.parametrize("size", [200_000, 12 << 20], ids=["a full pipe", "more than is kept waiting"])
def test_a_host_that_does_not_read_holds_nothing_up(scene: Scene, server: FaultUpstream, way: str, size: int) -> None:

    def big(request: Request) -> None:
        result = {"content": [{"type": "text", "text": "x" * size}], "isError": False}
        request.reply(200, json.dumps({"jsonrpc": "2.0", "id": request.rpc["id"], "result": result}).encode())

    server.next("tools/call", big)
    settled = len(scene.trail("call.outcome"))
    with deaf(scene) as process:
        assert process.stdin is not None
        say(process, 1, "initialize", {"protocolVersion": host_kit.LEGACY, "capabilities": {}, "clientInfo": {}})
        say(process, None, "notifications/initialized", {})
        say(process, 2, "tools/call", {"name": "echo", "arguments": {"text": "big"}})
        eventually(lambda: len(scene.trail("call.outcome")) > settled, "and was passed on")
        began = time.monotonic()
        process.stdin.close() if way == "EOF" else process.send_signal(signal.SIGTERM)
        assert process.wait(host_kit.PATIENCE) == 0
        took = time.monotonic() - began
        log.info("%s, unread: %.2f s", way, took)
        assert took < BOUND


def say(process: "subprocess.Popen[bytes]", number: int | None, method: str, params: dict[str, object]) -> None:
    assert process.stdin is not None
    frame = {"jsonrpc": "2.0", "method": method, "params": params} | ({} if number is None else {"id": number})
    process.stdin.write(json.dumps(frame).encode() + b"\n")
    process.stdin.flush()


# -- logout -------------------------------------------------------------------------------------------------


def test_a_logout_ends_calls_in_flight_in_every_process_within_a_second(
    provider: OidcProvider, server: FaultUpstream, tmp_path: Path
) -> None:
    """Tombstone first: the provider, which revokes last, has not been asked yet when the calls are over."""
    scene = scene_before(tmp_path, provider, server)
    with ExitStack() as stack:
        hosts = [stack.enter_context(scene.host(modern=modern)) for modern in (False, True, False)]
        for host in hosts:
            warmed_up(host)
        server.next("tools/call", *[Request.never] * len(hosts))
        asked = [(host, host.begin("echo", text=f"logout {n}")) for n, host in enumerate(hosts)]
        held = [server.held(f"logout {n}") for n in range(len(hosts))]
        provider.fault("/token/revocation", "hold", times=1 + len(hosts))  # each of them gives its own token back
        leaving = scene.machine.start("logout")
        try:
            session = scene.machine.state / "session.json"
            eventually(lambda: not json.loads(session.read_text())["signed_in"], "the tombstone is there")
            began = time.monotonic()
            for host, request in asked:
                answer = host.answer(request)
                assert host_kit.reason_of(answer) == "login_required"
                assert text_of(answer).startswith("This may have been carried out: check before repeating.")
            took = time.monotonic() - began
            log.info("logout: %.2f s", took)
            assert took < BOUND
            assert leaving.poll() is None, "the provider is still being told"
        finally:
            provider.release()
            leaving.communicate(timeout=host_kit.PATIENCE)
        assert leaving.returncode == 0
        assert all(request.left.wait(30) for request in held)
        count = len(server.requests)
        for host in hosts:
            refused = host.call("echo", text="after the logout")
            assert text_of(refused).startswith("Nothing was sent. You signed out.")
        assert len(server.requests) == count
    holds_in_the_trail(scene)
    ended = [r["outcome"] for r in scene.trail("call.outcome") if r["reason"] == "login_required"]
    assert ended == ["cancelled"] * len(hosts)
    all_gone(scene.home)


def test_a_call_that_waits_for_its_token_when_the_logout_comes_is_not_sent(
    provider: OidcProvider, server: FaultUpstream, tmp_path: Path
) -> None:
    scene = scene_before(tmp_path, provider, server)
    with scene.host() as host:
        warmed_up(host)
        long_ago(scene)
        provider.fault("/token", "hold")
        spent = scene.token_requests()
        call = host.begin("echo", text="before the logout")
        eventually(lambda: scene.token_requests() > spent, "its token is awaited")
        leaving = scene.machine.start("logout")
        answer = host.answer(call)
        provider.release()
        leaving.communicate(timeout=host_kit.PATIENCE)
        assert host_kit.reason_of(answer) == "login_required"
        assert text_of(answer).startswith("Nothing was sent. You signed out.")
    assert server.seen("tools/call", "before the logout") == []
