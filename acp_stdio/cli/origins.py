"""Where each effective value of `[identity]` came from, for `status --verbose`."""

from typing import Any, cast

from acp_stdio.cli.render import table
from acp_stdio.identity.model import Session
from acp_stdio.settings.model import Settings
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
        found[key] = {
            "value": list(cast("tuple[str, ...]", value)) if isinstance(value, tuple) else value,
            "from": origin,
        }
    return found


def identity_words(values: dict[str, dict[str, Any]]) -> str:
    """The same for people, as a block."""
    rows = [(key, f"{_shown(each['value'])}  ({each['from']})") for key, each in values.items() if each["value"]]
    return f"identity\n{table(rows, '  ')}"


def _shown(value: Any) -> str:
    match value:
        case list():
            return " ".join(cast("list[str]", value))
        case dict():
            return ", ".join(f"{name} = {text}" for name, text in cast("dict[str, str]", value).items())
        case float():
            return f"{value:g} s"
        case _:
            return str(value)
