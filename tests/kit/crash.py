"""Processes that obtain a token as the token helper does, and die by SIGKILL where they are told to.

The program (`python tests/kit/crash.py`) obtains one token itself, so that everything is imported and
the provider's public documents are at hand, and then forks for each command on its stdin: a new process
takes 10 ms and not the 300 of an interpreter with its libraries. Every step by which it changes the
world outside it (a file, a lock, a connection) is announced first.
"""

import contextlib
import fcntl
import gc
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from acp_stdio.settings.model import Settings

ROOT: Final = Path(__file__).resolve().parent.parent.parent
When = Literal["before", "after"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one process."""

    steps: tuple[str, ...]
    """Those that it came to; of the last one nothing may have happened."""
    killed: bool
    token: str
    """The access token's fingerprint; empty for none."""
    reason: str
    message: str
    """The failure, where it was one."""


class Forks:
    """The running program. One process at a time; a context manager."""

    def __init__(self, home: Path) -> None:
        """`home`: the `ACP_STDIO_HOME` of all its processes, where somebody is signed in."""
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__))],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "ACP_STDIO_HOME": str(home)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._line() == {"ready": True}

    def __enter__(self) -> "Forks":
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(30)
        self._process.stdout.close()

    def begin(self, number: int = -1, when: When = "before") -> None:
        """Starts a process, which dies right before or after its step `number`; without one it lives."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([number, when]) + "\n")
        self._process.stdin.flush()

    def until_it_waits(self) -> None:
        """Returns once the process has found the lock held."""
        assert self._line() == {"waits": True}

    def outcome(self) -> Outcome:
        """Waits for the process's end."""
        while "steps" not in (line := self._line()):
            pass
        return Outcome(tuple(line["steps"]), line["killed"], line["token"], line["reason"], line["message"])

    def obtain(self, number: int = -1, when: When = "before") -> Outcome:
        """One process from start to end."""
        self.begin(number, when)
        return self.outcome()

    def _line(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the program ended"
        return json.loads(line)


# -- the program -----------------------------------------------------------------------------------


class _Steps:
    """Announces each step to `pipe`, and ends this process at one of them."""

    def __init__(self, pipe: int, number: int, when: When) -> None:
        self._pipe, self._number, self._when = pipe, number, when
        self._done = 0
        self._inside = False
        self._names: dict[int, str] = {}

    def install(self) -> None:
        """Puts itself before everything by which a Python program writes. The process is ours to spoil."""
        for word in ("unlink", "rmdir", "rename", "replace", "link", "symlink", "chmod", "truncate"):
            self._wrap(os, word, lambda args, word=word: f"{word} {_label(args[-1])}")
        os.remove = os.unlink
        self._wrap(os, "mkdir", lambda args: "" if os.path.isdir(args[0]) else f"mkdir {_label(args[0])}")
        os.fsync = _leave_to_the_system
        self._wrap(os, "fsync", lambda args: f"fsync {self._names[args[0]]}")
        self._wrap(fcntl, "flock", lambda args: f"{_lock_word(args[1])} {self._names[args[0]]}")
        self._wrap_open()
        for word, step in (("connect", "connect"), ("send", "send"), ("sendall", "send"), ("recv", "recv")):
            self._wrap(socket.socket, word, lambda _, step=step: step)
        sys.addaudithook(self._guard)

    @contextlib.contextmanager
    def _step(self, name: str) -> Generator[None]:
        number, self._done = self._done, self._done + 1
        os.write(self._pipe, f"{name}\n".encode())
        if (number, "before") == (self._number, self._when):
            os.kill(os.getpid(), signal.SIGKILL)
        self._inside = True
        try:
            yield
        finally:
            self._inside = False
            if (number, "after") == (self._number, self._when):
                os.kill(os.getpid(), signal.SIGKILL)

    def _wrap(self, owner: Any, word: str, name: Callable[[tuple[Any, ...]], str]) -> None:
        """`name` makes the step's name of the call's arguments; an empty one is no step."""
        original = getattr(owner, word)

        def announced(*args: Any, **more: Any) -> Any:
            step = name(args)
            if not step:
                return original(*args, **more)
            with self._step(step):
                return original(*args, **more)

        setattr(owner, word, announced)

    def _wrap_open(self) -> None:
        original = os.open

        def announced(path: Any, flags: int, *args: Any, **more: Any) -> int:
            if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
                with self._step(f"open {_label(path)}"):
                    file = original(path, flags, *args, **more)
            else:
                file = original(path, flags, *args, **more)
            self._names[file] = _label(path)
            return file

        os.open = announced

    def _guard(self, event: str, args: tuple[Any, ...]) -> None:
        """What goes round the names above is a step, too, and one that no list has."""
        if self._inside:
            return
        if event == "open" and isinstance(args[2], int) and args[2] & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
            if isinstance(args[0], int):
                return  # a file object around a descriptor that is open already
        elif event not in {"os.rename", "os.remove", "os.truncate", "subprocess.Popen", "os.fork", "shutil.rmtree"}:
            return
        with self._step(f"unannounced: {event}"):
            pass


def _leave_to_the_system(_file: int) -> None:
    """No `fsync`: SIGKILL leaves written pages be, and thousands of processes need not wait for a disk."""


def _no_pause(_seconds: float) -> None:
    """A file shows the newest at once; the pauses are for keyrings that take their time."""


def _label(path: Any) -> str:
    name = Path(os.fsdecode(path)).name
    return f"*{Path(name).suffix}" if name.endswith((".draft", ".sealed")) else name


def _lock_word(how: int) -> str:
    return "unlock" if how == fcntl.LOCK_UN else "lock"


def _child(settings: "Settings", pipe: int, number: int, when: When) -> dict[str, str]:
    told: list[bool] = []

    def cancelled() -> bool:
        if not told:  # looked at for the first time when the lock is held by somebody, or has just been taken
            told.append(True)
            os.write(1, b'{"waits": true}\n')
        return False

    _Steps(pipe, number, when).install()
    return _obtain(settings, cancelled)


def _obtain(settings: "Settings", cancelled: Callable[[], bool] = lambda: False) -> dict[str, str]:
    from acp_stdio.errors import Failure
    from acp_stdio.tokens.context import open_context
    from acp_stdio.tokens.messages import fingerprint
    from acp_stdio.tokens.refresh import obtain_token

    ctx = replace(open_context(settings, may_prompt=False), sleep=_no_pause)
    try:
        token = obtain_token(ctx, settings.upstreams["finance"], cancelled=cancelled)
    except Failure as failure:
        return {"token": "", "reason": failure.reason, "message": failure.message}
    return {"token": fingerprint(token.value), "reason": "", "message": ""}


def _fork(settings: "Settings", number: int, when: When) -> dict[str, Any]:
    steps, announce = os.pipe()
    answer, give = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(give, json.dumps(_child(settings, announce, number, when)).encode())
        finally:
            os._exit(0)
    os.close(announce)
    os.close(give)
    with os.fdopen(steps) as announced, os.fdopen(answer) as given:
        names = announced.read().splitlines()
        said = given.read()
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status)
    assert killed or said, "an error that nobody foresaw"
    nothing = {"token": "", "reason": "", "message": ""}
    return {"steps": names, "killed": killed, **(nothing if killed else json.loads(said))}


def _serve() -> None:
    import httpx2

    from acp_stdio.settings.load import load

    certificates = httpx2.create_ssl_context()  # reading them takes 20 ms, and here nothing is encrypted

    def known(*_args: Any, **_more: Any) -> ssl.SSLContext:
        return certificates

    httpx2.create_ssl_context = known
    settings = load(environ=os.environ)
    rehearsal = _obtain(settings)
    assert rehearsal["token"], rehearsal["message"]
    gc.freeze()  # else the first collection in each child copies all there is
    os.write(1, b'{"ready": true}\n')
    for line in sys.stdin:
        number, when = json.loads(line)
        os.write(1, json.dumps(_fork(settings, number, when)).encode() + b"\n")


if __name__ == "__main__":
    _serve()
