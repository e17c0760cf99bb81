"""Records in the forms that other programs read: OCSF's API Activity, and rows for a table."""

import csv
import io
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from acp_stdio import __version__

OCSF: Final = "1.8.0"
COLUMNS: Final = (
    *("time", "event", "call", "user", "sub", "iss", "agent", "agent_version", "device", "upstream", "method", "tool"),
    *("outcome", "reason", "policy_rule", "policy_decision", "duration_ms", "bytes_in", "bytes_out", "request_id"),
    *("trace", "arguments_digest", "seq", "prev", "hash"),
)
_SUCCESS, _FAILURE, _UNKNOWN = (1, "Success"), (2, "Failure"), (0, "Unknown")
_STATUS: Final = {"ok": _SUCCESS, "unknown": _UNKNOWN, "": _UNKNOWN}


def ocsf(record: dict[str, Any]) -> dict[str, Any]:
    """OCSF API Activity (class 6003); the whole record is under `unmapped`, with what OCSF has no place for."""
    user, agent = member(record, "user"), member(record, "agent")
    outcome = str(record.get("outcome") or "")
    status_id, status = _STATUS.get(outcome, _FAILURE)
    method, tool = str(record.get("method") or record["event"]), str(record.get("tool") or "")
    policy, trace = member(record, "policy"), str(record.get("trace") or "").split("-")
    actor: dict[str, Any] = {"app_name": agent.get("name") or "acp-stdio"}
    if user:
        actor["user"] = _kept(uid=user.get("sub"), name=user.get("label"), email_addr=user.get("email"))
        actor["idp"] = _kept(name=user.get("iss"), issuer=user.get("iss"), tenant_uid=user.get("tenant"))
    if policy:
        named = _kept(name=policy.get("rule"), version=policy.get("version"))
        actor["authorizations"] = [_kept(decision=policy.get("decision"), policy=named)]
    event = {
        "category_uid": 6,
        "category_name": "Application Activity",
        "class_uid": 6003,
        "class_name": "API Activity",
        "activity_id": 99,
        "activity_name": method,
        "type_uid": 600399,
        "type_name": "API Activity: Other",
        "severity_id": 1 if status_id == 1 else 2,
        "time": millis(record["time"]),
        "status_id": status_id,
        "status": status,
        "status_code": outcome,
        "status_detail": str(record.get("reason") or record["event"]),
        "duration": record.get("duration_ms"),
        "actor": actor,
        "api": _kept(
            operation=f"{method}:{tool}" if tool else method,
            service={"name": record.get("upstream") or "acp-stdio"},
            request={"uid": record["id"]},
        ),
        "src_endpoint": {"hostname": record.get("device") or "unknown"},
        "dst_endpoint": {"svc_name": record["upstream"]} if record.get("upstream") else None,
        "metadata": _kept(
            version=OCSF,
            uid=record["id"],
            correlation_uid=record.get("call"),
            sequence=record.get("seq"),
            original_time=record["time"],
            log_name="acp-stdio",
            product={"name": "acp-stdio", "vendor_name": "acp-stdio", "version": __version__},
            profiles=["trace"] if len(trace) == 4 else None,
        ),
        "trace": {"uid": trace[1], "span": {"uid": trace[2]}} if len(trace) == 4 else None,
        "unmapped": {"acp": record},
    }
    return {name: value for name, value in event.items() if value is not None}


def table(records: Iterable[dict[str, Any]]) -> Iterable[str]:
    """CSV, line by line, the names first (RFC 4180; a cell that a spreadsheet would run as a formula is quoted)."""
    yield _row(list(COLUMNS))
    for record in records:
        user, agent, policy = member(record, "user"), member(record, "agent"), member(record, "policy")
        cells = {
            **record,
            "user": user.get("label"),
            "sub": user.get("sub"),
            "iss": user.get("iss"),
            "agent": agent.get("name"),
            "agent_version": agent.get("version"),
            "policy_rule": policy.get("rule"),
            "policy_decision": policy.get("decision"),
            "arguments_digest": member(record, "arguments").get("digest"),
            "request_id": record["call"] if "call" in record else record["id"],
        }
        yield _row([_safe(cells.get(name)) for name in COLUMNS])


def _row(cells: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


def _safe(value: Any) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def member(record: dict[str, Any], name: str) -> dict[str, Any]:
    """A member that is an object; empty where the record has none."""
    value: Any = record.get(name)
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType]  # JSON, keys are text


def _kept(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value not in (None, "")}


def millis(time: str) -> int:
    """A record's time in epoch milliseconds. Raises `ValueError`."""
    return round(datetime.fromisoformat(time).timestamp() * 1000)
