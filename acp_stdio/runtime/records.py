"""A call's two records: its intent, and what became of it."""

import contextlib
import os
import time
from dataclasses import dataclass

from acp_stdio.audit.arguments import Arguments
from acp_stdio.audit.chain import NOTHING, Head
from acp_stdio.audit.record import Context, Record, call_record, record_id, token_summary, utc
from acp_stdio.errors import Failure
from acp_stdio.identity.model import AccessToken
from acp_stdio.relay.commands import CallRecord, Settle
from acp_stdio.runtime.gate import Verdict

_NOWHERE = Head("", 0, NOTHING)


@dataclass(slots=True)
class Intent:
    """What is written before a call leaves."""

    record: Record
    started: float
    """Epoch seconds."""
    head: Head = _NOWHERE
    """Its place in the trail, once it is written."""

    @property
    def call(self) -> str:
        """Its id, which is also the request's."""
        return self.record["call"]

    @property
    def trace(self) -> str:
        """Its `traceparent`."""
        return self.record["trace"]

    def leaves_again_with(self, token: AccessToken) -> None:
        """Of a call that is sent again, the outcome names the token that it has now."""
        self.record["token"] = token_summary(token.claims)


def intent(about: CallRecord, context: Context, token: AccessToken, verdict: Verdict, arguments: Arguments) -> Intent:
    """For a call that may leave now. Raises `Failure("audit_unavailable")`; see `Arguments.about`."""
    now = time.time()
    record = _first(about, "call.intent", context, now)
    record["arguments"] = arguments.about(bytes(about.params), about.bytes_in)
    record |= {"token": token_summary(token.claims), **verdict.recorded()}
    return Intent(record, now)


def outcome(command: Settle, begun: Intent) -> Record:
    """It says the same of the call as its intent, whoever is signed in by then."""
    now = time.time()
    return {
        **begun.record,
        "id": record_id(),
        "time": utc(now),
        "event": "call.outcome",
        "outcome": command.outcome,
        "reason": command.reason,
        "duration_ms": round((now - begun.started) * 1000),
        "bytes_in": command.record.bytes_in,
        "bytes_out": command.bytes_out,
    }


def denial(command: Settle, context: Context, verdict: Verdict | None, arguments: Arguments) -> Record:
    """The one record of a call that never had an intent. `verdict`: None where the rules were not asked."""
    about = command.record
    record = _first(about, "call.denied", context, time.time())
    with contextlib.suppress(Failure):  # without the key it is recorded all the same
        record["arguments"] = arguments.about(bytes(about.params), about.bytes_in)
    record["outcome"], record["reason"] = command.outcome, command.reason
    return record | verdict.recorded() if verdict is not None else record


def _first(about: CallRecord, event: str, context: Context, now: float) -> Record:
    """The record whose id is the call's."""
    call = record_id()
    return call_record(
        event,
        context,
        record=call,
        call=call,
        now=now,
        method=about.method,
        tool=about.tool,
        agent=(about.agent, about.agent_version),
        arguments_bytes=about.bytes_in,
        trace=about.trace or new_trace(),
        token=None,
    )


def new_trace() -> str:
    """A W3C `traceparent`, sampled."""
    number = os.urandom(24).hex()
    return f"00-{number[:32]}-{number[32:]}-01"
