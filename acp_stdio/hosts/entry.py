"""Our entry in a host's file: what it says, and how one is told from other people's."""

import os
import re
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from acp_stdio.errors import Failure

_MOVES: Final = {"XDG_CONFIG_HOME": ".config", "XDG_STATE_HOME": ".local/state", "XDG_CACHE_HOME": ".cache"}
"""Variables that move our directories, with their defaults: hosts pass none of them on."""

MANAGED: Final = ("ACP_STDIO_HOME", *_MOVES)
"""The variables in an entry's `env` that are ours to change."""

_WITH_VALUE: Final = ("--config", "--profile")
_PASSING: Final = {"cache", ".cache", "caches", "tmp", "temp", "archive-v0"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """The entry for one upstream, or for several together."""

    name: str
    """What the host will call it."""
    urls: tuple[str, ...]
    profile: str
    targets: frozenset[str]
    """The words behind `run` that mean the same, as `serves` tells them; "" is none at all."""
    command: str
    args: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict[str, str])
    instead_of: frozenset[str] = frozenset()
    """The words of those entries of ours that serve an upstream twice once this one is there."""

    def makes_spare(self, entry: object) -> bool:
        """Whether `entry` is ours and not needed beside this one."""
        return is_ours(entry) and serves(entry) in {(target, self.profile) for target in self.instead_of}

    def is_in(self, entry: object) -> bool:
        """Whether `entry` is ours and serves the same under this profile."""
        return is_ours(entry) and serves(entry) in {(target, self.profile) for target in self.targets}


def arguments(targets: Sequence[str], config: str | None, profile: str) -> tuple[str, ...]:
    """The words behind the command: the same for everybody who leaves things as they are.

    Companies allow servers by their exact words, so nothing is said that is the default.
    """
    named = (*(("--config", config) if config else ()), *(("--profile", profile) if profile != "default" else ()))
    return ("run", *targets, *named)


def environment(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    """The variables without which a process in a host's small environment would look for our files elsewhere."""
    if ours := environ.get("ACP_STDIO_HOME"):
        return {"ACP_STDIO_HOME": str(Path(ours).expanduser().absolute())}
    moved = {name: environ.get(name, "") for name in _MOVES} if sys.platform != "win32" else {}
    return {n: v for n, v in moved.items() if os.path.isabs(v) and Path(v) != home / _MOVES[n]}


def is_ours(entry: object) -> bool:
    """Whether an entry starts `acp-stdio run`."""
    command = _get(entry, "command")
    words = _get(entry, "args")
    if not isinstance(command, str) or not isinstance(words, list) or cast("list[object]", words)[:1] != ["run"]:
        return False
    return _is_our_name(command) or (os.path.isabs(command) and _is_our_name(os.path.realpath(command)))


def serves(entry: object) -> tuple[str, str]:
    """The targets of an entry of ours, with a space between several, and its profile."""
    env = _get(entry, "env")
    values = {"--profile": str(_get(env, "ACP_STDIO_PROFILE") or "default")}
    targets: list[str] = []
    words = iter([word for word in cast("list[object]", _get(entry, "args"))[1:] if isinstance(word, str)])
    for word in words:
        flag, equals, value = word.partition("=")
        if flag in _WITH_VALUE:
            values[flag] = value if equals else next(words, "")
        elif not word.startswith("-"):
            targets.append(word)
    return " ".join(targets), values["--profile"]


def _is_our_name(command: str) -> bool:
    name = re.split(r"[/\\]", command)[-1].lower()
    return name.removesuffix(".exe") == "acp-stdio"


def _get(holder: object, key: str) -> Any:
    return cast("dict[str, Any]", holder).get(key) if isinstance(holder, dict) else None


def this_executable() -> Path:
    """The program of the installation that runs now.

    Raises `Failure` configuration_invalid where it has none, such as a source tree.
    """
    scripts = [Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))]
    scripts.append(Path(sysconfig.get_path("scripts", sysconfig.get_preferred_scheme("user"))))
    return executable_in(scripts, windows=sys.platform == "win32")


def executable_in(scripts: Iterable[Path], *, windows: bool) -> Path:
    """The first `acp-stdio` program in these directories, as an absolute path. Raises like `this_executable`."""
    tried: list[str] = []
    for directory in scripts:
        path = (directory / ("acp-stdio.exe" if windows else "acp-stdio")).absolute()
        if path.is_file() and os.access(path, os.X_OK):
            return path
        tried.append(str(path))
    raise Failure(
        "configuration_invalid",
        "This acp-stdio is not installed as a program, so a host could not start it. Looked at:\n"
        + "\n".join(dict.fromkeys(tried)),
        "Install it, for example with `pip install .`, and run `acp-stdio install` from there.",
    )


def is_passing(executable: Path) -> bool:
    """Whether the program lies where things are cleaned away: a cache of uvx or pipx, a temporary folder."""
    folders = {part.lower() for part in executable.parts[:-1]}
    return bool(folders & _PASSING) or executable.is_relative_to(tempfile.gettempdir())
