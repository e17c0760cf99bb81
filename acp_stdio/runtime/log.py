"""Our own log. Hosts keep what we write to stderr in files that people paste into issues."""

import contextlib
import logging
import logging.handlers
from pathlib import Path
from typing import Final

MAX_BYTES: Final = 1024 * 1024
KEPT: Final = 3


def log_to(directory: Path) -> logging.Logger:
    """The program's logger, writing to `<directory>/acp-stdio.log`; to nothing where that cannot be written.

    It is given words and reasons only: no frame, no header, no token.
    """
    logger = logging.getLogger("acp_stdio")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    with contextlib.suppress(OSError):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = directory / "acp-stdio.log"
        path.touch(mode=0o600)
        handler = logging.handlers.RotatingFileHandler(
            path, maxBytes=MAX_BYTES, backupCount=KEPT, delay=True, encoding="utf-8"
        )
        handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(levelname)s %(message)s"))
        logger.addHandler(handler)
    return logger
