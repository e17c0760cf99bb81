"""Rooms import rooms below them only, pure rooms touch nothing, and the far side stays apart."""

import ast

import pytest

from tests.architecture.walk import dotted, imports, modules, shown, tree

LEVELS = {
    "errors": 0,
    "secrets": 0,
    "policy": 0,
    "wire": 1,
    "identity": 1,
    "settings": 1,
    "oauth": 2,
    "vault": 2,
    "backend": 2,
    "catalogue": 2,
    "audit": 3,
    "tokens": 4,
    "upstream": 4,
    "downstream": 4,
    "relay": 4,
    "login": 5,
    "hosts": 5,
    "probe": 5,
    "runtime": 6,
    "doctor": 6,
    "cli": 7,
    "demo": 7,
    "__main__": 8,
}
"""A room may import rooms of lower levels and itself."""

FAR_SIDE = {"errors", "secrets", "wire", "identity"}
"""All that `backend` may import: it runs on other people's servers, which have no use for a proxy."""

DOORS = {("cli", "demo"): "the command `acp-stdio demo` opens it"}
"""The only ways between rooms of one level."""

PURE = {
    "wire": frozenset[str](),
    "relay": frozenset[str](),
    "policy": frozenset({"decimal", "difflib"}),  # arguments are compared as they are written; a change is shown
    "identity": frozenset({"jwt"}),  # claim checks are its work; they read nothing but what they are given
}
"""Rooms without I/O, clock or randomness, and what each may import beside `HARMLESS`."""

HARMLESS = frozenset(
    {
        "__future__",
        "abc",
        "base64",
        "binascii",
        "collections",
        "contextlib",
        "dataclasses",
        "enum",
        "functools",
        "hashlib",
        "hmac",
        "itertools",
        "json",
        "math",
        "msgspec",
        "operator",
        "re",
        "string",
        "types",
        "typing",
        "typing_extensions",
        "unicodedata",
        "urllib.parse",
    }
)
IMPURE_CALLS = {"open", "print", "input"}


def room(name: str) -> str:
    """The room of a dotted name; the package itself holds only its version."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "acp_stdio" else ""


def forbidden(importer: str, imported: str) -> str:
    """Why one room may not import another, or nothing."""
    if importer == imported or (importer, imported) in DOORS:
        return ""
    if importer == "backend" and imported not in FAR_SIDE:
        return f"the kit for servers imports the proxy's {imported}"
    if imported == "backend" and importer != "demo":
        return f"{importer} imports the kit for servers"
    if LEVELS[imported] < LEVELS[importer]:
        return "" if imported != "demo" else "the demo is imported by nobody"
    return f"{importer} (level {LEVELS[importer]}) imports {imported} (level {LEVELS[imported]})"


def test_every_room_has_a_level() -> None:
    assert {room(dotted(path)) for path in modules()} - {""} <= set(LEVELS)


def test_a_room_imports_only_rooms_below_it() -> None:
    wrong: list[str] = []
    for path in modules():
        here = room(dotted(path))
        for line, name in imports(tree(path)):
            there = room(name)
            if there in LEVELS and (why := forbidden(here, there) if here else "the package imports a room"):
                wrong.append(f"{shown(path)}:{line}: {why}")
    assert not wrong, "\n".join(wrong)


def test_a_pure_room_has_no_way_to_the_world() -> None:
    wrong: list[str] = []
    for path in modules():
        extra = PURE.get(room(dotted(path)))
        if extra is None:
            continue
        for line, name in imports(tree(path)):
            parts = name.split(".")
            if not {parts[0], ".".join(parts[:2])} & (HARMLESS | extra | {"acp_stdio"}):
                wrong.append(f"{shown(path)}:{line}: imports {name}")
        wrong += [
            f"{shown(path)}:{node.lineno}: calls {node.func.id}"
            for node in ast.walk(tree(path))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS
        ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("relay", "wire", True),
        ("relay", "upstream", False),
        ("identity", "settings", False),
        ("settings", "oauth", False),
        ("runtime", "demo", False),
        ("cli", "demo", True),
        ("__main__", "demo", False),
        ("demo", "cli", False),
        ("vault", "vault", True),
        ("backend", "identity", True),
        ("backend", "settings", False),
        ("runtime", "backend", False),
        ("demo", "backend", True),
    ],
)
def test_the_rule_itself_tells_up_and_sideways_from_down(importer: str, imported: str, allowed: bool) -> None:
    assert (not forbidden(importer, imported)) is allowed
