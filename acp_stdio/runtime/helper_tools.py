"""Our two tools: who is signed in, and signing in without leaving the conversation."""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import anyio
import anyio.lowlevel

from acp_stdio.errors import Failure
from acp_stdio.identity.model import Held, Session
from acp_stdio.identity.step_up import NOTHING_MORE, StepUp
from acp_stdio.relay.lists import LOGIN_TOOL
from acp_stdio.runtime.demands import Demands
from acp_stdio.runtime.helper_process import LEGACY, MODERN
from acp_stdio.runtime.holding import Holding
from acp_stdio.runtime.login_process import LoginProcess
from acp_stdio.runtime.tries import Tries
from acp_stdio.settings.revocations import revoked_failure
from acp_stdio.tokens.endings import signed_out, unless_withdrawn
from acp_stdio.tokens.handover import LoginRequest
from acp_stdio.tokens.sign_ins import Sessions
from acp_stdio.vault.lock import FileLock

PATIENCE: Final = 180.0
"""Seconds that `acp_login` waits for the person; hosts give a tool four minutes."""
TAB_EVERY: Final = 60.0
"""Seconds between two browser tabs of this user, however many processes ask, unless the first led to a sign-in."""
INTRODUCTION: Final = 10.0
"""Seconds that `acp_login` then waits until the server has been asked who this is and what it offers."""
LOOK: Final = 0.2
"""Seconds between two looks at whether the person is done."""

ASKED_OFTEN: Final = (
    "refuses this sign-in again and again, with all that it asked for: signing in does not help. "
    "Ask the people who run it which rights you need."
)
REOPEN: Final = "Quit this application completely and open it again, so that it sees the tools."


