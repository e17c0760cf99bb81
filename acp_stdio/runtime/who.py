"""Who is signed in, as the trail writes it and as a login or logout elsewhere changes it."""

import socket

from acp_stdio.audit.record import Context
from acp_stdio.errors import Failure
from acp_stdio.identity.model import Session
from acp_stdio.runtime.keeper import Keeper


class Who:
    """One process's view of the shared session."""

    def __init__(self, keeper: Keeper, upstream: str) -> None:
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
        """The generation of the login that holds now; None where nobody is signed in."""
        session = self.session()
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
        """Whether the person signed out, rather than being signed out by the provider."""
        session = self.session()
        return session is not None and not session.signed_in and session.ended_because == "logout"

    def context(self) -> Context:
        """What all records share; made anew only when the session has changed."""
        try:
            session = self.session()
        except Failure:  # the file is damaged: what is refused for that is still recorded, as nobody's
            return Context(None, self._device, self._upstream)
        if session is not self._session:
            account = session.account if session is not None and session.signed_in else None
            user = None
            if account is not None:
                user = {
                    "sub": account.sub,
                    "iss": account.issuer,
                    "label": account.label,
                    "email": account.email,
                    "tenant": account.tenant,
                }
            self._session, self._context = session, Context(user, self._device, self._upstream)
        return self._context
