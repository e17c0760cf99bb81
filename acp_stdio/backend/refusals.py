"""Why a request is not served. The words are for the server's own log; a caller gets the status and the code."""


class Refused(Exception):
    """Somebody who may not in. `why` never holds a token."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class InvalidToken(Refused):
    """Missing, forged, stale, or for somebody or something else: 401 `invalid_token` (RFC 6750 section 3.1)."""


class InsufficientScope(Refused):
    """A good token that lacks `scopes`: 403 `insufficient_scope`."""

    def __init__(self, scopes: tuple[str, ...]) -> None:
        super().__init__(f"the token lacks the scope {' '.join(scopes)}")
        self.scopes = scopes


class KeysUnavailable(Refused):
    """Nothing can be said about any token: the issuer's keys cannot be had. 503; not the caller's fault."""
