"""Whom the administrator has revoked, as the managed file says now."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

from acp_stdio.errors import Failure
from acp_stdio.settings import managed
from acp_stdio.settings.sources import Problems, parse

KEY: Final = "revoked"
"""A list of user keys: the claims of `user_key`, joined with `/`, as `status --json` shows them."""

_Signature = tuple[int, int, int, int, int]


class Revocations:
    """For a process that lives while the administrator changes the file."""

    def __init__(self, look: Callable[[Path], os.stat_result] = os.stat) -> None:
        """`look`: how it looks at the file."""
        self._look = look
        self._seen: _Signature | None = None
        self._keys: frozenset[str] = frozenset()

    def names(self, user_key: str) -> bool:
        """Whether that person is revoked. Raises `Failure(configuration_invalid)` where nobody can tell."""
        try:
            status = self._look(managed.PLACE)
        except (FileNotFoundError, NotADirectoryError):
            self._seen, self._keys = None, frozenset()
            return False
        except OSError as error:
            raise _unknown(error.strerror or "I/O error") from None
        # With the time of the status change: owner and permissions count, too.
        signature = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_mode)
        if signature != self._seen:
            self._keys = _read()
            self._seen = signature
        return user_key in self._keys


def _read() -> frozenset[str]:
    problems = Problems()
    try:
        content = managed.read(managed.PLACE)
    except (managed.UntrustedError, OSError) as error:
        raise _unknown(str(error)) from None
    if content is None:
        return frozenset()
    listed: object = parse(managed.PLACE, content, problems).data.get(KEY, [])
    problems.stop_if_any()
    if not isinstance(listed, list):
        raise _unknown(f"{KEY} is not a list")
    return frozenset(str(each) for each in cast("list[object]", listed))


def revoked_failure() -> Failure:
    """The refusal for somebody whom the administrator has revoked."""
    return Failure(
        "denied",
        "Your administrator has withdrawn your access on this computer.",
        "If that is a mistake, ask whoever administers it.",
    )


def _unknown(why: str) -> Failure:
    return Failure(
        "configuration_invalid",
        f"The managed configuration {managed.PLACE} cannot be trusted or read, so nothing may leave: {why}.",
        "Ask whoever administers this computer.",
    )
