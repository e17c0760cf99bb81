"""Files that belong to this user alone: no links, no other owner, nobody else's permissions.

Windows keeps access lists instead of modes and protects a user's profile with them; there only
the kind of the file is looked at.
"""

import base64
import binascii
import os
import stat
from pathlib import Path
from typing import Final

from acp_stdio.settings.paths import private_dir

KEY_BYTES: Final = 32
_POSIX: Final = hasattr(os, "getuid")


class Unfit(Exception):
    """A file is not fit for its use; the text says why and never quotes the content."""


def read_own(path: Path, most: int) -> bytes:
    """The content, at most `most` bytes. Raises `Unfit`, or `FileNotFoundError` where there is none."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        file = os.open(path, flags)
    except FileNotFoundError:
        raise
    except OSError as e:
        raise Unfit(f"{path} cannot be opened: {e.strerror}") from None
    with os.fdopen(file, "rb") as opened:
        facts = os.fstat(opened.fileno())  # of what was opened: a path may be swapped after a look at it
        if not stat.S_ISREG(facts.st_mode):
            raise Unfit(f"{path} is not a regular file")
        if _POSIX and facts.st_uid != os.getuid():
            raise Unfit(f"{path} belongs to another user")
        if _POSIX and facts.st_mode & 0o077:
            raise Unfit(f"{path} is open to others; its mode must be 0600")
        if facts.st_size > most:
            raise Unfit(f"{path} is larger than {most} bytes")
        try:
            return opened.read(most)
        except OSError as e:
            raise Unfit(f"{path} cannot be read: {e.strerror}") from None


def read_key(path: Path) -> bytes:
    """32 bytes, from a file of our own that holds them as base64. Raises `Unfit`."""
    try:
        key = base64.b64decode(read_own(path, 1024).strip(), validate=True)
    except FileNotFoundError:
        raise Unfit(f"there is no key file {path}") from None
    except binascii.Error:
        key = b""
    if len(key) != KEY_BYTES:
        raise Unfit(f"the key file {path} does not hold {KEY_BYTES} bytes as base64")
    return key


def own_directory(path: Path) -> None:
    """Creates `path` 0700 where it is missing. Raises `Unfit` where others may write to it."""
    try:
        facts = private_dir(path).stat()
    except OSError as e:
        raise Unfit(f"the directory {path} cannot be made: {e.strerror}") from None
    if _POSIX and (facts.st_uid != os.getuid() or facts.st_mode & 0o022):
        raise Unfit(f"the directory {path} is not ours alone; its mode must be 0700")


def sync_directory(path: Path) -> None:
    """Makes a rename or removal in `path` last over a power cut, where the system can."""
    if _POSIX:
        file = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
