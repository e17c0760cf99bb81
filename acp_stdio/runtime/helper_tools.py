"""Our two tools: who is signed in, and signing in without leaving the conversation."""

import contextlib
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import anyio

from acp_stdio.errors import Failure
from acp_stdio.identity.model import Session
from acp_stdio.relay.lists import LOGIN_TOOL
from acp_stdio.runtime.helper_process import HOST_ERA, LEGACY, MODERN, own_command
from acp_stdio.tokens.endings import signed_out
from acp_stdio.tokens.sign_ins import Sessions
from acp_stdio.vault.lock import FileLock

PATIENCE: Final = 180.0
"""Seconds that `acp_login` waits for the person; hosts give a tool four minutes."""
TAB_EVERY: Final = 60.0
"""Seconds between two browser tabs of this user, however many processes ask."""
INTRODUCTION: Final = 10.0
"""Seconds that `acp_login` then waits until the server has been asked who this is and what it offers."""
LOOK: Final = 0.2
"""Seconds between two looks at whether the person is done."""

REOPEN: Final = "Quit this application completely and open it again, so that it sees the tools."


class HelperTools:
    """Runs `acp_login` and `acp_status`."""

    def __init__(
        self,
        sessions: Sessions,
        identity_dir: Path,
        options: list[str],
        upstream: str,
        notice: Callable[[], str] = lambda: "",
    ) -> None:
        """`identity_dir`: `Settings.identity_dir` of the upstream's identity, where its sign-ins take turns.
        `options`: the command line options under which we run, for `login` to run under too.
        `notice`: what people should know about the server's tools."""
        self._notice = notice
        self._sessions = sessions
        self._identity_dir = identity_dir
        self._options = options
        self._upstream = upstream

    async def run(self, tool: str, *, strange: bool, modern: bool = False) -> tuple[str, bool]:
        """The tool's text, and whether it is an error. `strange`: the host has never seen the server's tools;
        `modern`: which era it speaks."""
        try:
            if tool == LOGIN_TOOL:
                return await self._login(strange=strange, modern=modern)
            return self._status(), False
        except Failure as failure:
            return f"{failure.message} {failure.advice}".strip(), True
        except OSError as e:
            return f"{self._identity_dir} cannot be used: {e.strerror}. Run `acp-stdio doctor`.", True

    def _status(self) -> str:
        session = self._sessions.current()
        if session is None or not session.signed_in or session.account is None:
            why = signed_out(session)
            return f"{why.message} To sign in, approve the tool `{LOGIN_TOOL}`, or run `acp-stdio login` in a terminal."
        since = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(session.obtained_at))
        confirmed = max(0, round(time.time() - session.confirmed_at))
        return (
            f"Signed in as {session.account.label} at {session.account.issuer} since {since}. "
            f"The identity provider confirmed this {confirmed} s ago. "
            f"Calls go to {self._upstream} in this person's name. {self._notice()}"
        ).rstrip()

    async def _login(self, *, strange: bool, modern: bool) -> tuple[str, bool]:
        before = self._sessions.current()
        if before is not None and before.signed_in and before.account is not None:
            return f"Already signed in as {before.account.label}. Ask again.", False
        login = self._identity_dir / "login.lock"
        turn = FileLock(self._identity_dir / "login.opened.lock")
        launched: subprocess.Popen[bytes] | None = None
        try:
            # Whoever finds the turn taken waits for the sign-in that its holder is launching.
            if turn.try_acquire() and not _held(login) and self._sessions.current() == before:
                if not self._may_open():
                    return (
                        "A sign-in page was opened less than a minute ago. Wait a moment, then try again.",
                        True,
                    )
                launched = self._launch(MODERN if modern else LEGACY)
            return await self._wait(before, lambda: _held(login), turn.release, launched, strange=strange)
        finally:
            turn.release()

    async def _wait(
        self,
        before: Session | None,
        running: Callable[[], bool],
        began_to: Callable[[], None],
        launched: "subprocess.Popen[bytes] | None",
        *,
        strange: bool,
    ) -> tuple[str, bool]:
        """`began_to` is called once the sign-in is under way; `launched` is ours, where it is."""
        generation = before.generation if before is not None else 0
        began = time.monotonic()
        done = 0.0
        seen_running = False
        while time.monotonic() - began < PATIENCE:
            await anyio.sleep(LOOK)
            session = self._sessions.current()
            signed_in = session is not None and session.signed_in and session.generation > generation
            busy = running()
            seen_running = seen_running or busy
            if seen_running:
                began_to()
            if signed_in and not busy and session is not None and session.account is not None:
                done = done or time.monotonic()
                if launched is not None and launched.poll() is None and time.monotonic() - done < INTRODUCTION:
                    continue
                return f"Signed in as {session.account.label}. {REOPEN if strange else 'Ask again.'}", False
            if not busy and (seen_running or time.monotonic() - began > 15):
                return (
                    "The sign-in was not completed. Try again, or run `acp-stdio login` in a terminal to see why.",
                    True,
                )
        return "The sign-in page is still open in the browser. Finish there, then ask again.", True

    def _may_open(self) -> bool:
        """One tab a minute for all processes. Asked by the one whose turn it is."""
        stamp = self._identity_dir / "login.opened"
        with contextlib.suppress(OSError):
            if 0 <= time.time() - stamp.stat().st_mtime < TAB_EVERY:
                return False
        os.close(os.open(stamp, os.O_WRONLY | os.O_CREAT, 0o600))
        os.utime(stamp)
        return True

    def _launch(self, era: str) -> "subprocess.Popen[bytes]":
        """`acp-stdio login`, on its own: a host that ends one of its two copies of us does not end the sign-in."""
        return subprocess.Popen(
            own_command("login", "--quiet", *self._options),
            env={**os.environ, HOST_ERA: era},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # POSIX; on Windows a host ends only the process that it started
        )


def _held(path: Path) -> bool:
    """Whether some process holds this lock: a sign-in is under way."""
    if not path.exists():
        return False
    lock = FileLock(path)
    if lock.try_acquire():
        lock.release()
        return False
    return True
