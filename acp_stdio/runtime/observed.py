"""What the operating system says about the program that started us."""

import os
import sys
from functools import cache


@cache
def executable_of(parent: int) -> str:
    """The path of the parent's program; empty where the system does not say it, or the parent is gone.

    Linux only: `/proc/PID/exe` is the kernel's own word and no argument of the program. A launcher in between
    (`uvx`, a shell) is what is seen then. macOS and Windows: not implemented, so nothing is observed there.
    """
    if sys.platform != "linux" or os.getppid() != parent:
        return ""
    try:
        path = os.readlink(f"/proc/{parent}/exe")
    except OSError:  # another user's process, or a container without /proc
        return ""
    return path if os.getppid() == parent else ""  # a number can be another process's by now
