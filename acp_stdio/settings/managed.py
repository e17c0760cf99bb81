"""The administrator's layer: at a place that no variable moves, trusted if nobody else can write it."""

import os
import stat
import sys
from pathlib import Path

from acp_stdio.settings.sources import MAX_BYTES


def _place() -> Path:
    if sys.platform == "win32":
        from acp_stdio.settings.managed_windows import program_data

        return program_data() / "acp-stdio" / "config.toml"
    if sys.platform == "darwin":
        return Path("/Library/Application Support/acp-stdio/config.toml")
    return Path("/etc/acp-stdio/config.toml")


PLACE = _place()
"""Tests replace it; nothing else does."""

ADMINISTRATOR = 0
"""The uid that must own the file and its directory; tests, which may not be root, replace it."""


REST = 1.0
"""Seconds without a change after which a file counts as saved, as far as its own time tells."""


class UntrustedError(Exception):
    """The managed file is not, or not for sure, what the administrator wrote."""


def in_flux(place: Path, now: float, *, known: bool) -> bool:
    """Whether the managed file may be half saved: written, or taken away, less than `REST` before `now`.

    An editor that writes in place, or moves the old file away first, leaves a moment with fewer rules or none; a
    file cut between two rules is valid TOML. `now`: epoch seconds; `known`: it was there at the last look. A time
    to come proves nothing and is taken as rest, else a wrong clock would stop everything.
    """
    try:
        facts = os.stat(place)
    except OSError:
        try:
            changed = os.stat(place.parent).st_mtime if known else 0.0  # the removal
        except OSError:
            return False
    else:
        changed = facts.st_mtime
    return 0 <= now - changed < REST


def read(place: Path) -> bytes | None:
    """The managed file's content, or None where there is none.

    Raises UntrustedError if its owner or its permissions leave room for anybody else or it is empty, as a file is
    that is being written, and OSError where it is there but cannot be read: then the company's rules are unknown,
    so nothing may run.
    """
    try:
        descriptor = os.open(place, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except (FileNotFoundError, NotADirectoryError):
        return None
    with open(descriptor, "rb") as file:
        if sys.platform == "win32":
            from acp_stdio.settings.managed_windows import writers

            for path in (place, place.parent):
                if others := writers(path):
                    raise UntrustedError(f"{path} can be changed by {', '.join(others)}")
        else:
            _judge(str(place), os.fstat(descriptor))  # the open file, so that it cannot be swapped in between
            _judge(str(place.parent), place.parent.stat())
        content = file.read(MAX_BYTES + 1)
    if not content.strip():
        raise UntrustedError(f"{place} is empty. To have no rules, remove it or leave `version = 1` in it")
    return content


def _judge(path: str, facts: os.stat_result) -> None:
    if facts.st_uid != ADMINISTRATOR:
        raise UntrustedError(f"{path} belongs to user {facts.st_uid} and not to the administrator")
    if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UntrustedError(f"{path} may be written by others than its owner")
