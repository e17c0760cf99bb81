"""A record as OpenTelemetry has it: a log record for each, and a span for each call.

Names are those of OpenTelemetry's conventions for MCP and generative AI (in development there), else `acp.…`.
Only the exporter's process imports this. No argument's value leaves, also where the trail records them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from acp_stdio import __version__
from acp_stdio.audit.forms import member
from acp_stdio.audit.settle import INTENT, OUTCOME

DENIED: Final = "call.denied"
Attributes = dict[str, str | int | Sequence[str]]
_SCOPE: Final = InstrumentationScope("acp-stdio", __version__)
_FINE: Final = ("", "ok")


@dataclass(frozen=True, slots=True)
class Form:
    """Turns records into what the SDK's exporters take."""

    resource: Resource
    servers: Mapping[str, Attributes]
    """What the configuration says of each upstream: `server.address` and `network.transport`."""

    def log(self, record: dict[str, Any], chain: str) -> ReadableLogRecord:
        """One record of the file `chain`."""
        fine = record.get("outcome", "") in _FINE
        told = LogRecord(
            timestamp=_nanoseconds(record),
            context=_within(record),
            severity_number=SeverityNumber.INFO if fine else SeverityNumber.WARN,
            severity_text="INFO" if fine else "WARN",
            body=_body(record),
            attributes={**self._about(record), "acp.audit.chain": chain, "acp.audit.seq": record["seq"]},
            event_name=f"acp.{record['event']}",
        )
        return ReadableLogRecord(told, self.resource, _SCOPE)

    def span(self, record: dict[str, Any], intent: dict[str, Any] | None) -> ReadableSpan | None:
        """The call that `record` ends; None where it ends none. `intent`: where its time began, if known."""
        context = _span_context(record)
        if context is None or record["event"] not in (OUTCOME, DENIED):
            return None
        end = _nanoseconds(record)
        begin = _nanoseconds(intent) if intent else end - int(record.get("duration_ms", 0)) * 1_000_000
        tool = str(record.get("tool") or "")
        fine = record.get("outcome") in _FINE
        return ReadableSpan(
            name=f"{record.get('method', '')} {tool}".strip(),
            context=context,
            resource=self.resource,
            attributes=self._about(record),
            kind=SpanKind.CLIENT,
            status=Status() if fine else Status(StatusCode.ERROR, str(record.get("reason") or record.get("outcome"))),
            start_time=min(begin, end),
            end_time=end,
            instrumentation_scope=_SCOPE,
        )

    def _about(self, record: dict[str, Any]) -> Attributes:
        user, agent = member(record, "user"), member(record, "agent")
        method, outcome = record.get("method"), str(record.get("outcome") or "")
        calls_tool = method == "tools/call"
        about: dict[str, Any] = {
            "mcp.method.name": method,
            "rpc.system.name": "jsonrpc" if method else None,
            "gen_ai.operation.name": "execute_tool" if calls_tool else None,
            "gen_ai.tool.name": record.get("tool") if calls_tool else None,
            "error.type": None if outcome in _FINE else _error_type(record, outcome),
            "enduser.id": user.get("sub"),
            "user.email": user.get("email"),
            "acp.user.issuer": user.get("iss"),
            "acp.agent": "/".join(filter(None, (agent.get("name"), agent.get("version")))),
            "acp.agent.evidence": agent.get("evidence"),
            "acp.upstream": record.get("upstream"),
            "acp.outcome": outcome,
            "acp.reason": record.get("reason"),
            "acp.policy.rule": member(record, "policy").get("rule"),
            "acp.call.id": record.get("call"),
            "acp.audit.id": record["id"],
            "acp.audit.hash": record["hash"],
            "host.name": record.get("device"),
        }
        told: Attributes = {name: value for name, value in about.items() if value and isinstance(value, str)}
        return {**told, **self.servers.get(str(record.get("upstream")), {})} if method else told


def intent_of(record: dict[str, Any]) -> str:
    """The call that an intent begins; empty for any other record."""
    return str(record["call"]) if record["event"] == INTENT else ""


def _error_type(record: dict[str, Any], outcome: str) -> str:
    """`tool_error` where the tool itself said so, as the conventions have it; else our reason."""
    return outcome if outcome == "tool_error" else str(record.get("reason") or outcome)


def _body(record: dict[str, Any]) -> str:
    """The record as JSON, without the values of arguments."""
    arguments = {name: value for name, value in member(record, "arguments").items() if name != "value"}
    shown = {**record, "arguments": arguments} if "arguments" in record else record
    return msgspec.json.encode(shown).decode()


def _nanoseconds(record: dict[str, Any]) -> int:
    """Its time since the epoch, to the millisecond."""
    moment = datetime.fromisoformat(str(record["time"]))
    return round(moment.timestamp() * 1000) * 1_000_000


def _span_context(record: dict[str, Any]) -> SpanContext | None:
    """From the W3C `traceparent` that the server got."""
    try:
        _, trace, span, flags = str(record.get("trace", "")).split("-")
        context = SpanContext(int(trace, 16), int(span, 16), is_remote=False, trace_flags=TraceFlags(int(flags, 16)))
    except ValueError:
        return None
    return context if context.is_valid else None


def _within(record: dict[str, Any]) -> Context:
    context = _span_context(record)
    return Context() if context is None else set_span_in_context(NonRecordingSpan(context), Context())
