"""Who is signed in, as the trail writes it and as a login or logout elsewhere changes it."""

import logging
import socket
import time
from typing import Any

from acp_stdio.audit.record import Context, event_record, user_of
from acp_stdio.audit.trail import Trail
from acp_stdio.errors import Failure
from acp_stdio.identity.model import Session
from acp_stdio.runtime.keeper import Keeper
from acp_stdio.tokens.endings import ended_here

log = logging.getLogger(__name__)


class Who:
    """One process's view of the shared session."""

    def __init__(self, keeper: Keeper, upstream: str, *, required: bool = True) -> None:
        """`required`: whether calls need a sign-in. Where they do not, one that ends changes nothing but the names."""
        self._required = required
        self._keeper = keeper
        self._device = socket.gethostname()
        self._upstream = upstream
        self._session: Session | None = None
        self._context = Context(None, self._device, upstream)
        self.generation = self._first_seen()
        """The login that was last looked at; None while signed out."""

    def session(self) -> Session | None:
        """The session as it stands. Raises `Failure` where its file cannot be read."""
        return self._keeper.session()

    def now_signed_in(self) -> int | None:
        """The generation of the login that holds now; None where nobody is signed in and somebody has to be."""
        if not self._required:
            return 0
        return self.signed_in_by(self.session())

    def signed_in_by(self, session: Session | None) -> int | None:
        """What `now_signed_in` says of this session."""
        if not self._required:
            return 0
        return session.generation if session is not None and session.signed_in else None

    def is_signed_in(self) -> bool:
        """Whether somebody is; a session file that cannot be read says nobody."""
        return self._first_seen() is not None

    def _first_seen(self) -> int | None:
        try:
            return self.now_signed_in()
        except Failure:
            return None

    def logged_out(self) -> bool:
        """See `endings.ended_here`."""
        return ended_here(self.session())

    def refresh_failed(self, trail: Trail, failure: Failure) -> None:
        """Puts a renewal that failed into the trail: whose it was, and why."""
        self.record(trail, "refresh.failed", {"upstream": self._upstream}, outcome="error", reason=failure.reason)

    def record(self, trail: Trail, event: str, about: dict[str, Any], *, outcome: str = "ok", reason: str = "") -> None:
        """Puts something that is no call into the trail: while who was signed in, and `about` what."""
        user, device, now = self.context().user, self._device, time.time()
        try:
            trail.append(
                event_record(event, user=user, now=now, device=device, outcome=outcome, reason=reason, about=about)
            )
        except Failure as why:
            log.error("%s was not recorded: %s", event, why.message)

    def context(self) -> Context:
        """What all records share; made anew only when the session has changed."""
        try:
            session = self.session()
        except Failure:  # the file is damaged: what is refused for that is still recorded, as nobody's
            return Context(None, self._device, self._upstream)
        if session is not self._session:
            account = session.account if session is not None and session.signed_in else None
            self._session, self._context = session, Context(user_of(account), self._device, self._upstream)
        return self._context
