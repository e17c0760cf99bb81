"""Errors in the other era's numbers (MCP 2026-07-28, basic: error codes; 2025-11-25, server/resources)."""

from typing import Final, NamedTuple

from msgspec import Raw

from acp_stdio.relay.envelope import INVALID_PARAMS, UNSUPPORTED_VERSION
from acp_stdio.wire import errors, methods
from acp_stdio.wire.members import encoded, items, joined, members, text

RESOURCE_NOT_FOUND: Final = -32002
"""Up to 2025-11-25; invalid parameters since."""
URL_REQUIRED: Final = -32042
"""2025-11-25 alone: a page must be opened first."""
LACKS_CAPABILITY: Final = -32021


class Page(NamedTuple):
    """A page that the person is to open."""

    key: str
    params: bytes
    """Of an `elicitation/create`."""


def speaks_our_version(error: Raw | None) -> bool:
    """Whether a server that refused our version names it among those that it speaks: to be asked once more."""
    if errors.code_of(error) != UNSUPPORTED_VERSION:
        return False
    supported = items(members(members(error).get("data")).get("supported"))
    return methods.MODERN_VERSIONS[-1] in [text(version) for version in supported]


def for_legacy(method: str, params: dict[str, Raw], error: Raw) -> bytes:
    """A modern server's error: a resource that is not there has a number of its own."""
    named = members(members(error).get("data")).get("uri")
    missing = named is not None and text(named) == text(params.get("uri"))
    if method == methods.READ and errors.code_of(error) == INVALID_PARAMS and missing:
        return _renumbered(error, RESOURCE_NOT_FOUND)
    return bytes(error)


def for_modern(error: Raw) -> bytes:
    """A legacy server's error without the numbers that 2026-07-28 took back."""
    match errors.code_of(error):
        case number if number == RESOURCE_NOT_FOUND:
            return _renumbered(error, INVALID_PARAMS)
        case number if number == URL_REQUIRED:
            return _renumbered(error, LACKS_CAPABILITY, {"requiredCapabilities": {"elicitation": {"url": {}}}})
        case _:
            return bytes(error)


def _renumbered(error: Raw, number: int, data: dict[str, object] | None = None) -> bytes:
    parts = {**members(error), "code": encoded(number)}
    if data is not None:
        parts["data"] = encoded(data)
    return joined(parts)


def pages(error: Raw | None) -> list[Page]:
    """The pages that a legacy server wants opened before it is asked again."""
    found: list[Page] = []
    if errors.code_of(error) != URL_REQUIRED:
        return found
    for number, raw in enumerate(items(members(members(error).get("data")).get("elicitations")), 1):
        page = members(raw)
        page.pop("elicitationId", None)
        found.append(Page(f"page{number}", joined({**page, "mode": encoded("url")})))
    return found
