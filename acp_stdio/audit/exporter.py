"""Brings the trail to an OTLP collector, in a process of its own (`otlp-helper`).

`run` starts it and never imports OpenTelemetry. One process does it for a trail, whoever started it: it holds
`otlp.lock`. The cursor moves only after both signals of a batch were accepted, so each record arrives at least
once; after a crash the same batch may come again, and `acp.audit.id` tells. What is read is what was written:
the trail's files are the spool. The end of stdin means that `run` is gone: what is there is tried once more.
"""

import contextlib
import json
import os
import random
import socket
import ssl
import sys
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn
from urllib.parse import urlsplit

import requests
import requests.adapters
import truststore
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from acp_stdio import __version__
from acp_stdio.audit import chain, lines
from acp_stdio.audit.delivery import Accepted, CursorFile, forget_gone
from acp_stdio.audit.folder import Folder
from acp_stdio.audit.forms import member
from acp_stdio.audit.otlp import Attributes, Form, intent_of
from acp_stdio.settings.model import NetworkSettings, Settings
from acp_stdio.settings.origin import is_loopback
from acp_stdio.vault.lock import FileLock

BATCH: Final = 256
"""Records in one request."""
LOOK: Final = 0.5
"""Seconds between two looks at the trail."""
IDLE: Final = 120.0
"""Seconds without a record after which the process ends; `run` starts another for the next one."""
SLOWEST: Final = 10.0
"""Seconds between two attempts at most; within an attempt the SDK itself tries for ten."""
LEAVE: Final = 1.0
"""Seconds for what is left, once `run` is gone."""
_OPEN_CALLS: Final = 4096


class Session(requests.Session):
    """Remembers in words what became of the last request, and takes no redirect for an acceptance."""

    said = ""

    def request(self, *args: Any, **options: Any) -> requests.Response:
        """Raises `requests.RequestException`."""
        try:
            response = super().request(*args, **options)
        except requests.RequestException as error:
            self.said = _words(error)
            raise
        self.said = f"HTTP {response.status_code}"
        if 300 <= response.status_code < 400:  # the SDK would count it as accepted
            raise requests.exceptions.InvalidURL("the collector redirects")
        return response


class _SystemTrust(requests.adapters.HTTPAdapter):
    """Trusts the operating system's authorities, beside the list that requests brings."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Each connection checks with them."""
        super().init_poolmanager(*args, ssl_context=_context(), **options)

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        """The same through a proxy."""
        return super().proxy_manager_for(*args, ssl_context=_context(), **options)


def _context() -> ssl.SSLContext:
    return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _words(error: Exception) -> str:
    """Its kind alone: texts of libraries quote addresses."""
    match error:
        case requests.exceptions.SSLError():
            return "its certificate is not trusted"
        case requests.exceptions.Timeout():
            return "no answer in time"
        case requests.exceptions.ConnectionError():
            return "no connection"
        case _:
            return type(error).__name__


class Collector:
    """Both signals of one collector."""

    def __init__(self, endpoint: str, network: NetworkSettings) -> None:
        """Headers, such as a key, and client certificates come from `OTEL_EXPORTER_OTLP_…`, as the SDK reads them."""
        self._session = session = Session()
        loopback = is_loopback(urlsplit(endpoint).hostname or "")
        if loopback or network.proxy:
            session.trust_env = False
            session.proxies = {} if loopback else {"http": network.proxy, "https": network.proxy}
        if not network.ca_bundle:
            session.mount("https://", _SystemTrust())
        base, bundle = endpoint.rstrip("/"), network.ca_bundle or None
        self._logs = OTLPLogExporter(f"{base}/v1/logs", bundle, session=session)
        self._spans = OTLPSpanExporter(f"{base}/v1/traces", bundle, session=session)

    @property
    def said(self) -> str:
        """What became of the last request."""
        return self._session.said

    def takes(self, batch: "Batch") -> bool:
        """Whether it has accepted both signals of a batch."""
        if not batch.has_logs:
            batch.has_logs = self._logs.export(batch.logs) is LogRecordExportResult.SUCCESS
        return batch.has_logs and (not batch.spans or self._spans.export(batch.spans) is SpanExportResult.SUCCESS)

    def give_up(self) -> None:
        """Ends a wait between two attempts."""
        self._logs.shutdown()
        self._spans.shutdown()


@dataclass(slots=True)
class Batch:
    """The next records of a trail."""

    chains: dict[str, tuple[int, int]]
    """Where the cursor stands behind them."""
    logs: list[ReadableLogRecord] = field(default_factory=list[ReadableLogRecord])
    spans: list[ReadableSpan] = field(default_factory=list[ReadableSpan])
    has_logs: bool = False
    """The collector has accepted the first signal, and is not sent it again."""


