"""The trail of real processes: signed by a helper, settled after a kill, whole, and the same as the server's log."""

import json
import signal
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.host import reason_of, text_of
from tests.kit.oidc_provider import oidc_provider
from tests.kit.scene import PATIENCE, Scene
from tests.kit.sdk_upstream import SdkUpstream, sdk_upstream

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Scene, SdkUpstream]]:
    with oidc_provider() as provider, sdk_upstream(provider.issuer) as upstream:
        scene = Scene(tmp_path_factory.mktemp("home"), provider, upstream)
        scene.login()
        yield scene, upstream


def verified(scene: Scene, *words: str) -> tuple[int, dict[str, Any]]:
    done = scene.machine.run("audit", "verify", "--json", *words)
    assert done.returncode in (0, 9), done.stderr
    return done.returncode, json.loads(done.stdout)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_login_and_each_renewal_sign_the_trail_and_it_is_whole(parts: tuple[Scene, SdkUpstream]) -> None:
    scene, _ = parts
    signed = verified(scene)[1]["checkpoints"]
    assert signed >= 1
    with scene.host() as host:
        assert text_of(host.call("echo", text="hello")) == "hello"
    with scene.host() as host:  # the renewal of its start signs what the one before has left
        assert text_of(host.call("echo", text="again")) == "again"
        until(lambda: verified(scene)[1]["checkpoints"] > signed)
    code, told = verified(scene)
    assert (code, told["findings"]) == (0, [])
    public = json.loads((scene.home / "state" / "device-key.json").read_text())
    assert told["key"] == public["kid"]


def test_a_call_whose_process_was_killed_is_unknown_after_the_next_start(parts: tuple[Scene, SdkUpstream]) -> None:
    scene, upstream = parts
    since = upstream.now
    with scene.host() as host:
        host.begin("slow")
        upstream.wait_for("tool=slow", "begun", since=since)
        host.process.send_signal(signal.SIGKILL)
        host.process.wait(PATIENCE)
    with scene.host():
        until(lambda: any(record["outcome"] == "unknown" for record in scene.trail("call.outcome")))
    (unknown,) = [record for record in scene.trail("call.outcome") if record["outcome"] == "unknown"]
    assert (unknown["tool"], unknown["reason"], unknown["user"]["sub"]) == ("slow", "process_died", "alice")
    assert verified(scene)[0] == 0


def test_the_trail_and_the_servers_log_have_the_same_calls(parts: tuple[Scene, SdkUpstream], tmp_path: Path) -> None:
    scene, upstream = parts
    log = tmp_path / "backend.log"
    log.write_text("\n".join(upstream.lines("tool=")), encoding="utf-8")
    joined = scene.machine.run("audit", "join", ".", str(log), "--json")
    told = json.loads(joined.stdout)
    assert (joined.returncode, told["only_local"], told["only_backend"]) == (0, [], [])
    assert len(told["matched"]) >= 2
    with log.open("a", encoding="utf-8") as more:
        more.write("\nuser=service-account agent=- tool=echo request=\n")
    assert scene.machine.run("audit", "join", ".", str(log)).returncode == 9


def test_a_failed_renewal_is_recorded(
    parts: tuple[Scene, SdkUpstream],
) -> None:
    scene, _ = parts
    scene.provider.fault("/token", "503", times=1)
    with scene.host() as host:
        until(lambda: reason_of(host.call("whoami")) == "")
    failed = scene.trail("refresh.failed")
    assert [(record["reason"], record["user"]["sub"]) for record in failed][:1] == [("idp_unreachable", "alice")]


def test_a_logout_leaves_the_trail_and_what_is_changed_in_it_is_found(parts: tuple[Scene, SdkUpstream]) -> None:
    scene, _ = parts
    scene.logout()
    code, told = verified(scene)
    assert (code, told["unsettled_calls"]) == (0, 0)
    assert [record["event"] for record in scene.trail("log")] == ["login", "logout"]
    path = sorted((scene.machine.state / "audit").glob("*.jsonl"))[0]
    path.write_bytes(path.read_bytes().replace(b'"login"', b'"logout"', 1))
    code, told = verified(scene)
    assert (code, told["findings"][0]["file"], told["findings"][0]["record"]) == (9, path.name, 2)
