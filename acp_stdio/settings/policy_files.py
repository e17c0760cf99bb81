"""The rules as they stand now: two looks at the file system a call, a reading only after a change."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from acp_stdio.errors import Failure
from acp_stdio.settings import managed
from acp_stdio.settings.load import read_policy, read_sources
from acp_stdio.settings.model import Settings
from acp_stdio.settings.signed_rules import Signed, files, naming, read
from acp_stdio.settings.sources import Problems

if TYPE_CHECKING:
    from acp_stdio.policy.rules import Policy

_Signature = tuple[int, int, int, int]
_NOTHING: _Signature = (0, 0, 0, 0)


class PolicyFiles:
    """The `[policy]` tables of the administrator's file and of one user file.

    Measured on two busy cores: 10 us where nothing changed, 4 ms for a changed file of 20 rules, once; asking the
    20 rules about a call takes 80 us.
    """

    def __init__(self, user: Path, state: Path, look: Callable[[Path], os.stat_result] = os.stat) -> None:
        """`state`: the user's, where is kept which signed rules were seen. `look`: how it looks at the files."""
        self._stat = look
        self._user = user
        self._state = state
        self._signed: tuple[Path, ...] = ()
        """The signed rules and their signature, where the administrator's file names them."""
        self._seen: tuple[_Signature, ...] = ()
        self._policy: Policy | None = None
        self._failure: Failure | None = None

    def current(self) -> "Policy | None":
        """The policy in force; None where no file has one.

        Raises `Failure("configuration_invalid")` where a file cannot be read, trusted or understood, until that
        changes: what the rules would say is not known then.
        """
        seen = self._look()
        if seen != self._seen:
            if managed.in_flux(managed.PLACE, time.time(), known=self._seen[:1] not in ((), (_NOTHING,))):
                raise _half_saved()  # and not remembered: the next call looks again
            if seen[1] == _NOTHING and self._has_user_rules():
                raise _gone(self._user)  # as an editor leaves it for a moment between two versions
            self._read(seen[:2])
        if self._failure is not None:
            raise self._failure
        return self._policy

    def _has_user_rules(self) -> bool:
        return self._policy is not None and any(layer.name == "user" for layer in self._policy.layers)

    def _look(self) -> tuple[_Signature, ...]:
        return tuple([self._signature(path) for path in (managed.PLACE, self._user, *self._signed)])

    def _signature(self, path: Path) -> _Signature:
        """What changes with the content, the owner or the permissions."""
        try:
            facts = self._stat(path)
        except OSError:
            return _NOTHING
        return facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size

    def _read(self, seen: tuple[_Signature, ...]) -> None:
        """Remembers looks that are older than what was read or equal to it: a write in between is seen next time."""
        problems = Problems()
        try:
            sources = read_sources(managed.PLACE, self._user, required=False, problems=problems)
            self._signed = files(sources)
            seen += self._look()[2:]
            policy = read_policy(sources, problems, self._state)
            problems.stop_if_any()
        except Failure as failure:
            said = f"The rules about calls cannot be read, so nothing passes. {failure.message}"
            self._failure = Failure(failure.reason, said, "Correct the file, or show this to who manages it.")
            if self._signed:
                seen = seen[:1]  # tried anew by the next call: the state directory may have been full
        else:
            self._policy, self._failure = policy, None
        self._seen = seen


def signed_rules_of(settings: Settings) -> Signed | None:
    """By whom the rules in force are signed; None where nobody has. The settings were read without a problem."""
    problems = Problems()
    named = naming(read_sources(managed.PLACE, settings.user_file, required=False, problems=problems))
    return read(named, settings.paths.state, problems) if named is not None else None


def _half_saved() -> Failure:
    return Failure(
        "configuration_invalid",
        f"The rules about calls cannot be read, so nothing passes. {managed.PLACE} was changed less than a second "
        f"ago and may be half saved.",
        "Try again in a second.",
    )


def _gone(user: Path) -> Failure:
    return Failure(
        "configuration_invalid",
        f"The rules about calls cannot be read, so nothing passes. {user}, which had some, is gone.",
        "Put it back; if nobody wants its rules any more, quit and reopen the host.",
    )
