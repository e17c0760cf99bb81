"""Our two tools where the upstreams need more than one sign-in: each has its own turn, and what succeeded stays."""

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from acp_stdio.identity.model import Session
from acp_stdio.relay.lists import LOGIN_TOOL
from acp_stdio.runtime.helper_tools import HelperTools
from acp_stdio.runtime.served import Served
from acp_stdio.settings.model import Settings
from acp_stdio.tokens.sign_ins import Sessions

ENOUGH: Final = 150.0
"""Seconds after which no further sign-in is begun: hosts give a tool four minutes."""


@dataclass(frozen=True, slots=True)
class AllOf:
    """The sessions of several upstreams as one (`tokens.sign_ins.Sessions`): signed in once all are."""

    sessions: Sequence[Sessions]

    def current(self) -> Session | None:
        """The first that is not signed in; the newest where all are. Raises `Failure` as each of them."""
        found = [each.current() for each in self.sessions]
        missing = [each for each in found if each is None or not each.signed_in]
        return missing[0] if missing else max(found, key=lambda each: each.obtained_at if each else 0.0)


class SeveralHelperTools:
    """Runs `acp_login` and `acp_status` for each sign-in, one after the other."""

    def __init__(self, tools: Sequence[tuple[Sequence[str], HelperTools]]) -> None:
        """`tools`: for each sign-in the upstreams that it is for, and the tools for it alone."""
        self._tools = tools

    async def run(self, tool: str, *, strange: bool, modern: bool = False) -> tuple[str, bool]:
        """As `HelperTools.run`; an error only where nobody is signed in anywhere in the end."""
        began = time.monotonic()
        words: list[str] = []
        failed = 0
        for upstreams, tools in self._tools:
            named = ", ".join(upstreams)
            if tool == LOGIN_TOOL and time.monotonic() - began > ENOUGH:
                words.append(f"{named}: not yet; use {LOGIN_TOOL} once more.")
                failed += 1
                continue
            text, error = await tools.run(tool, strange=strange, modern=modern)
            words.append(f"{named}: {text}")
            failed += error
        return "\n".join(words), failed == len(self._tools)


def helper_tools(
    settings: Settings,
    served: Sequence[Served],
    options: Callable[[Sequence[str]], list[str]],
    notice: Callable[[Sequence[str]], str],
) -> HelperTools | SeveralHelperTools:
    """Our tools for these upstreams. `options`: our own, as words, about some of them; `notice`: what people should
    know about the tools of some."""
    tools: list[tuple[list[str], HelperTools]] = []
    for mine in settings.by_identity():
        its = [each for each in served if each.upstream.name in mine.upstreams]
        names = [each.upstream.name for each in its]
        sessions = its[0].sign_in if len(its) == 1 else AllOf([each.sign_in for each in its])
        about = functools.partial(notice, names)
        tools.append((names, HelperTools(sessions, mine.identity_dir, options(names), ", ".join(names), about)))
    return tools[0][1] if len(tools) == 1 else SeveralHelperTools(tools)
