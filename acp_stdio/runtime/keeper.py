"""Keeps one upstream's access token: usable now, or being fetched once for all who wait."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from acp_stdio.errors import Failure
from acp_stdio.identity.model import AccessToken, Session
from acp_stdio.runtime.elapsed import WallClock
from acp_stdio.runtime.helper_process import HelperProcess
from acp_stdio.runtime.holding import Holding, is_held
from acp_stdio.settings.revocations import revoked_failure
from acp_stdio.tokens.endings import SIGN_IN_HERE, ended_here, signed_out
from acp_stdio.tokens.freshness import confirmed, is_usable, should_renew
from acp_stdio.tokens.messages import Request, fingerprint

BRAKE: Final = 2.0
"""Seconds after a failed refresh in which its failure answers, instead of another attempt a call."""

Waiter = Callable[[AccessToken | Failure], None]


class Keeper:
    """Single flight within this process; across processes the helper's lock sees to it."""

    def __init__(
        self,
        upstream: str,
        request: Callable[[str | None], Request],
        holding: Holding,
        recheck_identity: float,
        loop: asyncio.AbstractEventLoop,
        started: HelperProcess | None = None,
        failed: Callable[[Failure], None] = lambda _: None,
        is_revoked: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`started`: a helper that was launched before the event loop was there. `failed` hears of each failure.
        `is_revoked`: whether the administrator has revoked the person with that user key; may raise `Failure`."""
        self._upstream = upstream
        self._request = request
        self._holding = holding
        self._recheck = recheck_identity
        self._loop = loop
        self._is_revoked = is_revoked
        self._token: AccessToken | None = None
        self._helper: HelperProcess | None = None
        self._waiters: list[Waiter] = []
        self._failure: Failure | None = None
        self._failed_at = 0.0
        self._failed = failed
        self._over = False
        self._clock = WallClock()
        self._again = False
        """Whether the token on its way is fetched anew, for the one before came too late."""
        if started is not None:
            self._follow(started)

    def session(self) -> Session | None:
        """The session as it stands now: one `stat` where nothing changed."""
        return self._holding.current()

    def usable(self) -> AccessToken | None:
        """The token, if a call may leave with it now. None: ask with `acquire`.

        Raises `Failure`: login_required where nobody is signed in, denied where the administrator says so.
        """
        session = self._holding.current()
        if session is None or not session.signed_in:
            self.let_go(session)
            raise signed_out(session)
        if session.account is not None and self._is_revoked(session.account.key):
            self._token = None
            self._holding.withdraw()
            raise revoked_failure()
        if self._holding.held is not None:
            return self._held_token()
        if self._clock.was_put_back():  # by then the token's age is not known, nor that of the last confirmation
            self._token = None
        token = self._token
        if token is None:
            return None
        if token.generation != session.generation:
            self._token = None
            return None
        now = time.time()
        if not is_usable(token, now) or not confirmed(session, self._recheck, now):
            return None
        if should_renew(token, now) and self._helper is None and not self._braking():
            self._start(None)
        return token

    def let_go(self, session: Session | None) -> None:
        """Forgets the token; where the person signed out, the provider is told to end it too (RFC 7009)."""
        token, self._token = self._token, None
        if token is not None and ended_here(session) and token.claims.get("format") != "id_token":
            HelperProcess(replace(self._request(None), revoke=token.value))

    def _held_token(self) -> AccessToken:
        held = self._holding.held
        token = held.tokens.get(self._upstream) if held is not None else None
        if token is not None and is_usable(token, time.time()):
            return token
        why = f"Your sign-in brought no token for {self._upstream} that could be used, and none can be renewed."
        raise Failure("login_required", why, SIGN_IN_HERE)

    def still_holds(self, token: AccessToken) -> bool:
        """Whether no logout and no other login came since; looked at after the intent is written."""
        session = self._holding.current()
        return session is not None and session.signed_in and session.generation == token.generation

    def acquire(self, waiter: Waiter, rejected: AccessToken | None = None) -> None:
        """Fetches a token and tells `waiter`; all who wait share one refresh.

        `rejected`: the token that the upstream answered with 401. If a newer one is here already,
        that one is the answer.
        """
        if rejected is not None and is_held(rejected):
            self._holding.refused(rejected)
            rejected = None
            try:
                token = self.usable()
            except Failure as failure:
                waiter(failure)
                return
            if token is not None:
                waiter(token)
                return
        if rejected is not None:
            if self._token is rejected:
                self._token = None
            elif self._token is not None:
                waiter(self._token)
                return
        if self._helper is None and self._braking() and self._failure is not None:
            waiter(self._failure)
            return
        self._waiters.append(waiter)
        if self._helper is None:
            self._start(None if rejected is None else fingerprint(rejected.value))

    def forget(self, waiter: Waiter) -> None:
        """This waiter does not wait any more."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)

    def close(self) -> HelperProcess | None:
        """Stops; a helper that is spending the refresh token is left to finish and returned."""
        self._over = True
        helper, self._waiters = self._helper, []
        if helper is not None:
            helper.leave()
        return helper

    def _braking(self) -> bool:
        return self._failure is not None and self._loop.time() - self._failed_at < BRAKE

    def _start(self, rejected: str | None) -> None:
        self._follow(HelperProcess(self._request(rejected)))

    def _follow(self, helper: HelperProcess) -> None:
        self._helper = helper
        helper.answer.add_done_callback(lambda future: self._hand_over(future.result()))

    def _hand_over(self, answer: AccessToken | Failure) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._answered, answer)

    def _answered(self, answer: AccessToken | Failure) -> None:
        self._helper = None
        if isinstance(answer, AccessToken) and self._waiters and not self._again and self._came_late(answer):
            self._again = True
            self._start(None)
            return
        self._again = False
        if isinstance(answer, Failure) and not self._over:
            self._failed(answer)
        if isinstance(answer, AccessToken):
            self._token, self._failure = answer, None
        elif answer.reason != "login_required":
            self._failure, self._failed_at = answer, self._loop.time()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter(answer)

    def _came_late(self, token: AccessToken) -> bool:
        """Whether the machine slept, or its clock was set, while the token was on its way; it was good when it left."""
        now, began = time.time(), token.issued_at
        over = is_usable(token, began) and not is_usable(token, now)
        return over or not 0 <= now - began < self._recheck
