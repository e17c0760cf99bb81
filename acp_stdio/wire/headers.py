"""The HTTP headers that MCP 2026-07-28 derives from a request (basic/transports/streamable-http).

Everything a host or a server chose goes through `encode_value` or is checked, so that no value can
end its line and begin another (CWE-113); `header_block` looks once more.
"""

import base64
import re
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, cast

ANNOTATION: Final = "x-mcp-header"
PARAM_PREFIX: Final = "Mcp-Param-"

Path = tuple[str, ...]
"""Property names from the schema's root to a property, and so from `arguments` to its value."""

_PLAIN = re.compile(r"(?:[!-~](?:[\t -~]*[!-~])?)?")
_SENTINEL = re.compile(r"=\?base64\?.*\?=")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BLOCK = re.compile(r"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+: [\t -~\x80-\xff]*\r\n)*")

_NAMED_BY: Final = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}
_TYPES: Final = ("string", "integer", "boolean")

# JSON Schema keywords (2020-12, and draft-07's where they differ) below which further schemas lie. What
# they hold is not always present, so an annotation there is an error. `enum`, `const`, `default` and
# `examples` hold data, in which the annotation's name means nothing.
_SCHEMAS: Final = (
    *("items", "prefixItems", "additionalItems", "unevaluatedItems", "contains", "contentSchema"),
    *("additionalProperties", "unevaluatedProperties", "propertyNames"),
    *("allOf", "anyOf", "oneOf", "not", "if", "then", "else"),
)
_NAMED_SCHEMAS: Final = ("patternProperties", "dependentSchemas", "dependencies", "$defs", "definitions")


class _Step(NamedTuple):
    """A property that the root always reaches; linked, so that depth costs memory once and not squared."""

    parent: "_Step | None"
    name: str

    def path(self) -> Path:
        names: list[str] = []
        step = self
        while step.parent is not None:
            names.append(step.name)
            step = step.parent
        return tuple(reversed(names))


class InvalidAnnotation(ValueError):
    """A tool's `x-mcp-header` breaks the rules; the tool must not be offered (server/tools)."""


def encode_value(value: str) -> str:
    """`value` itself where HTTP carries it unchanged, else `=?base64?…?=` of its UTF-8 bytes."""
    if _PLAIN.fullmatch(value) and not _SENTINEL.fullmatch(value):
        return value
    # A lone surrogate, which JSON can spell, becomes bytes that no server takes for another name.
    return f"=?base64?{base64.b64encode(value.encode('utf-8', 'surrogatepass')).decode('ascii')}?="


def request_headers(method: str, version: str, params: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """`MCP-Protocol-Version`, `Mcp-Method` and, for methods that name something, `Mcp-Name`.

    Version and method are plain in every revision; should a host send others, encoding them makes the
    server refuse a request that it would have refused anyway.
    """
    headers = [("MCP-Protocol-Version", encode_value(version)), ("Mcp-Method", encode_value(method))]
    named_by = _NAMED_BY.get(method)
    if named_by is not None and params is not None:
        name = params.get(named_by)
        if isinstance(name, str):
            headers.append(("Mcp-Name", encode_value(name)))
    return headers


def header_annotations(input_schema: Mapping[str, Any]) -> dict[Path, str]:
    """Which arguments of a tool travel as headers: path to the name after `Mcp-Param-`.

    Raises `InvalidAnnotation` with the reason, if any annotation in the schema is not allowed.
    """
    found: dict[Path, str] = {}
    names: set[str] = set()
    pending: deque[tuple[_Step | None, Any]] = deque([(_Step(None, ""), input_schema)])
    while pending:  # a queue, not recursion: the server chooses the depth
        step, node = pending.popleft()
        if isinstance(node, list):
            pending.extend((None, item) for item in cast(list[Any], node))
        if not isinstance(node, Mapping):
            continue
        schema = cast(Mapping[str, Any], node)
        if ANNOTATION in schema:
            path = step.path() if step is not None else ()
            token = _checked(path, schema)
            if token.lower() in names:
                raise InvalidAnnotation(f"{ANNOTATION} {token!r} is used twice")
            names.add(token.lower())
            found[path] = token
        for keyword, value in schema.items():
            if keyword in _SCHEMAS:
                pending.append((None, value))
            elif keyword == "properties" and isinstance(value, Mapping):
                for name, sub in cast(Mapping[str, Any], value).items():
                    pending.append((_Step(step, name) if step is not None else None, sub))
            elif keyword in _NAMED_SCHEMAS and isinstance(value, Mapping):
                pending.extend((None, sub) for sub in cast(Mapping[str, Any], value).values())
    return found


def _checked(path: Path, schema: Mapping[str, Any]) -> str:
    if not path:
        raise InvalidAnnotation(f"{ANNOTATION} is not on a property that the root reaches through `properties`")
    where = ".".join(path)
    token, kind = schema[ANNOTATION], schema.get("type")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise InvalidAnnotation(f"{ANNOTATION} of {where!r} is not a header name (RFC 9110 section 5.6.2)")
    if kind not in _TYPES:
        raise InvalidAnnotation(f"{ANNOTATION} of {where!r} is on a type other than string, integer and boolean")
    return token


def param_headers(annotations: Mapping[Path, str], arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
    """`Mcp-Param-*` for the annotated arguments that are present and not null."""
    headers: list[tuple[str, str]] = []
    for path, token in annotations.items():
        value: Any = arguments
        for name in path:
            value = cast(Mapping[str, Any], value).get(name) if isinstance(value, Mapping) else None
        text = _text(value)
        if text is not None:
            headers.append((PARAM_PREFIX + token, encode_value(text)))
    return headers


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)  # JSON's 42.0 is an integer
    if isinstance(value, int):
        try:
            return str(value)
        except ValueError:  # more digits than Python converts, so far beyond the 2^53 that MCP allows
            return None
    return None


def header_block(headers: Iterable[tuple[str, str]]) -> bytes:
    """The lines of a request's head. Raises `ValueError` for what is not one header each."""
    lines = [f"{name}: {value}\r\n" for name, value in headers]
    text = "".join(lines)
    if not _BLOCK.fullmatch(text) or text.count("\n") != len(lines):
        raise ValueError("a header's name or value holds characters that HTTP does not carry")
    return text.encode("latin-1")


def header_text(text: str) -> str:
    """What a host says of itself, made safe for one header: printable ASCII without parentheses."""
    return "".join(c if c.isascii() and c.isprintable() and c not in "()/\\" else "_" for c in text)[:64]
