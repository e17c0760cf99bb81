"""What a modern request says of itself in `_meta` (MCP 2026-07-28, basic), put on and taken off."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from msgspec import Raw

from acp_stdio.wire import methods
from acp_stdio.wire.members import encoded, joined, members

ROUND_TRIP: Final = ("inputResponses", "requestState")
"""What a repeated request carries beside its own parameters."""
_VERSION: Final = encoded(methods.MODERN_VERSIONS[-1])
_KEYS: Final = (methods.META_VERSION, methods.META_CAPABILITIES, methods.META_CLIENT_INFO, methods.META_LOG_LEVEL)


class Envelope(NamedTuple):
    """What stays the same from one request to the next."""

    capabilities: Mapping[str, Raw]
    client_info: Raw | None
    level: str

    def around(self, params: Mapping[str, Raw], trace: str = "") -> bytes:
        """A legacy request's parameters as a modern one's. `trace`: the W3C `traceparent` where the host gave none."""
        meta = members(params.get("_meta"))
        meta[methods.META_VERSION] = _VERSION
        meta[methods.META_CAPABILITIES] = Raw(joined(self.capabilities))
        if self.client_info is not None:
            meta[methods.META_CLIENT_INFO] = self.client_info
        if self.level:
            meta[methods.META_LOG_LEVEL] = encoded(self.level)
        if trace and "traceparent" not in meta:
            meta["traceparent"] = encoded(trace)
        return joined({**params, "_meta": Raw(joined(meta))})


def without(params: Mapping[str, Raw]) -> dict[str, Raw]:
    """A modern request's parameters as a legacy one's: its own, its progress token and trace."""
    kept = {name: raw for name, raw in params.items() if name not in ROUND_TRIP}
    return _with_meta(kept, {name: raw for name, raw in members(kept.get("_meta")).items() if name not in _KEYS})


def untagged(params: Raw | None, *names: str) -> dict[str, Raw]:
    """Parameters or a result without these members of its `_meta`."""
    kept = members(params)
    if "_meta" not in kept:
        return kept
    return _with_meta(kept, {name: raw for name, raw in members(kept["_meta"]).items() if name not in names})


def tagged(params: Raw | None, name: str, raw: Raw) -> bytes:
    """The same with one more member of its `_meta`."""
    kept = members(params)
    return joined({**kept, "_meta": Raw(joined({**members(kept.get("_meta")), name: raw}))})


def _with_meta(kept: dict[str, Raw], meta: dict[str, Raw]) -> dict[str, Raw]:
    if meta:
        return {**kept, "_meta": Raw(joined(meta))}
    kept.pop("_meta", None)
    return kept
