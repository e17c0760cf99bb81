"""The audit record, `acp.audit/1`: one JSON object a line. Never a token, never an argument's value."""

import os
import socket
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from acp_stdio.identity.model import Account

Record = dict[str, Any]

SCHEMA: Final = "acp.audit/1"
RECORDED_CLAIMS: Final = ("format", "jti", "aud", "scope", "exp", "auth_time", "act", "cnf")
"""What of the access token's claims a record may show: they identify it and cannot replace it."""
_OF_THE_CALL: Final = (
    "call",
    "user",
    "agent",
    "device",
    "upstream",
    "method",
    "tool",
    "arguments",
    "token",
    "policy",
    "delegation",
    "trace",
)


_VARIANT: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def record_id() -> str:
    """A UUIDv7 (RFC 9562 section 5.7): sorts by time, and travels as the `X-Request-Id`."""
    time_, random = f"{time.time_ns() // 1_000_000:012x}", os.urandom(10).hex()
    return f"{time_[:8]}-{time_[8:]}-7{random[:3]}-{_VARIANT[random[3]]}{random[4:7]}-{random[7:19]}"


def utc(epoch: float) -> str:
    """`2026-11-23T18:42:07.113Z`."""
    millis = int(epoch * 1000)
    return f"{_second(millis // 1000)}.{millis % 1000:03d}Z"


@lru_cache(maxsize=4)
def _second(epoch: int) -> str:
    """Many records are of one second."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(epoch))


@dataclass(frozen=True, slots=True)
class Context:
    """What all records of one process share while one person is signed in."""

    user: dict[str, Any] | None
    """None where nobody is signed in: unknown is written as unknown."""
    device: str
    upstream: str


def call_record(
    event: str,
    context: Context,
    *,
    record: str,
    call: str,
    now: float,
    method: str,
    tool: str,
    agent: tuple[str, str],
    arguments_bytes: int,
    trace: str,
    token: dict[str, Any] | None,
) -> dict[str, Any]:
    """The members that `call.intent`, `call.outcome` and `call.denied` have in common."""
    return {
        "schema": SCHEMA,
        "id": record,
        "seq": 0,
        "time": utc(now),
        "event": event,
        "call": call,
        "user": context.user,
        "agent": {"name": agent[0], "version": agent[1], "evidence": "self_reported"},
        "device": context.device,
        "upstream": context.upstream,
        "method": method,
        "tool": tool,
        "arguments": {"bytes": arguments_bytes},
        "token": token,
        "trace": trace,
    }


def event_record(
    event: str,
    *,
    user: Record | None,
    now: float,
    device: str = "",
    outcome: str = "ok",
    reason: str = "",
    about: Record | None = None,
) -> Record:
    """What is no call: `login`, `logout`, `refresh.failed` and the like; `about` is what only this event has."""
    return {
        "schema": SCHEMA,
        "id": record_id(),
        "seq": 0,
        "time": utc(now),
        "event": event,
        "user": user,
        "device": device or socket.gethostname(),
        **(about or {}),
        "outcome": outcome,
        "reason": reason,
    }


def unknown_outcome(intent: Record, chain: str, now: float) -> Record:
    """The one outcome of a call whose process died: nobody can tell. `chain` holds its intent."""
    about = {name: intent[name] for name in _OF_THE_CALL if name in intent}
    return {
        "schema": SCHEMA,
        "id": record_id(),
        "seq": 0,
        "time": utc(now),
        "event": "call.outcome",
        **about,
        "intent": {"chain": chain, "seq": intent["seq"]},
        "outcome": "unknown",
        "reason": "process_died",
    }


def user_of(account: Account | None) -> Record | None:
    """Who it is, as records name people; None where nobody is known to be signed in."""
    if account is None:
        return None
    return {
        "sub": account.sub,
        "iss": account.issuer,
        "label": account.label,
        "email": account.email,
        "tenant": account.tenant,
    }


def token_summary(claims: dict[str, Any]) -> dict[str, Any]:
    """The recordable part of an access token's claims."""
    return {name: claims[name] for name in RECORDED_CLAIMS if name in claims}
