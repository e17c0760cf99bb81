"""Which program this is."""

import os
import platform
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from acp_stdio import __version__
from acp_stdio.doctor.finding import Finding, ok, warning


def look(environ: Mapping[str, str]) -> Finding:
    """Version and path; another `acp-stdio` that a shell would start first is worth a word."""
    return judge(own_executable(), shutil.which("acp-stdio", path=environ.get("PATH")))


def judge(own: Path | None, on_path: str | None) -> Finding:
    """`own`: the file that started this process, where it is one; `on_path`: what a shell would start."""
    details = {
        "version": __version__,
        "executable": str(own or ""),
        "on_path": on_path or "",
        "python": sys.executable,
        "python_version": platform.python_version(),
        "platform": sys.platform,
    }
    message = f"acp-stdio {__version__}, {own or sys.executable}, Python {platform.python_version()}"
    if own and on_path and not _same(own, Path(on_path)):
        return warning(
            f"{message}; a shell starts another one: {on_path}",
            f"Remove one of the two, or put {own.parent} first in PATH.",
            **details,
        )
    return ok(message, **details)


def own_executable() -> Path | None:
    """The `acp-stdio` file that started this process; None for `python -m acp_stdio`."""
    started = Path(sys.argv[0])
    return started.absolute() if started.stem == "acp-stdio" and started.exists() else None


def _same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return one == other
