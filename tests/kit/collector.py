"""An OTLP/HTTP collector in a process: decodes what arrives, and can refuse it, be slow, go away and come back."""

import contextlib
import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PATIENCE = 60.0
"""Seconds for what is bound to arrive."""


def _value(value: Any) -> str | int | bool:
    return getattr(value, value.WhichOneof("value"))


def _attributes(pairs: Iterable[Any]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


@dataclass
class Collector:
    """What has arrived. The port stays the same over `stop` and `start`."""

    port: int = 0
    status: int = 200
    """What each request is answered with; what is not accepted is not kept."""
    gate: threading.Event = field(default_factory=threading.Event)
    """Requests wait for it: clear it to be slow."""
    logs: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    spans: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    resources: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    refused: int = 0
    waiting: int = 0
    raw: list[bytes] = field(default_factory=list[bytes])
    tls: ssl.SSLContext | None = None
    """Its certificate, where it speaks TLS."""
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def start(self) -> None:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.waiting += 1
                collector.gate.wait(PATIENCE)
                status = collector.status
                if status == 200:
                    collector.raw.append(body)
                    collector.headers.append({name.lower(): value for name, value in self.headers.items()})
                    collector.take(self.path, body)
                else:
                    collector.refused += 1
                with contextlib.suppress(OSError):  # whoever asked may have gone
                    self.send_response(status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self._server = server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        server.daemon_threads = True
        if self.tls is not None:
            server.socket = self.tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = server.server_port
        self.gate.set()
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Nobody listens any more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def take(self, path: str, body: bytes) -> None:
        if path == "/v1/logs":
            for resource in ExportLogsServiceRequest.FromString(body).resource_logs:
                self.resources.append(_attributes(resource.resource.attributes))
                for scope in resource.scope_logs:
                    self.logs += [
                        {
                            "event": each.event_name,
                            "body": each.body.string_value,
                            "trace": each.trace_id.hex(),
                            "span": each.span_id.hex(),
                            "time": each.time_unix_nano,
                            **_attributes(each.attributes),
                        }
                        for each in scope.log_records
                    ]
        elif path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    self.spans += [
                        {
                            "name": each.name,
                            "kind": each.kind,
                            "trace": each.trace_id.hex(),
                            "span": each.span_id.hex(),
                            "begin": each.start_time_unix_nano,
                            "end": each.end_time_unix_nano,
                            "failed": each.status.code == 2,
                            **_attributes(each.attributes),
                        }
                        for each in scope.spans
                    ]

    def ids(self) -> set[str]:
        """The records that arrived, however often."""
        return {log["acp.audit.id"] for log in self.logs}

    def until(self, holds: Callable[[], object], what: str) -> None:
        """Raises `AssertionError` after `PATIENCE`."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline, f"still not: {what}"
            time.sleep(0.02)


@contextlib.contextmanager
def collector(tls: ssl.SSLContext | None = None) -> Generator[Collector]:
    """One that listens."""
    one = Collector(tls=tls)
    one.start()
    try:
        yield one
    finally:
        one.gate.set()
        one.stop()
