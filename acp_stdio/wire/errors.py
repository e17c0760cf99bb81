"""What an error's code says about the era of the server that sent it."""

from typing import Final

import msgspec
from msgspec import Raw

from acp_stdio.wire import frames

HEADER_MISMATCH: Final = -32020
_MODERN: Final = (HEADER_MISMATCH, -32021, -32022)
"""What only a server of the modern era says (MCP 2026-07-28, basic: error codes)."""


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
