"""The exporter before a real collector: what is written arrives, also over refusals, absences and deaths."""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource

from acp_stdio.audit import exporter as exporter_module
from acp_stdio.audit.delivery import Backlog, CursorFile
from acp_stdio.audit.exporter import Collector, Exporter
from acp_stdio.audit.folder import Folder
from acp_stdio.audit.otlp import Form
from acp_stdio.audit.record import Context, call_record, event_record, record_id
from acp_stdio.audit.trail import Trail
from acp_stdio.settings.model import NetworkSettings
from tests.kit import collector as kit
from tests.kit.tls import Authority

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
NOTHING_SPECIAL = NetworkSettings()
SERVERS: dict[str, Any] = {"finance": {"network.transport": "tcp", "server.address": "mcp.example.com"}}
USER = {"sub": "u1", "iss": "https://idp.example.com", "label": "sarah", "email": "sarah@example.com", "tenant": ""}


@pytest.fixture
def far() -> Generator[kit.Collector]:
    with kit.collector() as one:
        yield one


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter_module, "SLOWEST", 0.05)
    monkeypatch.setattr(exporter_module, "LOOK", 0.02)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")  # the SDK's own retries end with it


@contextmanager
def exporting(folder: Path, url: str, network: NetworkSettings = NOTHING_SPECIAL) -> Generator[None]:
    """An exporter on a thread; afterwards it brings what is left, as when `run` ends."""
    over = threading.Event()
    one = Exporter(Folder(folder), Collector(url, network), Form(Resource({"service.name": "t"}), SERVERS), over)
    thread = threading.Thread(target=one.run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(kit.PATIENCE)
        assert not thread.is_alive()


def begin(trail: Trail, **about: Any) -> dict[str, Any]:
    call = record_id()
    record = call_record(
        "call.intent",
        Context(USER, "laptop", "finance"),
        record=call,
        call=call,
        now=1795459327.0,
        method="tools/call",
        tool="report",
        agent=("claude-ai", "1"),
        arguments_bytes=2,
        trace=TRACE,
        token=None,
    )
    record |= about
    trail.append(record)
    return record


def end(trail: Trail, intent: dict[str, Any], outcome: str = "ok", reason: str = "") -> None:
    later = {"id": record_id(), "time": "2026-11-23T18:42:07.250Z", "event": "call.outcome", "duration_ms": 250}
    trail.append({**intent, **later, "outcome": outcome, "reason": reason})


def written(folder: Path) -> list[str]:
    return [
        json.loads(line)["id"] for path in sorted(folder.glob("*.jsonl")) for line in path.read_bytes().splitlines()
    ]


def test_each_record_becomes_a_log_and_each_call_a_span(tmp_path: Path, far: kit.Collector) -> None:
    with Trail(tmp_path) as trail:
        end(trail, begin(trail))
    with exporting(tmp_path, far.url):
        far.until(lambda: far.ids() == set(written(tmp_path)), "all records")
    assert [log["event"] for log in far.logs] == ["acp.trail.opened", "acp.call.intent", "acp.call.outcome"]
    (span,) = far.spans
    assert (span["name"], span["kind"], span["failed"]) == ("tools/call report", 3, False)
    assert (span["trace"], span["span"]) == (TRACE[3:35], TRACE[36:52])
    assert (span["end"] - span["begin"]) == 250_000_000 == far.logs[2]["time"] - far.logs[1]["time"]
    assert {
        "mcp.method.name": "tools/call",
        "rpc.system.name": "jsonrpc",
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "report",
        "enduser.id": "u1",
        "network.transport": "tcp",
        "server.address": "mcp.example.com",
    }.items() <= span.items()
    assert "error.type" not in span
    assert far.logs[2]["trace"] == span["trace"]
    assert json.loads(far.logs[2]["body"])["hash"] == far.logs[2]["acp.audit.hash"]


@pytest.mark.parametrize(
    ("outcome", "reason", "kind"),
    [
        ("tool_error", "", "tool_error"),
        ("error", "upstream_unreachable", "upstream_unreachable"),
        ("timeout", "", "timeout"),
    ],
)
def test_how_a_call_failed_is_its_error_type(
    tmp_path: Path, far: kit.Collector, outcome: str, reason: str, kind: str
) -> None:
    with Trail(tmp_path) as trail:
        end(trail, begin(trail), outcome, reason)
    with exporting(tmp_path, far.url):
        far.until(lambda: far.spans, "the span")
    assert (far.spans[0]["error.type"], far.spans[0]["failed"]) == (kind, True)


def test_a_refused_call_is_a_span_without_length(tmp_path: Path, far: kit.Collector) -> None:
    with Trail(tmp_path) as trail:
        about = begin(trail)
        trail.append({**about, "id": record_id(), "event": "call.denied", "outcome": "denied", "reason": "denied"})
        end(trail, about)
    with exporting(tmp_path, far.url):
        far.until(lambda: len(far.spans) == 2, "both spans")
    assert far.spans[0]["acp.outcome"] == "denied"


def test_no_value_of_an_argument_leaves_also_where_the_trail_has_it(tmp_path: Path, far: kit.Collector) -> None:
    with Trail(tmp_path) as trail:
        end(trail, begin(trail, arguments={"bytes": 9, "keys": ["iban"], "value": {"iban": "DE02-very-private"}}))
    with exporting(tmp_path, far.url):
        far.until(lambda: far.spans, "the span")
    assert json.loads(far.logs[1]["body"])["arguments"] == {"bytes": 9, "keys": ["iban"]}
    assert not [body for body in far.raw if b"very-private" in body]


def test_what_is_refused_stays_spooled_and_comes_when_it_is_accepted(tmp_path: Path, far: kit.Collector) -> None:
    far.status = 503
    backlog = Backlog(Folder(tmp_path))
    with Trail(tmp_path) as trail, exporting(tmp_path, far.url):
        end(trail, begin(trail))
        far.until(lambda: backlog.cursor.read().trouble == "HTTP 503", "the trouble is told")
        assert backlog.count(100) == 3
        far.status = 200
        far.until(lambda: not backlog.any(), "all is accepted")
        assert backlog.cursor.read().trouble == ""
    assert sorted(log["acp.audit.id"] for log in far.logs) == sorted(written(tmp_path)), "each once"


def test_a_collector_that_comes_later_and_comes_back_gets_all(tmp_path: Path, far: kit.Collector) -> None:
    far.stop()
    backlog = Backlog(Folder(tmp_path))
    with Trail(tmp_path) as trail, exporting(tmp_path, far.url):
        end(trail, begin(trail))
        far.until(lambda: backlog.cursor.read().trouble == "no connection", "the trouble is told")
        far.start()
        far.until(lambda: not backlog.any(), "all is accepted")
        far.stop()
        end(trail, begin(trail))
        far.until(lambda: backlog.cursor.read().trouble == "no connection", "the trouble is told again")
        far.start()
        far.until(lambda: not backlog.any(), "the rest, too")
    assert far.ids() == set(written(tmp_path))


def test_a_redirect_is_no_acceptance(tmp_path: Path, far: kit.Collector) -> None:
    far.status = 307
    backlog = Backlog(Folder(tmp_path))
    with Trail(tmp_path) as trail, exporting(tmp_path, far.url):
        end(trail, begin(trail))
        far.until(lambda: backlog.cursor.read().trouble == "HTTP 307", "the trouble is told")
        assert backlog.count(100) == 3


def test_the_next_exporter_goes_on_where_the_last_one_stood(tmp_path: Path, far: kit.Collector) -> None:
    with Trail(tmp_path) as trail:
        for _ in range(2):
            end(trail, begin(trail))
            with exporting(tmp_path, far.url):
                far.until(lambda: far.ids() == set(written(tmp_path)), "all so far")
    assert len(far.logs) == len(far.ids()) == 5


def test_more_than_one_batch_goes_in_order(tmp_path: Path, far: kit.Collector) -> None:
    with Trail(tmp_path) as trail:
        for number in range(exporter_module.BATCH + 10):
            trail.append(event_record("login", user=None, now=float(number)))
    with exporting(tmp_path, far.url):
        far.until(lambda: not Backlog(Folder(tmp_path)).any(), "all is accepted")
    assert [log["acp.audit.id"] for log in far.logs] == written(tmp_path)


def test_a_line_that_was_tampered_with_does_not_stop_the_rest(tmp_path: Path, far: kit.Collector) -> None:
    with Trail(tmp_path) as trail:
        end(trail, begin(trail))
        end(trail, begin(trail))
    (path,) = tmp_path.glob("*.jsonl")
    whole = path.read_bytes().splitlines(keepends=True)
    whole[1] = whole[1].replace(b'"time":"', b'"time":"never ')
    whole[2] = b"no record\n"
    path.write_bytes(b"".join(whole))
    with exporting(tmp_path, far.url):
        far.until(lambda: not Backlog(Folder(tmp_path)).any(), "all that can be sent")
    assert [log["event"] for log in far.logs] == ["acp.trail.opened", "acp.call.intent", "acp.call.outcome"]


def test_the_span_of_a_call_whose_process_died_begins_with_its_intent(tmp_path: Path, far: kit.Collector) -> None:
    dead = Trail(tmp_path)
    call = begin(dead)
    dead.close()
    assert dead.head.chain == ""
    with exporting(tmp_path, far.url):
        far.until(lambda: not Backlog(Folder(tmp_path)).any(), "the intent")
    with Trail(tmp_path) as trail:
        trail.append(event_record("login", user=None, now=2.0))
    with exporting(tmp_path, far.url):  # another process, which has not read the intent
        far.until(lambda: far.spans, "the span")
    (span,) = far.spans
    assert (span["acp.outcome"], span["acp.call.id"]) == ("unknown", call["call"])
    assert span["begin"] == 1795459327_000_000_000


def test_a_collector_with_the_companys_certificate_is_trusted_by_its_bundle_alone(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "company")
    trail_dir = tmp_path / "audit"
    backlog = Backlog(Folder(trail_dir))
    with Trail(trail_dir) as trail, kit.collector(authority.server("otlp.example.com")) as far:
        end(trail, begin(trail))
        with exporting(trail_dir, far.url):
            far.until(lambda: backlog.cursor.read().trouble == "its certificate is not trusted", "the trouble is told")
        assert backlog.count(100) == 3
        with exporting(trail_dir, far.url, NetworkSettings(ca_bundle=str(authority.bundle))):
            far.until(lambda: not backlog.any(), "all is accepted")
    assert CursorFile(Folder(trail_dir)).read().trouble == ""
