"""After a logout or another sign-in: has the provider revoke the tokens that only this process held."""

import subprocess
import threading
from collections.abc import Callable
from typing import Final

from acp_stdio.identity.model import Held
from acp_stdio.runtime.helper_process import own_command
from acp_stdio.tokens.handover import LoginRequest
from acp_stdio.tokens.messages import Revocation, Revoked, decode_revoked, encode_revocation

BOUND: Final = 30.0
"""Seconds for one token."""
_GRAVITY: Final[list[Revoked]] = ["revoked", "unsupported", "failed"]


def give_back_all(held: Held, under: LoginRequest, told: Callable[[Revoked], None] | None) -> None:
    """Starts it; `told`, where there is one, hears, on a thread of its own, what became of the token that fared worst.

    `under`: the options under which we run. An ID token is nothing that RFC 7009 could end.
    """
    options, session = (under.config, under.profile, under.targets), held.session
    asked = [
        Revocation(*options, upstream, session.issuer, session.client_id, token.value, session.default_endpoints)
        for upstream, token in held.tokens.items()
        if token.claims.get("format") != "id_token"
    ]

    def work() -> None:
        outcomes: list[Revoked] = [_revoked(each) for each in asked] or ["unsupported"]
        if told is not None:
            told(max(outcomes, key=_GRAVITY.index))

    threading.Thread(target=work, name="giving-back", daemon=True).start()


def _revoked(revocation: Revocation) -> Revoked:
    try:
        done = subprocess.run(
            own_command("token-helper"),
            input=encode_revocation(revocation),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            timeout=BOUND,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "failed"
    return decode_revoked(done.stdout)
