"""Processes that make calls with nothing but the trail, and die by SIGKILL at any step, also within a write.

The program (`python tests/kit/trail_crash.py FOLDER SEED WORLDS`) forks: a new process takes two milliseconds.
Each world is a folder `FOLDER/N/audit` in which processes follow, or run beside, each other; what left them for
the upstream stands in `FOLDER/N/left`, a line a call. The last process of each world is not killed.
"""

import fcntl
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from acp_stdio.audit import trail as trail_module
from acp_stdio.audit.record import Context, Record, call_record, record_id
from acp_stdio.audit.trail import Trail

AT_ONCE: Final = 50
STEPS: Final = 70
"""A process of four calls takes about so many, and some more where it settles others."""


class _Death:
    """Counts the steps by which this process changes the world, and ends it at one of them."""

    def __init__(self, at: int, how: str) -> None:
        self._left, self._how = at, how

    def install(self) -> None:
        for owner, word in (
            (os, "open"),
            (os, "ftruncate"),
            (os, "unlink"),
            (os, "mkdir"),
            (os, "close"),
            (fcntl, "flock"),
        ):
            self._wrap(owner, word)
        write = os.write

        def torn(file: int, data: bytes) -> int:
            if self._is_now():
                if self._how == "within":
                    write(file, data[: len(data) // 2])
                elif self._how == "after":
                    write(file, data)
                self._die()
            return write(file, data)

        os.write = torn

    def _wrap(self, owner: Any, word: str) -> None:
        original: Callable[..., Any] = getattr(owner, word)

        def counted(*args: Any, **more: Any) -> Any:
            if self._is_now():
                if self._how == "after":
                    original(*args, **more)
                self._die()
            return original(*args, **more)

        setattr(owner, word, counted)

    def _is_now(self) -> bool:
        self._left -= 1
        return self._left == 0

    def _die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def _call(event: str, call: str) -> Record:
    who = Context({"sub": "alice"}, "laptop", "finance")
    return call_record(
        event,
        who,
        record=record_id(),
        call=call,
        now=time.time(),
        method="tools/call",
        tool="report",
        agent=("claude-ai", "1"),
        arguments_bytes=2,
        trace="t",
        token=None,
    )


def work(world: Path, calls: int) -> None:
    """One process's life: each call leaves after its intent, and its outcome follows."""
    trail = Trail(world / "audit")
    trail.settle()
    waiting: list[str] = []
    for number in range(calls):
        call = record_id()
        trail.append(_call("call.intent", call))
        with (world / "left").open("a", encoding="ascii") as left:
            left.write(f"{call}\n")
        waiting.append(call)
        if number % 3:  # some overlap
            trail.append({**_call("call.outcome", waiting.pop(0)), "outcome": "ok", "reason": ""})
    for call in waiting:
        trail.append({**_call("call.outcome", call), "outcome": "ok", "reason": ""})
    trail.close()


def _forked(act: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            act()
            code = 0
        finally:
            os._exit(code)
    return child


def _one_after_the_other(world: Path, chance: random.Random) -> int:
    """Each dies at a step of its own choice; how many were killed."""
    killed = 0
    for _ in range(10):
        step, how = chance.randrange(1, STEPS), chance.choice(("before", "within", "after"))

        def mortal(step: int = step, how: str = how) -> None:
            _Death(step, how).install()
            work(world, 4)

        _, status = os.waitpid(_forked(mortal), 0)
        assert os.WIFSIGNALED(status) or status == 0, "a process failed that was not killed"
        killed += os.WIFSIGNALED(status)
    return killed


def _all_at_once(world: Path, chance: random.Random) -> int:
    """Killed from outside, at a moment that nobody chose."""
    doomed = [_forked(lambda: work(world, 1_000_000)) for _ in range(AT_ONCE * 4 // 5)]
    children = [*doomed, *(_forked(lambda: work(world, 100)) for _ in range(AT_ONCE - len(doomed)))]
    for child in chance.sample(doomed, len(doomed)):
        time.sleep(chance.random() / 50)
        os.kill(child, signal.SIGKILL)
    ends = [os.waitpid(child, 0)[1] for child in children]
    assert all(os.WIFSIGNALED(end) or end == 0 for end in ends), "a process failed that was not killed"
    return sum(os.WIFSIGNALED(end) for end in ends)


def main(folder: Path, seed: int, worlds: int) -> None:
    """Prints how many processes were killed."""
    chance = random.Random(seed)  # noqa: S311 - chooses moments, no secrets
    killed = {"in turn": 0, "at once": 0}
    for number in range(worlds):
        world = folder / str(number)
        world.mkdir(parents=True)
        trail_module.FULL = chance.choice((2_000, 1 << 24))
        if number == worlds - 1:
            killed["at once"] += _all_at_once(world, chance)
        else:
            killed["in turn"] += _one_after_the_other(world, chance)
        _, status = os.waitpid(_forked(lambda world=world: work(world, 1)), 0)
        assert status == 0
    print(json.dumps(killed))  # noqa: T201 - its one answer


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
