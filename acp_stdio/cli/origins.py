"""Where each effective value of `[identity]` and of an upstream came from, for `status --verbose`."""

from typing import Any, cast

from acp_stdio.cli.render import table
from acp_stdio.identity.model import Session
from acp_stdio.settings.model import Settings, UpstreamSettings
from acp_stdio.settings.sections import IDENTITY_KEYS

_LEARNED = ("issuer", "client_id")
"""Values that a sign-in may have found by itself; the session keeps them."""


def identity_values(settings: Settings, session: Session) -> dict[str, dict[str, Any]]:
    """Key to `value` and `from`: `default`, `preset NAME`, `file PATH`, `managed file PATH` or `sign-in`."""
    found: dict[str, dict[str, Any]] = {}
    for key in IDENTITY_KEYS:
        value: Any = getattr(settings.identity, key)
        origin = settings.identity.origins.get(key, "default")
        if key in _LEARNED and not value and getattr(session, key):
            value, origin = getattr(session, key), "sign-in"
        found[key] = _from(value, origin)
    return found


def upstream_values(upstream: UpstreamSettings) -> dict[str, dict[str, Any]]:
    """The same for what a preset or a file says about an upstream's tokens; nothing for one that takes none."""
    if not upstream.takes_token:
        return {}
    return {key: _from(getattr(upstream, key), origin) for key, origin in upstream.origins.items()}


def _from(value: Any, origin: str) -> dict[str, Any]:
    return {"value": list(cast("tuple[str, ...]", value)) if isinstance(value, tuple) else value, "from": origin}


def identity_words(values: dict[str, dict[str, Any]]) -> str:
    """The same for people, as a block."""
    return f"identity\n{table(rows(values), '  ')}"


def rows(values: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """The same for people, without what is empty."""
    return [(key, f"{_shown(each['value'])}  ({each['from']})") for key, each in values.items() if each["value"]]


def _shown(value: Any) -> str:
    match value:
        case list():
            return " ".join(cast("list[str]", value))
        case dict():
            return ", ".join(f"{name} = {text}" for name, text in cast("dict[str, str]", value).items())
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g} s"
        case _:
            return str(value)
