"""What `acp_login` and the `login` that it starts say to each other: one JSON object a line, over two pipes.

A sign-in that can be stored does not come this way: every process reads it from the state directory.
One without a refresh token does, into the process that asked and no other.
"""

import json
from dataclasses import dataclass
from typing import Any

from acp_stdio.errors import Failure
from acp_stdio.identity.model import Held
from acp_stdio.identity.step_up import NOTHING_MORE, StepUp
from acp_stdio.tokens.messages import encode_line, failure_from_json, failure_to_json, token_from_json, token_to_json
from acp_stdio.tokens.session_file import session_from_json, session_to_json


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """Sign the person in, please. The first three say how the settings are loaded."""

    config: str | None
    profile: str
    targets: tuple[str, ...]
    step_up: StepUp = NOTHING_MORE
    """What a server asked for; with it a sign-in that is there already does not count."""


@dataclass(frozen=True, slots=True)
class Done:
    """It is over: what could be stored is, and those upstreams were asked what they offer; the rest was said before."""

    remark: str = ""
    """What the person should know of it."""


def encode_login(request: LoginRequest) -> bytes:
    """The one line that `login` reads."""
    return encode_line(
        {
            "config": request.config,
            "profile": request.profile,
            "targets": list(request.targets),
            "step_up": request.step_up.to_json(),
        }
    )


def decode_login(text: bytes) -> LoginRequest:
    """Raises `ValueError` where `text` is no request."""
    try:
        data = json.loads(text)
        return LoginRequest(data["config"], data["profile"], tuple(data["targets"]), StepUp.from_json(data["step_up"]))
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a request: {error}") from None


def encode_login_answer(answer: Held | Done | Failure) -> bytes:
    """One line of what `login` answers; the last one is not a `Held`."""
    match answer:
        case Done():
            return encode_line({"done": True, "remark": answer.remark})
        case Failure():
            return encode_line({"failure": failure_to_json(answer)})
        case Held():
            tokens = {name: token_to_json(token) for name, token in answer.tokens.items()}
            return encode_line({"held": {"session": session_to_json(answer.session), "tokens": tokens}})


def decode_login_answer(text: bytes) -> Held | Done | Failure:
    """What the line means; one that means nothing (`login` broke off) is a failure that says so."""
    try:
        data: dict[str, Any] = json.loads(text)
        if "done" in data:
            return Done(data["remark"])
        if "failure" in data:
            return failure_from_json(data["failure"])
        held = data["held"]
        tokens = {name: token_from_json(token) for name, token in held["tokens"].items()}
        return Held(session_from_json(held["session"]), tokens)
    except (ValueError, KeyError, TypeError, AttributeError):
        return not_completed()  # the line may hold a token, so nothing of it is shown


def not_completed() -> Failure:
    """`login` ended without a word."""
    return Failure(
        "login_required",
        "The sign-in was not completed.",
        "Try again, or run `acp-stdio login` in a terminal to see why.",
    )
