"""Removes chains that are older than `retention`, and says in the index what they were.

A chain is a file of one day at most. Its number of records and its last hash stay in the index, which is
signed: that something was removed, and how much, can be seen for ever; what it was cannot.
"""

import time
from collections.abc import Callable
from typing import Any, Final

from acp_stdio.audit.folder import Folder
from acp_stdio.audit.index import Index

EVENT: Final = "removed"


def remove_old(folder: Folder, retention: float, may_go: Callable[[str], bool] = lambda _: True) -> int:
    """Removes each settled chain last written to more than `retention` seconds ago; how many.

    `may_go`: of a chain that somebody still waits for, False. Raises `OSError`.
    """
    before = time.time() - retention
    old = [name for name in folder.chains() if _last_written(folder, name) < before and may_go(name)]
    if not old:
        return 0
    removed = 0
    with Index(folder).held() as index:
        unsettled = set(folder.unsettled())
        for name in old:
            if name in unsettled:
                continue
            ending: dict[str, Any] = {}
            told = False
            for entry in index.entries(name):
                if entry.get("chain") == name and entry["event"] == "closed":
                    ending = entry
                told = told or (entry.get("chain") == name and entry["event"] == EVENT)
            if ending and not told:  # first the entry: after a crash the file is only removed again
                about = {key: ending[key] for key in ("chain", "records", "head", "bytes")}
                index.add(EVENT, time.time(), **about, why="retention")
            if ending or told:
                folder.file(name).unlink(missing_ok=True)
                removed += 1
    return removed


def _last_written(folder: Folder, name: str) -> float:
    try:
        return folder.file(name).stat().st_mtime
    except OSError:
        return float("inf")
