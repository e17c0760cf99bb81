"""What a host or a server can do, in the other era's words, and the handshakes that carry it."""

from typing import Final

from msgspec import Raw

from acp_stdio import __version__
from acp_stdio.wire import methods
from acp_stdio.wire.members import encoded, joined, members, text

FORM_AND_URL: Final = "2025-11-25"
"""The legacy revision that has both kinds of elicitation, and a member that says which."""

_EMPTY: Final = Raw(b"{}")
_CLIENT_INFO: Final = encoded({"name": "acp-stdio", "version": __version__})
"""For a host that does not name itself; a legacy `initialize` must."""


def modern_client(capabilities: Raw | None, version: str, *, tasks: bool) -> dict[str, Raw]:
    """A legacy host's capabilities as they go with each modern request. With `tasks` we wait for them ourselves.

    Left out: `tasks` of the legacy core, which the extension shares a name with and nothing else (SEP-2663);
    `roots.listChanged`, since roots are asked for; URLs before the revision that has them.
    """
    kept = members(capabilities)
    kept.pop("tasks", None)
    if "roots" in kept:
        kept["roots"] = _EMPTY
    if "elicitation" in kept and version < FORM_AND_URL:
        kept["elicitation"] = _EMPTY
    extensions = members(kept.get("extensions"))
    extensions.pop(methods.TASKS_EXTENSION, None)
    if tasks:
        extensions[methods.TASKS_EXTENSION] = _EMPTY
    return _with_extensions(kept, extensions)


def legacy_client(capabilities: Raw | None) -> dict[str, Raw]:
    """A modern host's capabilities, for the `initialize` of a session."""
    kept = members(capabilities)
    extensions = members(kept.get("extensions"))
    extensions.pop(methods.TASKS_EXTENSION, None)
    return _with_extensions(kept, extensions)


def _server(capabilities: Raw | None) -> dict[str, Raw]:
    """A server's capabilities without tasks, which the eras do not share."""
    kept = members(capabilities)
    kept.pop("tasks", None)
    extensions = members(kept.get("extensions"))
    extensions.pop(methods.TASKS_EXTENSION, None)
    return _with_extensions(kept, extensions)


def _with_extensions(kept: dict[str, Raw], extensions: dict[str, Raw]) -> dict[str, Raw]:
    kept.pop("extensions", None)
    if extensions:
        kept["extensions"] = Raw(joined(extensions))
    return kept


def has_tasks(capabilities: Raw | None) -> bool:
    """Whether a modern server has the tasks extension."""
    return methods.TASKS_EXTENSION in members(members(capabilities).get("extensions"))


def merged(known: dict[str, Raw], more: dict[str, Raw]) -> dict[str, Raw]:
    """The union of two hosts' capabilities, two levels deep; `known` itself where `more` adds nothing."""
    found = dict(known)
    for name, raw in more.items():
        inner = members(found.get(name))
        if name not in found:
            found[name] = raw
        elif new := {key: value for key, value in members(raw).items() if key not in inner}:
            found[name] = Raw(joined({**inner, **new}))
    return known if found == known else found


def allows(capabilities: dict[str, Raw], method: str, params: Raw | None) -> bool:
    """Whether a host that declared these answers this question.

    `elicitation: {}` means forms alone (MCP 2025-11-25, client/elicitation).
    """
    name = methods.QUESTIONS.get(method)
    if name is None or name not in capabilities:
        return False
    if method != methods.ELICIT:
        return True
    modes = members(capabilities[name])
    return (text(members(params).get("mode")) or "form") in (modes or {"form"})


# -- handshakes ------------------------------------------------------------------------------------


def initialize_result(discovered: Raw, asked: str, upstream: str) -> bytes:
    """A `server/discover` result as the answer to a legacy `initialize`; the server's name is not required there."""
    found = members(discovered)
    parts: dict[str, Raw] = {
        "protocolVersion": encoded(emulated(asked)),
        "capabilities": Raw(joined(_server(found.get("capabilities")))),
        "serverInfo": members(found.get("_meta")).get(
            methods.META_SERVER_INFO, encoded({"name": upstream, "version": "unknown"})
        ),
    }
    if "instructions" in found:
        parts["instructions"] = found["instructions"]
    return joined(parts)


def emulated(asked: str) -> str:
    """The legacy revision that is spoken with a host that asked for this one."""
    return asked if asked in methods.LEGACY_VERSIONS else methods.LEGACY_VERSIONS[0]


def discover_result(found: dict[str, Raw]) -> bytes:
    """An `initialize` result as the answer to `server/discover`."""
    parts: dict[str, Raw] = {
        "resultType": encoded("complete"),
        "supportedVersions": encoded(methods.MODERN_VERSIONS),
        "capabilities": Raw(joined(_server(found.get("capabilities")))),
        "ttlMs": Raw(b"0"),
        "cacheScope": encoded("private"),
    }
    if "instructions" in found:
        parts["instructions"] = found["instructions"]
    if "serverInfo" in found:
        parts["_meta"] = Raw(joined({methods.META_SERVER_INFO: found["serverInfo"]}))
    return joined(parts)


def initialize_params(capabilities: dict[str, Raw], client_info: Raw | None) -> bytes:
    """What we say to open a legacy session for a modern host."""
    return joined(
        {
            "protocolVersion": encoded(methods.LEGACY_VERSIONS[0]),
            "capabilities": Raw(joined(capabilities)),
            "clientInfo": client_info if client_info is not None else _CLIENT_INFO,
        }
    )
