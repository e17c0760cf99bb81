"""Other people's entries: which one leads to the same server, and which one holds a credential.

Nothing here returns any part of a value: what looks like a credential is named by its place.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import parse_qsl, urlsplit

_SECRET_NAME: Final = re.compile(
    r"(?i)(?:^|[-_.])(?:auth\w*|bearer|cookie|credentials?|passw(?:or)?d|pwd|pat|secret|token|jwt|(?:api|access|private)?[-_]?key)s?(?:$|[-_.])"
    r"|apikey|accesskey|accesstoken"
)
_SECRET_SHAPE: Final = re.compile(
    r"(?i:bearer|basic)\s+\S{6,}|\b(?:sk|pk|rk|gh[opsu]|github_pat|glpat|xox[abpors]|AKIA|AIza|eyJ)[-_A-Za-z0-9.]{12,}"
)
_LONG: Final = re.compile(r"(?=[^\s/\\]*\d)(?=[^\s/\\]*[A-Za-z])[A-Za-z0-9+=_-]{32,}")
_REFERENCE: Final = re.compile(r"\s*(?:(?i:bearer|basic)\s+)?(?:\$\{[^}]*\}|\$\w+|%\w+%|<[^>]*>)?\s*")
_URL: Final = re.compile(r"https?://[^\s\"'<>]+", re.IGNORECASE)
_HEADER_FLAG: Final = re.compile(r"(?:-H|--?headers?)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Rival:
    """An entry that is not ours and that the person should know of."""

    name: str
    same_url: bool
    same_name: bool
    """It has the name that ours would have."""
    credential: str
    """Where in the entry a credential seems to be; "" where none was seen."""


def leads_to(entry: object, url: str) -> bool:
    """Whether any text of the entry holds the upstream's address; a query, or a slash at the end, is no matter."""
    wanted = _plain(url)
    return any(_plain(found) == wanted for text in _texts(entry) for found in _URL.findall(text))


def credential_in(entry: object) -> str:
    """The place of what looks like a static credential, in words; "" for none. References to variables are none."""
    if not isinstance(entry, dict):
        return ""
    held = cast("dict[str, Any]", entry)
    for key, words in (("env", "the variable {}"), ("headers", "a header")):
        values = held.get(key)
        for name, value in cast("dict[str, Any]", values).items() if isinstance(values, dict) else ():
            if _is_secret(name, value):
                return words.format(name)
    args = held.get("args")
    listed = [w for w in cast("list[object]", args) if isinstance(w, str)] if isinstance(args, list) else []
    for place, word in enumerate(listed):
        flag, equals, value = word.partition("=")
        if not equals:
            value = listed[place + 1] if place + 1 < len(listed) else ""
        if _HEADER_FLAG.fullmatch(flag):
            header, _, content = value.partition(":")
            if _is_secret(header.strip(), content):
                return "a header in its arguments"
        elif flag.startswith("-") and not value.startswith("-") and _is_secret(flag, value):
            return "an option in its arguments"
        elif not flag.startswith("-") and (_SECRET_SHAPE.search(word) or _LONG.fullmatch(word)):
            return "its arguments"
    addresses = [text for text in (*listed, held.get("url")) if isinstance(text, str)]
    if any(_carries(found) for text in addresses for found in _URL.findall(text)):
        return "its address"
    return ""


def _is_secret(name: str, value: object) -> bool:
    if not isinstance(value, str) or _REFERENCE.fullmatch(value) or _URL.fullmatch(value):
        return False
    return bool(_SECRET_NAME.search(name) or _SECRET_SHAPE.search(value) or _LONG.fullmatch(value))


def _carries(url: str) -> bool:
    """A password before the host, or a secret in the query."""
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError:
        return False
    return bool(password and not _REFERENCE.fullmatch(password)) or any(
        _is_secret(name, value) for name, value in parse_qsl(parts.query)
    )


def _plain(url: str) -> tuple[str, str, int | None, str]:
    try:
        parts = urlsplit(url.rstrip(",;)]}"))
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme.lower())
    except ValueError:
        return "", "", None, url
    return parts.scheme.lower(), (parts.hostname or "").lower(), port, parts.path.rstrip("/")


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in cast("dict[str, object]", value).values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in cast("list[object]", value):
            yield from _texts(inner)