class HelperTools:
    """Runs `acp_login` and `acp_status`."""

    def __init__(
        self,
        sessions: Sessions,
        holdings: Sequence[Holding],
        demands: Demands,
        identity_dir: Path,
        login: Callable[[Sequence[str]], LoginRequest],
        notice: Callable[[], str] = lambda: "",
        is_revoked: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`sessions`: `holdings`, one for each upstream, seen as one.
        `identity_dir`: `Settings.identity_dir` of the upstreams' identity, where its sign-ins take turns.
        `login`: asks for a sign-in for some upstreams under the options under which we run.
        `notice`: what people should know about the server's tools.
        `is_revoked`: whether the administrator has revoked the person with that user key; may raise `Failure`."""
        self._is_revoked = is_revoked
        self._notice = notice
        self._sessions = sessions
        self._holdings = holdings
        self._demands = demands
        self._identity_dir = identity_dir
        self._stamp = identity_dir / "login.opened"
        self._tries = Tries(identity_dir / "login.tries")
        self._login_for = login
        self._upstream = ", ".join(each.upstream for each in holdings)

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
        session = unless_withdrawn(self._sessions.current(), self._is_revoked)
        if session is None or not session.signed_in or session.account is None:
            why = signed_out(session)
            if session is not None and session.ended_because == "withdrawn":
                return f"{why.message} {why.advice}"
            return f"{why.message} To sign in, approve the tool `{LOGIN_TOOL}`, or run `acp-stdio login` in a terminal."
        since = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(session.obtained_at))
        confirmed = max(0, round(time.time() - session.confirmed_at))
        return (
            f"Signed in as {session.account.label} at {session.account.issuer} since {since}. "
            f"The identity provider confirmed this {confirmed} s ago.{self._lasting()} "
            f"Calls go to {self._upstream} in this person's name. {self._notice()}"
        ).rstrip()

    async def _login(self, *, strange: bool, modern: bool) -> tuple[str, bool]:
        before = self._sessions.current()
        wanted: dict[str, StepUp] = {}
        if before is not None and before.signed_in and before.account is not None:
            if self._is_revoked(before.account.key):
                raise revoked_failure()
            wanted = self._demands.of({each.upstream: each.current() for each in self._holdings})
            if not wanted:
                return f"Already signed in as {before.account.label}. Ask again.", False
            if names := self._tries.exhausted(wanted):
                return f"{', '.join(names)} {ASKED_OFTEN}", True
        login = self._identity_dir / "login.lock"
        turn = FileLock(self._identity_dir / "login.opened.lock")
        launched: LoginProcess | None = None
        try:
            # Whoever finds the turn taken waits for the sign-in that its holder is launching.
            if turn.try_acquire() and not _held(login) and self._sessions.current() == before:
                if not self._may_open():
                    return (
                        "A sign-in page was opened less than a minute ago. Wait a moment, then try again.",
                        True,
                    )
                launched = self._launch(MODERN if modern else LEGACY, wanted)
            return await self._wait(before, lambda: _held(login), turn.release, launched, wanted, strange=strange)
        finally:
            turn.release()

    async def _wait(
        self,
        before: Session | None,
        running: Callable[[], bool],
        began_to: Callable[[], None],
        launched: LoginProcess | None,
        wanted: Mapping[str, StepUp],
        *,
        strange: bool,
    ) -> tuple[str, bool]:
        """`began_to` is called once the sign-in is under way; `launched` is ours, where it is, and asked for
        what is `wanted` beside a sign-in that there is."""
        generation = before.generation if before is not None else 0
        began = time.monotonic()
        done = 0.0
        seen_running = False
        remark = ""
        while time.monotonic() - began < PATIENCE:
            await anyio.sleep(LOOK)
            if launched is not None and launched.answer.done():
                answer = launched.answer.result()
                if isinstance(answer, Failure):
                    return f"{answer.message} {answer.advice}".strip(), True
                remark = f" {answer.remark}" if answer.remark else ""
                await anyio.lowlevel.checkpoint()  # what is held was handed to the loop before the answer was there
            session = self._sessions.current()
            signed_in = session is not None and session.signed_in and session.generation != generation
            busy = running()
            seen_running = seen_running or busy
            if seen_running:
                began_to()
            if signed_in and not busy and session is not None and session.account is not None:
                done = done or time.monotonic()
                if launched is not None and not launched.answer.done() and time.monotonic() - done < INTRODUCTION:
                    continue
                if launched is not None and not wanted:
                    self._stamp.unlink(missing_ok=True)  # a page that the person is done with keeps nobody waiting
                return (
                    f"Signed in as {session.account.label}.{self._lasting()}{remark} "
                    f"{REOPEN if strange else 'Ask again.'}",
                    False,
                )
            under_way = busy or (launched is not None and not launched.answer.done())
            if not under_way and (seen_running or launched is not None or time.monotonic() - began > 15):
                if launched is not None and (rest := self._open()) and len(rest) < len(self._holdings):
                    return f"Signed in, but not for {', '.join(rest)}: use {LOGIN_TOOL} once more.", False
                return (
                    "The sign-in was not completed. Try again, or run `acp-stdio login` in a terminal to see why.",
                    True,
                )
        return "The sign-in page is still open in the browser. Finish there, then ask again.", True

    def _lasting(self) -> str:
        """What is special about a sign-in that could not be stored; nothing about others."""
        ends = [each.until for each in self._holdings if each.held is not None]
        if not ends:
            return ""
        until = time.strftime("%H:%M UTC", time.gmtime(min(ends)))
        return f" It lasts until {until}, and in this process only: the identity provider issues no refresh token."

    def _may_open(self) -> bool:
        """One tab a minute for all processes. Asked by the one whose turn it is."""
        with contextlib.suppress(OSError):
            if 0 <= time.time() - self._stamp.stat().st_mtime < TAB_EVERY:
                return False
        os.close(os.open(self._stamp, os.O_WRONLY | os.O_CREAT, 0o600))
        os.utime(self._stamp)
        return True

    def _open(self) -> list[str]:
        """The upstreams for which nobody is signed in."""
        sessions = [(each.upstream, each.current()) for each in self._holdings]
        return [name for name, session in sessions if session is None or not session.signed_in]

    def _launch(self, era: str, wanted: Mapping[str, StepUp]) -> LoginProcess:
        """`acp-stdio login`, on its own: a host that ends one of its two copies of us does not end the sign-in."""
        loop = asyncio.get_running_loop()
        beside = [(each, each.shared_generation()) for each in self._holdings]

        def hold(held: Held) -> None:
            for each, generation in beside:
                with contextlib.suppress(RuntimeError):  # the loop is closed: it is held by nobody
                    loop.call_soon_threadsafe(each.hold, held, generation)

        self._tries.count(wanted)
        step_up = NOTHING_MORE
        for each in wanted.values():
            step_up |= each
        upstreams = [each.upstream for each in self._holdings]
        held = {each.upstream: each.held.session for each in self._holdings if each.held is not None}
        if held:  # a token is for one upstream, and `login` does not know what was asked for before
            upstreams = list(wanted) or self._open()
            for name in held.keys() & wanted.keys():
                step_up |= StepUp(scopes=held[name].asked)
        return LoginProcess(replace(self._login_for(upstreams), step_up=step_up), era, hold)


def _held(path: Path) -> bool:
    """Whether some process holds this lock: a sign-in is under way."""
    if not path.exists():
        return False
    lock = FileLock(path)
    if lock.try_acquire():
        lock.release()
        return False
    return True
