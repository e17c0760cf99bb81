"""What `run` and its token helper say to each other: one JSON object a line, over two pipes.

The access token crosses here and nowhere else; the refresh token never does. Light imports
only, since `run` reads these.
"""

import json
from dataclasses import dataclass
from typing import Any, Literal

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
class Revocation:
    """Have the provider end an access token that is held and nowhere stored (RFC 7009), please."""

    config: str | None
    profile: str
    targets: tuple[str, ...]
    upstream: str
    """For which it is: its identity says how that provider is talked to."""
    issuer: str
    client_id: str
    token: Secret
    default_endpoints: bool = False
    """See `identity.model.Session`."""


Revoked = Literal["revoked", "unsupported", "failed"]


@dataclass(frozen=True, slots=True)
class Sent:
    """The refresh token is being spent: from here on the helper must be left to finish."""


def fingerprint(token: Secret) -> str:
    """A name for a token that gives nothing away: the first 16 hex digits of its SHA-256."""
    import hashlib

    return hashlib.sha256(token.reveal().encode()).hexdigest()[:16]


def encode_request(request: Request) -> bytes:
    """The one line that the helper reads."""
    return encode_line(
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


def encode_revocation(revocation: Revocation) -> bytes:
    """The one line that the helper reads."""
    return encode_line(
        {
            "config": revocation.config,
            "profile": revocation.profile,
            "targets": list(revocation.targets),
            "held": {
                "upstream": revocation.upstream,
                "issuer": revocation.issuer,
                "client_id": revocation.client_id,
                "token": revocation.token.reveal(),
                "default_endpoints": revocation.default_endpoints,
            },
        }
    )


def decode_revocation(line: bytes) -> Revocation | None:
    """None where `line` asks for something else. Raises `ValueError`, which never quotes the line."""
    try:
        data = json.loads(line)
        if "held" not in data:
            return None
        wanted = data["held"]
        return Revocation(
            config=data["config"],
            profile=data["profile"],
            targets=tuple(data["targets"]),
            upstream=wanted["upstream"],
            issuer=wanted["issuer"],
            client_id=wanted["client_id"],
            token=Secret(wanted["token"]),
            default_endpoints=wanted["default_endpoints"] is True,
        )
    except (ValueError, KeyError, TypeError):
        raise ValueError("not a request") from None


def encode_revoked(outcome: Revoked) -> bytes:
    """What became of it."""
    return encode_line({"revocation": outcome})


def decode_revoked(line: bytes) -> Revoked:
    """What the answer means; no answer means that it failed."""
    for outcome in ("revoked", "unsupported"):
        if line == encode_revoked(outcome):
            return outcome
    return "failed"


def encode_answer(answer: AccessToken | Failure | Sent) -> bytes:
    """One line of the helper's answer; the last one is a token or a failure."""
    match answer:
        case Sent():
            return encode_line({"phase": "sent"})
        case Failure():
            return encode_line({"failure": failure_to_json(answer)})
        case AccessToken():
            return encode_line({"token": token_to_json(answer)})


def decode_answer(line: bytes) -> AccessToken | Failure | Sent:
    """What one line means. A line that means nothing (the helper broke off) is `no_answer()`."""
    try:
        data: dict[str, Any] = json.loads(line)
        if data.get("phase") == "sent":
            return Sent()
        if "failure" in data:
            return failure_from_json(data["failure"])
        if "token" in data:
            return token_from_json(data["token"])
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


def token_to_json(token: AccessToken) -> dict[str, Any]:
    """For a pipe between two processes of this program, and for nothing else."""
    return {
        "value": token.value.reveal(),
        "upstream": token.upstream,
        "origin": token.origin,
        "generation": token.generation,
        "issued_at": token.issued_at,
        "expires_at": token.expires_at,
        "token_type": token.token_type,
        "claims": token.claims,
        "person": token.person,
        "signing_key": token.signing_key.reveal() if token.signing_key else None,
        "proof_key": token.proof_key.reveal() if token.proof_key else None,
    }


def token_from_json(data: dict[str, Any]) -> AccessToken:
    """Raises `KeyError` or `TypeError`, which name no value."""
    return AccessToken(
        value=Secret(data["value"]),
        upstream=data["upstream"],
        origin=data["origin"],
        generation=data["generation"],
        issued_at=data["issued_at"],
        expires_at=data["expires_at"],
        token_type=data["token_type"],
        claims=data["claims"],
        person=data["person"],
        signing_key=Secret(data["signing_key"]) if data["signing_key"] else None,
        proof_key=Secret(data["proof_key"]) if data["proof_key"] else None,
    )


def failure_to_json(failure: Failure) -> dict[str, str]:
    return {"reason": failure.reason, "message": failure.message, "advice": failure.advice}


def failure_from_json(data: dict[str, Any]) -> Failure:
    """Raises `KeyError` where it has no reason that we know, or `TypeError`."""
    if data["reason"] not in REASONS:
        raise KeyError("reason")
    return Failure(data["reason"], data["message"], data["advice"])


def encode_line(data: dict[str, Any]) -> bytes:
    """One message."""
    return json.dumps(data, separators=(",", ":")).encode() + b"\n"
