"""Keeps the details of an unexpected failure in a log, with everything that could be a token taken out."""

import os
import re
import time
import traceback
from collections.abc import Mapping

from acp_stdio import __version__
from acp_stdio.settings.paths import private_dir, user_paths

_LIMIT = 1_000_000
"""Bytes after which the log starts anew."""

_NAMED = re.compile(
    r"(?i)\b([\w-]*(?:token|code|secret|password|assertion|verifier|state|nonce|authorization|bearer))"
    r"(['\"]?\s*[=: ]\s*['\"]?(?:bearer\s+)?)[^\s&'\",;)}\]]+"
)
_LONG = re.compile(r"(?<![\w/.\\-])[A-Za-z0-9_~+%=-]{20,}(?:\.[A-Za-z0-9_~+%=-]+)*")


def scrub(text: str) -> str:
    """`text` with values of secret-sounding names and long opaque words replaced by dots."""
    return "\n".join(
        line
        if line.lstrip().startswith('File "')
        else _LONG.sub(
            lambda m: m[0] if m[0].isidentifier() and m[0].islower() else "•••", _NAMED.sub(r"\1\2•••", line)
        )
        for line in text.split("\n")
    )


def record(error: BaseException, environ: Mapping[str, str]) -> str:
    """Appends the scrubbed traceback to `<log>/acp-stdio.log` (0600); its path, or "" if that failed."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    text = "".join(traceback.format_exception(error))
    try:
        path = private_dir(user_paths(dict(environ)).log) / "acp-stdio.log"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
        if path.exists() and path.stat().st_size > _LIMIT:
            flags |= os.O_TRUNC
        with os.fdopen(os.open(path, flags, 0o600), "a", encoding="utf-8") as log:
            log.write(f"--- {now} acp-stdio {__version__}\n{scrub(text)}\n")
    except OSError:
        return ""
    return str(path)
