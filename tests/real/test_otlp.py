"""The trail at a collector: a real `run`, its exporter in a process of its own, an OTLP/HTTP receiver."""

import json
import os
import re
import signal
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.kit import collector as kit
from tests.kit import leaks
from tests.kit.host import reason_of, text_of
from tests.kit.oidc_provider import oidc_provider
from tests.kit.scene import Scene, all_gone, eventually, processes_below
from tests.kit.sdk_upstream import sdk_upstream
from tests.kit.signing_in import ROOT

pytestmark = pytest.mark.real

KEY = "collector-key-9b1f0c77aa31e5d2"


@pytest.fixture(scope="module")
def signed_in(tmp_path_factory: pytest.TempPathFactory) -> Generator[Scene]:
    with oidc_provider() as provider, sdk_upstream(provider.issuer) as upstream:
        scene = Scene(tmp_path_factory.mktemp("home"), provider, upstream)
        scene.login()
        yield scene


@pytest.fixture
def far() -> Generator[kit.Collector]:
    with kit.collector() as one:
        yield one


@pytest.fixture
def scene(signed_in: Scene, far: kit.Collector) -> Generator[Scene]:
    """Its trail goes to the collector, as far as that takes it."""
    configure(signed_in, far)
    signed_in.machine.state.joinpath("audit", "otlp.json").unlink(missing_ok=True)  # to each collector all of it
    signed_in.machine.extra_environment = {
        "OTEL_EXPORTER_OTLP_HEADERS": f"x-key={KEY}",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
    }
    yield signed_in
    all_gone(signed_in.home)


def configure(scene: Scene, far: kit.Collector, *more: str) -> None:
    scene.machine.upstream_lines = "\n".join(["[audit]", f'otlp = "{far.url}"', *more])
    scene.machine.configure()


def written(scene: Scene) -> set[str]:
    """The ids of all records, also those that open a file."""
    files = (scene.machine.state / "audit").glob("*.jsonl")
    return {json.loads(line)["id"] for path in files for line in path.read_bytes().splitlines()}


def exporters(scene: Scene) -> list[int]:
    return [
        int(folder.name)
        for folder in processes_below(scene.home)
        if b"otlp-helper" in (folder / "cmdline").read_bytes()
    ]


def told(scene: Scene) -> dict[str, Any]:
    return scene.machine.json("status")["delivery"]


def test_each_call_arrives_as_a_span_of_the_trace_that_the_server_got(scene: Scene, far: kit.Collector) -> None:
    with scene.host() as host:
        assert text_of(host.call("echo", text="a-private-argument")) == "a-private-argument"
        assert host.call("fail")["result"]["isError"]
        far.until(lambda: len(far.spans) >= 2 and far.ids() == written(scene), "all records")
    spans = {span["gen_ai.tool.name"]: span for span in far.spans}
    outcomes = {record["tool"]: record for record in scene.trail("call.outcome")}
    for tool in ("echo", "fail"):
        assert outcomes[tool]["trace"].split("-")[1:3] == [spans[tool]["trace"], spans[tool]["span"]]
        assert spans[tool]["acp.call.id"] == outcomes[tool]["call"]
        assert (spans[tool]["enduser.id"], spans[tool]["server.address"]) == ("alice", "127.0.0.1")
    assert (spans["fail"]["error.type"], "error.type" in spans["echo"]) == ("tool_error", False)
    assert {resource["service.name"] for resource in far.resources} == {"acp-stdio"}
    assert {headers["x-key"] for headers in far.headers} == {KEY}, "the SDK's own variable"
    assert told(scene)["undelivered"] == 0
    everything = b"".join(far.raw)
    assert b"a-private-argument" not in everything
    assert leaks.scan(leaks.issued(), texts=[everything.decode("latin-1")]) == []
    assert leaks.scan([KEY], scene.home) == []


def test_without_a_collector_no_call_leaves_where_delivery_is_required_and_then_they_do(
    scene: Scene, far: kit.Collector
) -> None:
    far.stop()
    many = len(written(scene)) + 4
    configure(scene, far, 'deliver = "required"', f"max_backlog = {many}")
    since = scene.upstream.now
    with scene.host() as host:
        answers = [host.call("echo", text="hello") for _ in range(4)]
        assert reason_of(answers[-1]) == "audit_unavailable"
        words = text_of(answers[-1])
        assert words.startswith("Nothing was sent.")
        assert re.search(rf"127\.0\.0\.1:\d+ has not accepted {many} or more records", words)
        refused = [answer for answer in answers if reason_of(answer)]
        assert len(scene.upstream.lines("tool=echo", "outcome=ok", since=since)) == 4 - len(refused)
        eventually(lambda: told(scene)["trouble"] == "no connection", "status says why")
        assert told(scene)["undelivered"] >= many
        assert "records have not reached" in scene.machine.run("status").stdout
        trail = next(each for each in scene.machine.json("doctor")["checks"] if each["name"] == "trail")
        assert "no connection" in json.dumps(trail)
        far.start()
        eventually(lambda: not reason_of(host.call("echo", text="again")), "calls pass again")
        far.until(lambda: far.ids() == written(scene), "all records, also the refusals")


def test_an_exporter_that_was_killed_loses_nothing_and_another_takes_over(scene: Scene, far: kit.Collector) -> None:
    far.status = 503
    with scene.host() as host:
        for _ in range(3):
            host.call("echo", text="hello")
        eventually(lambda: exporters(scene) and far.refused, "an exporter tries")
        (first,) = exporters(scene)
        os.kill(first, signal.SIGKILL)
        far.status = 200
        far.until(lambda: written(scene) - far.ids() == set(), "all records, by another process")
        eventually(lambda: exporters(scene), "it is there")
        assert exporters(scene) != [first]


def test_two_hosts_have_one_exporter_and_the_other_takes_over_when_its_host_quits(
    scene: Scene, far: kit.Collector
) -> None:
    with scene.host() as one:
        one.call("echo", text="one")
        eventually(lambda: len(exporters(scene)) == 1, "an exporter")
        with scene.host() as two:
            two.call("echo", text="two")
            far.until(lambda: far.ids() == written(scene), "the records of both")
            assert len(exporters(scene)) == 1
            one.leave()
            two.call("echo", text="three")
            far.until(lambda: far.ids() == written(scene), "what came after the first host quit")


def test_a_collector_that_does_not_answer_keeps_neither_calls_nor_the_end(scene: Scene, far: kit.Collector) -> None:
    with scene.host() as host:
        far.gate.clear()
        host.call("echo", text="hello")
        eventually(lambda: far.waiting, "a request that gets no answer")
        assert text_of(host.call("echo", text="on time")) == "on time"
        assert host.leave() == 0
        all_gone(scene.home)
    far.gate.set()


def test_without_the_libraries_run_says_what_to_install(scene: Scene, tmp_path: Path) -> None:
    hidden = tmp_path / "opentelemetry"
    hidden.mkdir()
    (hidden / "__init__.py").touch()
    scene.machine.extra_environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = scene.machine.run("run")
    assert done.returncode == 3
    assert "pip install '.[otlp]'" in done.stderr
    assert "pip install '.[otlp]'" in scene.machine.run("doctor").stdout
