"""What an error's code says about the era of the server that sent it."""

from typing import Final

import msgspec
from msgspec import Raw

from acp_stdio.wire import frames

HEADER_MISMATCH: Final = -32020
_MODERN: Final = (HEADER_MISMATCH, -32021, -32022)
"""What only a server of the modern era says (MCP 2026-07-28, basic: error codes)."""


_NO_VERDICT: Final = frozenset({401, 403, 407, 408, 425, 429})
"""4xx that speak of the sender, of somebody on the way or of the moment, and not of what the server knows."""


BEFORE_ANYTHING: Final = frozenset({400, 404, 405, 406, 415, 422})
"""4xx that a server answers to a request that it cannot read. Others, such as 409, may come of what the request did."""


class _Error(msgspec.Struct):
    code: int


_error = msgspec.json.Decoder(_Error)


def code_of(error: Raw | None) -> int:
    """The `code` of a JSON-RPC error; 0 where it is none."""
    if error is None:
        return 0
    try:
        return _error.decode(error).code
    except (msgspec.MsgspecError, RecursionError):
        return 0


def is_modern(body: bytes) -> bool:
    """Whether an HTTP error body proves a server of the modern era (MCP 2026-07-28, streamable-http)."""
    return code_in(body) in _MODERN


def means_legacy(status: int | None, body: bytes) -> bool:
    """Whether this answer to `server/discover` comes of a server without the modern era.

    MCP 2026-07-28, streamable-http, backward compatibility: 400 without one of the modern errors. Servers also say
    404, 405, 406, 415 or 422, as their framework has it for a request that it does not know.
    """
    return status is not None and 400 <= status < 500 and status not in _NO_VERDICT and not is_modern(body)


def code_in(body: bytes) -> int:
    """The `code` of the JSON-RPC error that is this body; 0 where it is none."""
    return code_of(_error_in(body))


def refuses_initialize(error: Raw | None) -> bool:
    """Whether this error to `initialize` says that the server has no legacy era, rather than not now.

    A server of the modern era alone names its versions, or has never heard of the method.
    """
    return code_of(error) in (frames.METHOD_NOT_FOUND, *_MODERN)


def body_refuses_initialize(body: bytes) -> bool:
    """The same, of an HTTP error's body."""
    return refuses_initialize(_error_in(body))


def _error_in(body: bytes) -> Raw | None:
    try:
        return frames.parse(body).error
    except frames.BadFrame:
        return None
