"""What `run` and its token helper say to each other: one JSON object a line, over two pipes.

The access token crosses here and nowhere else; the refresh token never does. Light imports
only, since `run` reads these.
"""

import json
from dataclasses import dataclass
from typing import Any

from acp_stdio.errors import REASONS, Failure
from acp_stdio.identity.model import AccessToken
from acp_stdio.secrets import Secret


@dataclass(frozen=True, slots=True)
class Request:
    """A token for `upstream`, please. The first three say how the helper loads its settings."""

    config: str | None
    profile: str
    targets: tuple[str, ...]
    upstream: str
    rejected: str | None = None
    """The `fingerprint` of the token that the upstream answered with 401, if that is why we ask."""
    signing: bool = False
    """This computer's signing key is wanted too: the upstream has `assertion = true`."""
    revoke: Secret | None = None
    """No token is wanted: this one is to be ended at the provider, since the person signed out."""


@dataclass(frozen=True, slots=True)
class Sent:
    """The refresh token is being spent: from here on the helper must be left to finish."""


def fingerprint(token: Secret) -> str:
    """A name for a token that gives nothing away: the first 16 hex digits of its SHA-256."""
    import hashlib

    return hashlib.sha256(token.reveal().encode()).hexdigest()[:16]


def encode_request(request: Request) -> bytes:
    """The one line that the helper reads."""
    return _line(
        {
            "config": request.config,
            "profile": request.profile,
            "targets": list(request.targets),
            "upstream": request.upstream,
            "rejected": request.rejected,
            "signing": request.signing,
            "revoke": request.revoke.reveal() if request.revoke else None,
        }
    )


def decode_request(line: bytes) -> Request:
    """Raises `ValueError` where `line` is no request."""
    try:
        data = json.loads(line)
        return Request(
            config=data["config"],
            profile=data["profile"],
            targets=tuple(data["targets"]),
            upstream=data["upstream"],
            rejected=data["rejected"],
            signing=data["signing"] is True,
            revoke=Secret(data["revoke"]) if data["revoke"] else None,
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a request: {type(error).__name__}") from None


def encode_answer(answer: AccessToken | Failure | Sent) -> bytes:
    """One line of the helper's answer; the last one is a token or a failure."""
    match answer:
        case Sent():
            return _line({"phase": "sent"})
        case Failure():
            return _line({"failure": {"reason": answer.reason, "message": answer.message, "advice": answer.advice}})
        case AccessToken():
            return _line(
                {
                    "token": {
                        "value": answer.value.reveal(),
                        "upstream": answer.upstream,
                        "origin": answer.origin,
                        "generation": answer.generation,
                        "issued_at": answer.issued_at,
                        "expires_at": answer.expires_at,
                        "token_type": answer.token_type,
                        "claims": answer.claims,
                        "person": answer.person,
                        "signing_key": answer.signing_key.reveal() if answer.signing_key else None,
                    }
                }
            )


def decode_answer(line: bytes) -> AccessToken | Failure | Sent:
    """What one line means. A line that means nothing (the helper broke off) is `no_answer()`."""
    try:
        data: dict[str, Any] = json.loads(line)
        if data.get("phase") == "sent":
            return Sent()
        if "failure" in data:
            failure = data["failure"]
            if failure["reason"] in REASONS:
                return Failure(failure["reason"], failure["message"], failure["advice"])
        elif "token" in data:
            token = data["token"]
            return AccessToken(
                value=Secret(token["value"]),
                upstream=token["upstream"],
                origin=token["origin"],
                generation=token["generation"],
                issued_at=token["issued_at"],
                expires_at=token["expires_at"],
                token_type=token["token_type"],
                claims=token["claims"],
                person=token["person"],
                signing_key=Secret(token["signing_key"]) if token["signing_key"] else None,
            )
    except (ValueError, KeyError, TypeError, AttributeError):
        pass  # the line may hold a token, so nothing of it is shown
    return no_answer()


def no_answer() -> Failure:
    """The helper ended, or was ended, without saying how it went. The sign-in is left as it was."""
    return Failure(
        "idp_unreachable",
        "Your sign-in could not be renewed: the process that does it ended without an answer.",
        "Try again; if it stays so, run `acp-stdio status --check`.",
    )


def _line(data: dict[str, Any]) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode() + b"\n"
