"""A ticket to a quick start: where the handshakes of one command line are remembered.

`initialize` is answered before settings, directories or an event loop are there (a host
waits, and may start us twice), so this finds its file with `os` and `json` alone.
The ticket holds for the same command line, environment and unchanged configuration files.
"""

import json
import os
import sys

TYPE_CHECKING = False  # not from typing, whose import would be a fifth of a start from memory
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_NAME = "starts.json"
MAX_TICKETS = 32
"""The latest command lines; a host has one for each entry."""


def cache_root(environ: "Mapping[str, str]") -> str:
    """The user's cache directory, as `settings.paths` finds it; a test compares the two.

    Empty where that would take more than this (Windows asks the shell).
    """
    home = environ.get("ACP_STDIO_HOME")
    if home:
        return os.path.join(os.path.abspath(os.path.expanduser(home)), "cache")
    if sys.platform == "darwin":
        return os.path.expanduser("~/Library/Caches/acp-stdio")
    if sys.platform == "win32":
        return ""
    base = environ.get("XDG_CACHE_HOME", "")
    return os.path.join(base if base.strip() else os.path.expanduser("~/.cache"), "acp-stdio")


def key(argv: list[str], environ: "Mapping[str, str]") -> str:
    """What makes two starts the same."""
    ours = sorted((k, v) for k, v in environ.items() if k.startswith("ACP_STDIO_"))
    return "\0".join([*argv, *(f"{k}={v}" for k, v in ours)])


def fingerprint(paths: list[str]) -> "list[list[Any]]":
    """The state of the configuration files, also of those that do not exist."""
    found: list[list[Any]] = []
    for path in paths:
        try:
            s = os.stat(path)
            found.append([path, s.st_mtime_ns, s.st_ctime_ns, s.st_size, s.st_ino])
        except OSError:
            found.append([path, 0, 0, 0, 0])
    return found


def handshakes(argv: list[str], environ: "Mapping[str, str]") -> dict[str, str]:
    """The remembered handshakes for this start; empty where it is not a known one."""
    root = cache_root(environ)
    if not root:
        return {}
    try:
        with open(os.path.join(root, _NAME), "rb") as file:
            ticket = json.load(file)[key(argv, environ)]
        if fingerprint([row[0] for row in ticket["files"]]) != ticket["files"]:
            return {}
        with open(ticket["handshakes"], "rb") as file:
            return dict(json.load(file))
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def remember(argv: list[str], environ: "Mapping[str, str]", files: list[str], path: str) -> None:
    """Writes the ticket, where it is not there already."""
    root = cache_root(environ)
    if not root:
        return
    name = os.path.join(root, _NAME)
    ticket = {"files": fingerprint(files), "handshakes": path}
    try:
        with open(name, "rb") as file:
            tickets = dict(json.load(file))
    except (OSError, ValueError, TypeError):
        tickets = {}
    if tickets.get(key(argv, environ)) == ticket:
        return
    tickets = dict(list(tickets.items())[-MAX_TICKETS:]) | {key(argv, environ): ticket}
    draft = f"{name}.{os.getpid()}.tmp"
    try:
        os.makedirs(root, mode=0o700, exist_ok=True)
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(tickets, file)
        os.replace(draft, name)
    except OSError:
        pass  # the next start is a slower one, nothing else
