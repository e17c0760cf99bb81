"""For a server that takes no token: its calls leave at once, and the trail still names who is signed in."""

import math
from typing import Final

from acp_stdio.errors import Failure
from acp_stdio.identity.model import AccessToken, Session
from acp_stdio.runtime.helper_process import HelperProcess
from acp_stdio.runtime.keeper import Keeper, Waiter
from acp_stdio.secrets import Secret
from acp_stdio.settings.revocations import revoked_failure

_EMPTY: Final = Secret("")


class Tokenless(Keeper):
    """A keeper with nothing to keep: there is no helper, and no sign-in is required."""

    def let_go(self, session: Session | None) -> None:
        """There is nothing to forget."""

    def usable(self) -> AccessToken:
        """An empty one for each call. Raises `Failure("denied")` for a person whom the administrator has revoked."""
        session = self.session()
        if session is not None and session.account is not None and self._is_revoked(session.account.key):
            raise revoked_failure()
        return AccessToken(_EMPTY, upstream="", origin="", generation=0, issued_at=0.0, expires_at=math.inf)

    def still_holds(self, token: AccessToken) -> bool:
        """It belongs to no sign-in."""
        return True

    def acquire(self, waiter: Waiter, rejected: AccessToken | None = None) -> None:
        """There is no other one to be had."""
        try:
            waiter(self.usable())
        except Failure as failure:
            waiter(failure)

    def close(self) -> HelperProcess | None:
        """Nothing was started."""
