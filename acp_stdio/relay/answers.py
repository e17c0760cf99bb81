"""What a host is told when a call did not happen, in words that a model can pass on."""

from typing import Any, Final

import msgspec

from acp_stdio.errors import Failure
from acp_stdio.identity.step_up import StepUp, demanded
from acp_stdio.wire import challenge, frames, methods
from acp_stdio.wire.ending import Ending
from acp_stdio.wire.frames import Frame

META_REASON: Final = "io.github.acp-stdio/reason"

NOTHING_SENT: Final = "Nothing was sent."
NOTHING_DONE: Final = "Nothing was carried out."
PERHAPS_DONE: Final = "This may have been carried out: check before repeating."


def refusal(raw_id: bytes, method: str, failure: Failure, opening: str, *, modern: bool) -> bytes:
    """The answer to a request that failed here: a tool result for `tools/call`, an error for the rest."""
    text = " ".join(part for part in (opening, failure.message, failure.advice) if part)
    if method == methods.TOOLS_CALL:
        return frames.answer(raw_id, tool_result(text, modern=modern, error=True, reason=failure.reason))
    return frames.error_answer(raw_id, failure.meaning.rpc_code, text, {"reason": failure.reason})


def tool_result(text: str, *, modern: bool, error: bool = False, reason: str = "") -> bytes:
    """A `tools/call` result with one text."""
    result: dict[str, Any] = {"content": [{"type": "text", "text": text}], "isError": error}
    if reason:
        result["_meta"] = {META_REASON: reason}
    if modern:
        result["resultType"] = "complete"
    return msgspec.json.encode(result)


class _ToolResult(msgspec.Struct):
    isError: bool = False
    resultType: str = ""


_tool_result = msgspec.json.Decoder(_ToolResult)


def is_tool_error(result: msgspec.Raw) -> bool:
    """Whether a `tools/call` result says `isError`. Looks for the word first: results can be large."""
    if b"isError" not in bytes(result):
        return False
    try:
        return _tool_result.decode(result).isError
    except (msgspec.MsgspecError, RecursionError):
        return False


def failure_of(ending: Ending, upstream: str, *, modern: bool, helpers: bool) -> tuple[Failure, str]:
    """What an HTTP exchange that brought no JSON-RPC answer means, and how far the call came."""
    status = ending.status
    if status is None:
        if ending.why.startswith("overloaded"):
            return Failure(
                "overloaded", f"Too many calls to {upstream} at once.", "Try again in a moment."
            ), NOTHING_SENT
        return (
            Failure(
                "upstream_unreachable",
                f"The connection to {upstream} failed: {ending.why}.",
                "If your company inspects TLS, set [network] ca_bundle to its root certificate."
                if "certificate verify failed" in ending.why
                else "Check the network or VPN, then try again.",
            ),
            PERHAPS_DONE if ending.sent else NOTHING_SENT,
        )
    if (wanted := demand_of(ending)) is not None:
        return _wants(wanted, upstream, helpers=helpers), NOTHING_DONE
    if status == 401:
        return Failure(
            "denied",
            f"{upstream} did not accept the proof of your sign-in's key (DPoP), which each call brings.",
            "Check this computer's date and time; if they are right, show this to the people who run it.",
        ), NOTHING_DONE
    if status == 403:
        return Failure(
            "denied", f"{upstream} refused this for your account.", "Ask the people who run it."
        ), NOTHING_DONE
    if status == 429:
        return Failure("overloaded", f"{upstream} is busy (HTTP 429).", _later(ending)), NOTHING_DONE
    if modern and status in (400, 404, 405):
        return (
            Failure(
                "era_mismatch",
                f"{upstream} does not speak this application's MCP {methods.MODERN_VERSIONS[0]} (HTTP {status}).",
                "Use an application that speaks MCP 2025-11-25, or update the server.",
            ),
            NOTHING_DONE,
        )
    if status < 400 or status >= 500:
        opening = PERHAPS_DONE
        why = "ended its answer before there was one" if status < 300 else f"answered HTTP {status}"
        if 300 <= status < 400:
            why = f"wants to redirect (HTTP {status}), and a token is not carried elsewhere"
            opening = PERHAPS_DONE if status == 303 else NOTHING_DONE  # 303: the result is to be seen elsewhere
            return Failure("upstream_unreachable", f"{upstream} {why}.", "Check the server's address."), opening
        return Failure("upstream_unreachable", f"{upstream} {why}.", "Try again later."), opening
    return (
        Failure("upstream_unreachable", f"{upstream} answered HTTP {status}.", "Check the server's address."),
        NOTHING_DONE,
    )


def other_era(upstream: str) -> Failure:
    """A server that no longer speaks what it spoke when this process began."""
    return Failure(
        "era_mismatch",
        f"{upstream} has changed the revision of MCP that it speaks.",
        "Quit this application completely and open it again.",
    )


def _later(ending: Ending) -> str:
    return "Try again in a moment." if ending.retry is None else f"Try again in {max(1, round(ending.retry))} s."


def demand_of(ending: Ending) -> StepUp | None:
    """What an answer wants of the next sign-in; None where it is not about that."""
    return demanded(ending.status, challenge.parameters(ending.challenge)) if ending.status in (401, 403) else None


def wants_the_person(ending: Ending) -> bool:
    """Whether no renewed token would do, since the person has to prove again who they are (RFC 9470)."""
    wanted = demand_of(ending)
    return wanted is not None and wanted.stronger


def wants_another_proof(ending: Ending) -> bool:
    """Whether the call was refused for want of a nonce of the server's, which is known by now (RFC 9449 section 9)."""
    return challenge.parameters(ending.challenge).get("error") == "use_dpop_nonce"


def _wants(wanted: StepUp, upstream: str, *, helpers: bool) -> Failure:
    """The refusal of a call that another sign-in may help."""
    reason = "login_required"
    if wanted.stronger:
        how = "in a stronger way" if wanted.max_age is None else f"and not longer ago than {wanted.max_age} s"
        message = f"{upstream} wants you to prove who you are {how}."
    elif wanted.anew:
        message = f"{upstream} did not accept your sign-in, also after renewing it."
    else:
        reason, message = "insufficient_scope", f"{upstream} asks for more rights than you signed in with."
    ways = ["approve the tool `acp_login`"] if helpers and wanted else []
    if wanted.options or wanted.anew or not ways:
        ways.append(f"run `acp-stdio login {wanted.options or '--force'}`")
    advice = ", or ".join(ways)
    return Failure(reason, message, f"{advice[0].upper()}{advice[1:]}, then ask again.")


def named(frame: Frame, raw_id: bytes | None) -> Frame:
    """The same error as the answer to this request."""
    raw = b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (raw_id or b"null", bytes(frame.error or b"{}"))
    return Frame(raw, None, raw_id or b"null", None, None, frame.error)


def outcome_of(frame: Frame) -> str:
    """The trail's word for an answer."""
    if frame.error is not None:
        return "error"
    return "tool_error" if frame.result is not None and is_tool_error(frame.result) else "ok"


def reason_of(frame: Frame) -> str:
    """The trail's word beside `ok` for an answer that is a question: another request will follow."""
    if b"input_required" not in frame.raw or frame.result is None:
        return ""
    try:
        return "input_required" if _tool_result.decode(frame.result).resultType == "input_required" else ""
    except (msgspec.MsgspecError, RecursionError):
        return ""
