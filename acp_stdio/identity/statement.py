"""`ACP-Assertion`: what this computer's key says about one request, beside the person's token. Pure.

A compact JWS (RFC 7515, ES256) that lives for a minute. It binds the request's method, tool and parameters to the
token (`ath`, as RFC 9449 has it) and to the trail's head, so that the server's log pins the person's own.
"""

import base64
import hashlib
from collections.abc import Mapping
from typing import Any, Final

HEADER: Final = "ACP-Assertion"
KIND: Final = "acp-assertion+jwt"
"""The JWS's `typ`: it is taken for nothing else (RFC 8725 section 3.11)."""
LIFETIME: Final = 60
"""Seconds from `iat` to `exp`, at most."""
NO_PARAMS: Final = b"{}"
"""What the digest is of where a request has no parameters."""


def digest(data: bytes) -> str:
    """SHA-256 in base64url without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def statement(
    *,
    key: str,
    user: Mapping[str, Any],
    token: Mapping[str, Any],
    token_digest: str,
    act: Mapping[str, Any],
    method: str,
    tool: str,
    params: bytes,
    request_id: str,
    now: float,
    log: Mapping[str, Any],
) -> dict[str, Any]:
    """The claims. `key`: the thumbprint's URI of the signing key (RFC 9278). `params`: the request's, canonical.

    `user`, `token`: the trail's facts about the person and their token; the token's own claims count for more.
    """
    said: dict[str, Any] = {
        "iss": key,
        "token_iss": user.get("iss", ""),
        "sub": token.get("sub", user.get("sub", "")),
        "act": dict(act),
        "args_digest": digest(params),
        "ath": token_digest,
        "jti": request_id,
        "iat": int(now),
        "exp": int(now) + LIFETIME,
        "log": dict(log),
    }
    optional = {"aud": token.get("aud"), "method": method, "tool": tool}
    return said | {name: value for name, value in optional.items() if value}
