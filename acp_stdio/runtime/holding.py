"""The sign-in that this process acts for: the one that all processes share, unless it holds one of its own.

A provider that issues no refresh token leaves nothing to store. What its sign-in brought lives here,
in memory, until the access token is over, `recheck_identity` has passed, the server refuses it, or
the shared session changes: a logout ends it as it ends all others.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Final

from acp_stdio.identity.model import AccessToken, Held, Session
from acp_stdio.runtime.elapsed import elapsed
from acp_stdio.tokens.endings import Ending, ended, ended_here
from acp_stdio.tokens.freshness import confirmed, is_usable, skew
from acp_stdio.tokens.sign_ins import Sessions


def is_held(token: AccessToken) -> bool:
    """Whether it came with a sign-in that this process holds: none like it can be fetched."""
    return token.generation < 0


_NUMBERS: Final = count(1)
"""No two held sign-ins of this process have the same generation, whichever upstreams they are for."""


class Holding:
    """Whose session and which held token are the right ones now, for one upstream."""

    def __init__(
        self,
        upstream: str,
        shared: Sessions,
        recheck_identity: float,
        give_back: Callable[[Held, bool], None] = lambda _, __: None,
        tell: Callable[[bool], None] = lambda _: None,
    ) -> None:
        """`give_back` is called with what is not used any more although the provider would still have it used, and
        with whether it is to be told what became of it: a logout waits for that. `tell` hears whether anything is held.
        """
        self.upstream: Final = upstream
        self._shared = shared
        self._give_back = give_back
        self._tell = tell
        self._recheck = recheck_identity
        self._held: Held | None = None
        self._held_since = (0.0, 0.0)
        """When it was brought, by the wall clock and by `elapsed`."""
        self._over: Session | None = None
        """What was held last, and why it is not any more."""
        self._beside: int | None = None
        """The generation of the shared session while one is, or was, held."""

    def current(self) -> Session | None:
        """The session now; one `os.stat` where nothing changed. Raises `Failure` as `SessionFile.current`."""
        shared = self._shared.current()
        if self._held is None and self._over is None:
            return shared
        if (shared.generation if shared else None) != self._beside:  # a logout, or a sign-in that is stored
            before, self._held, self._over = self._held, None, None
            if before is not None:
                told = ended_here(shared)
                self._give_back(before, told)
                if not told:
                    self._tell(False)
            return shared
        if self._held is not None and not self._serves(self._held):
            self._end("outlived")
        if self._held is not None:
            return self._held.session
        return shared if shared is not None and shared.signed_in else self._over

    def shared_generation(self) -> int | None:
        """That of the shared session, which `hold` is to be told; None where there is none. Raises `Failure`."""
        shared = self._shared.current()
        return shared.generation if shared else None

    def hold(self, held: Held, beside: int | None) -> None:
        """Acts for `held` from now on, where it is for this upstream. `beside`: the shared generation when it was
        asked for."""
        if self.upstream not in held.tokens:
            return
        if self._held is not None:
            self._give_back(self._held, False)
        mine = -next(_NUMBERS)  # no file has a generation below 0: no other process's token or session is taken for it
        tokens = {self.upstream: replace(held.tokens[self.upstream], generation=mine)}
        self._held, self._over, self._beside = Held(replace(held.session, generation=mine), tokens), None, beside
        self._held_since = time.time(), elapsed()
        self._tell(True)

    @property
    def held(self) -> Held | None:
        """As `current` left it."""
        return self._held

    @property
    def until(self) -> float:
        """Epoch seconds at which what is held is over; 0 where nothing is."""
        held = self._held
        if held is None:
            return 0.0
        last = max(token.expires_at - skew(token.expires_at - token.issued_at) for token in held.tokens.values())
        return min(last, held.session.confirmed_at + self._recheck)

    def refused(self, token: AccessToken) -> None:
        """The server does not take this one, and there is no other to be had."""
        held = self._held
        if held is not None and held.tokens.get(token.upstream) == token:
            self._end("refused")

    def withdraw(self) -> None:
        """The administrator has revoked the person."""
        if self._held is not None:
            self._give_back(self._held, False)
            self._end("withdrawn")

    def _serves(self, held: Held) -> bool:
        now = self._now(held)
        return confirmed(held.session, self._recheck, now) and any(is_usable(t, now) for t in held.tokens.values())

    def _now(self, held: Held) -> float:
        """A clock that was put back makes nothing live longer; one from before the sign-in tells nothing."""
        now, (brought, at) = time.time(), self._held_since
        return now if now < held.session.confirmed_at else max(now, brought + elapsed() - at)

    def _end(self, because: Ending) -> None:
        assert self._held is not None
        over = ended(self._held.session, because, time.time())
        self._over, self._held = replace(over, generation=-next(_NUMBERS)), None
        self._tell(False)
