"""Our two tools where there are several upstreams: each sign-in has its own turn, and what succeeded stays."""

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from acp_stdio.identity.model import Session
from acp_stdio.relay.lists import LOGIN_TOOL
from acp_stdio.runtime.demands import Demands
from acp_stdio.runtime.helper_tools import HelperTools
from acp_stdio.runtime.holding import Holding
from acp_stdio.settings.model import Settings, UpstreamSettings
from acp_stdio.tokens.handover import LoginRequest
from acp_stdio.tokens.sign_ins import Sessions, granted_for

ENOUGH: Final = 150.0
"""Seconds after which no further sign-in is begun: hosts give a tool four minutes."""


@dataclass(frozen=True, slots=True)
class Granted:
    """The session as far as it is for one upstream (`tokens.sign_ins.Sessions`)."""

    sessions: Sessions
    upstream: UpstreamSettings

    def current(self) -> Session | None:
        """As `SignIn.current`; None where it was granted before this upstream was configured."""
        session = self.sessions.current()
        missing = session is not None and session.signed_in and not granted_for(session, self.upstream)
        return None if missing else session


@dataclass(frozen=True, slots=True)
class AllOf:
    """The sessions of several upstreams as one (`tokens.sign_ins.Sessions`): signed in once all are."""

    sessions: Sequence[Sessions]

    def current(self) -> Session | None:
        """The first that is not signed in; the newest where all are. Raises `Failure` as each of them."""
        found = [each.current() for each in self.sessions]
        missing = [each for each in found if each is None or not each.signed_in]
        return missing[0] if missing else max(found, key=lambda each: each.obtained_at if each else 0.0)


Named = tuple[str, HelperTools]
"""Tools, and the upstreams that they are about."""


class SeveralHelperTools:
    """Runs `acp_login` for each sign-in, one after the other, and `acp_status` for each upstream."""

    def __init__(self, sign_ins: Sequence[Named], upstreams: Sequence[Named]) -> None:
        """Tools for each sign-in alone, and tools for each upstream alone."""
        self._sign_ins = sign_ins
        self._upstreams = upstreams

    async def run(self, tool: str, *, strange: bool, modern: bool = False) -> tuple[str, bool]:
        """As `HelperTools.run`; an error only where nobody is signed in anywhere in the end."""
        began = time.monotonic()
        words: list[str] = []
        failed = 0
        about = self._sign_ins if tool == LOGIN_TOOL else self._upstreams
        for named, tools in about:
            if tool == LOGIN_TOOL and time.monotonic() - began > ENOUGH:
                words.append(f"{named}: not yet; use {LOGIN_TOOL} once more.")
                failed += 1
                continue
            text, error = await tools.run(tool, strange=strange, modern=modern)
            words.append(f"{named}: {text}")
            failed += error
        return "\n".join(words), failed == len(about)


def helper_tools(
    settings: Settings,
    holdings: Sequence[Holding],
    demands: Demands,
    login: Callable[[Sequence[str]], LoginRequest],
    notice: Callable[[Sequence[str]], str],
    is_revoked: Callable[[str], bool],
) -> HelperTools | SeveralHelperTools:
    """Our tools for these upstreams. `login`: asks for a sign-in for some of them; `notice`: what people should
    know about the tools of some; `is_revoked`: see `HelperTools`."""
    sign_ins: list[Named] = []
    upstreams: list[Named] = []

    def tools(mine: Settings, its: Sequence[Holding]) -> Named:
        names = [each.upstream for each in its]
        sessions = AllOf([Granted(each, mine.upstreams[each.upstream]) for each in its])
        about = functools.partial(notice, names)
        return ", ".join(names), HelperTools(sessions, its, demands, mine.identity_dir, login, about, is_revoked)

    for mine in settings.by_identity():
        its = [each for each in holdings if each.upstream in mine.upstreams]
        sign_ins.append(tools(mine, its))
        upstreams += [tools(mine, [each]) for each in its]
    return sign_ins[0][1] if len(holdings) == 1 else SeveralHelperTools(sign_ins, upstreams)