class Exporter:
    """Reads on where the cursor stands."""

    def __init__(self, folder: Folder, collector: Collector, form: Form, over: threading.Event) -> None:
        self._folder, self._collector, self._form, self._over = folder, collector, form, over
        self._cursor = CursorFile(folder)
        self._accepted = self._cursor.read()
        self._batch: Batch | None = None
        """What is to be sent once more."""
        self._intents: dict[str, dict[str, Any]] = {}

    def run(self) -> None:
        """Returns when `run` is gone, or after `IDLE`."""
        failures, idle = 0, 0.0
        while idle < IDLE:
            ending = self._over.is_set()
            sent = self._send_next()
            if ending and not sent:  # what came while the last batch was on its way goes, too
                return
            if sent is None:
                failures, idle = 0, idle + LOOK
                self._over.wait(LOOK)
            elif sent:
                failures, idle = 0, 0.0
            else:
                failures, idle = failures + 1, 0.0
                self._over.wait(min(SLOWEST, 2.0 ** min(failures, 10)) * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    def _send_next(self) -> bool | None:
        """Sends one batch: whether it was accepted; None where there is nothing."""
        batch = self._batch = self._batch or self._next()
        if batch.chains == self._accepted.chains:
            self._batch = None
            return None
        if batch.logs and not self._collector.takes(batch):
            if self._accepted.trouble != self._collector.said:
                self._save(replace(self._accepted, trouble=self._collector.said))
            return False
        self._batch = None
        self._save(Accepted(batch.chains))
        return True

    def _save(self, accepted: Accepted) -> None:
        """A disk that is full only means that something is sent twice."""
        self._accepted = forget_gone(accepted, self._folder)
        with contextlib.suppress(OSError):
            self._cursor.write(self._accepted)

    def _next(self) -> Batch:
        batch = Batch(dict(self._accepted.chains))
        for name in self._folder.chains():
            size, count = batch.chains.get(name, (0, 0))
            with contextlib.suppress(OSError):
                for line in lines.whole_lines(self._folder.file(name), size):
                    if len(batch.logs) == BATCH:
                        return batch
                    size, count = size + len(line) + 1, count + 1
                    with contextlib.suppress(chain.NotALink, KeyError, ValueError, TypeError):
                        self._add(batch, name, chain.parse(line))
                    batch.chains[name] = size, count
        return batch

    def _add(self, batch: Batch, name: str, record: dict[str, Any]) -> None:
        """What a line that was tampered with raises is `audit verify`'s to tell."""
        span = self._form.span(record, self._intent(record))
        batch.logs.append(self._form.log(record, name))
        if span is not None:
            batch.spans.append(span)

    def _intent(self, record: dict[str, Any]) -> dict[str, Any] | None:
        """The intent that a record is the outcome of, where it was read lately; its own time is kept for later."""
        if call := intent_of(record):
            self._intents[call] = record
            if len(self._intents) > _OPEN_CALLS:
                del self._intents[next(iter(self._intents))]
            return None
        found = self._intents.get(str(record.get("call")))
        if found is None and (place := member(record, "intent")):
            found = self._written(str(place["chain"]), int(place["seq"]))
        return found

    def _written(self, name: str, seq: int) -> dict[str, Any] | None:
        """An intent in an earlier file, by its number there."""
        with contextlib.suppress(OSError, chain.NotALink, ValueError):
            if name in self._folder.chains():
                for number, line in enumerate(lines.whole_lines(self._folder.file(name)), 1):
                    if number == seq:
                        return chain.parse(line)
        return None


def deliver(settings: Settings, servers: dict[str, Attributes], over: threading.Event) -> None:
    """Brings what is in the trail to the collector, unless another process does. Raises `OSError`."""
    folder = Folder(settings.audit_dir)
    lock = FileLock(CursorFile(folder).lock_path)
    with contextlib.suppress(TimeoutError), lock.held(LEAVE):
        collector = Collector(settings.audit.otlp, settings.network)

        def hurry() -> None:
            over.wait()
            threading.Event().wait(LEAVE / 2)
            collector.give_up()

        threading.Thread(target=hurry, daemon=True).start()
        resource = Resource.create(
            {"service.name": "acp-stdio", "service.version": __version__, "host.name": socket.gethostname()}
        )
        Exporter(folder, collector, Form(resource, servers), over).run()


def servers_of(settings: Settings) -> dict[str, Attributes]:
    """What is known of each upstream's address and way."""
    found: dict[str, Attributes] = {}
    for name, upstream in settings.upstreams.items():
        parts = urlsplit(upstream.url)
        if upstream.transport == "stdio":
            found[name] = {"network.transport": "pipe"}
        else:
            port = parts.port or (443 if parts.scheme == "https" else 80)
            found[name] = {"network.transport": "tcp", "server.address": parts.hostname or "", "server.port": port}
    return found


def main(stdin: BinaryIO) -> None:
    """Reads `run`'s request, one line, and works until the end of its input."""
    from acp_stdio.settings.load import load

    request = json.loads(stdin.readline())
    config = Path(request["config"]) if request["config"] else None
    settings, all_of_them = (
        load(config=config, profile=request["profile"], targets=targets, environ=os.environ)
        for targets in (request["targets"], ())
    )
    over = threading.Event()

    def watch() -> None:
        with contextlib.suppress(OSError):
            while stdin.read(4096):
                pass
        over.set()
        threading.Event().wait(LEAVE)
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()
    if settings.audit.otlp:
        deliver(settings, servers_of(all_of_them) | servers_of(settings), over)


def run() -> NoReturn:
    """The process's entry."""
    with contextlib.suppress(OSError):
        main(sys.stdin.buffer)
    os._exit(0)
