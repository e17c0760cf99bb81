"""What a request of the modern era must say of itself (MCP 2026-07-28, basic: `_meta`), and what if it does not."""

import json
from typing import Final

from msgspec import Raw

from acp_stdio.relay.handshake import RequestView
from acp_stdio.wire import frames, methods
from acp_stdio.wire.frames import Frame

INVALID_PARAMS: Final = -32602
UNSUPPORTED_VERSION: Final = -32022


def misfit(frame: Frame, view: RequestView, *, modern: bool) -> bytes | None:
    """The answer to a request that fits no era; None where it fits. `modern`: the host has shown no other era.

    Taken for the other era's, such a request would forget what the host had agreed on, or reach a server
    of both eras without the headers that make it modern.
    """
    raw_id = frame.id or b"null"
    match frame.method:
        case methods.INITIALIZE:
            if view.version is not None:
                return frames.error_answer(raw_id, frames.METHOD_NOT_FOUND, f"{view.version} has no initialize")
        case methods.DISCOVER:
            return incomplete(raw_id, view.version, frame.params)
        case methods.PING:
            return None
        case _:
            if modern and view.version is None:
                return _lacks(raw_id, methods.META_VERSION)
    return None


def incomplete(raw_id: bytes, version: str | None, params: Raw | None) -> bytes | None:
    """The answer to a modern request that lacks something, where no server of its era will look at it."""
    if version is None:
        return _lacks(raw_id, methods.META_VERSION)
    if not _names(params, methods.META_CAPABILITIES):
        return _lacks(raw_id, methods.META_CAPABILITIES)
    if version not in methods.MODERN_VERSIONS:
        data = {"supported": list(methods.MODERN_VERSIONS), "requested": version}
        return frames.error_answer(raw_id, UNSUPPORTED_VERSION, f"MCP {version} is not spoken here", data)
    return None


def _lacks(raw_id: bytes, key: str) -> bytes:
    return frames.error_answer(raw_id, INVALID_PARAMS, f"the request's _meta lacks {key}")


def _names(params: Raw | None, key: str) -> bool:
    try:
        return key in json.loads(bytes(params or b"{}"))["_meta"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
