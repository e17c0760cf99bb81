"""What a process held is ended at the provider, as far as it can be."""

import queue
from pathlib import Path

from acp_stdio.identity.model import AccessToken, Account, Held, Session
from acp_stdio.runtime.giving_back import give_back_all
from acp_stdio.secrets import Secret
from acp_stdio.tokens.handover import LoginRequest
from acp_stdio.tokens.messages import Revoked

ISSUER = "https://idp.example.com"


def test_nobody_is_told_to_have_revoked_an_id_token_which_no_provider_does(tmp_path: Path) -> None:
    token = AccessToken(
        Secret("an-id-token"),
        "finance",
        "https://finance.example.com:443",
        -1,
        0.0,
        300.0,
        claims={"format": "id_token"},
    )
    session = Session(-1, signed_in=True, account=Account("s", "s", "s", ISSUER), issuer=ISSUER, client_id="acp-stdio")
    outcomes: queue.SimpleQueue[Revoked] = queue.SimpleQueue()
    under = LoginRequest(str(tmp_path / "none.toml"), "default", ())
    give_back_all(Held(session, {"finance": token}), under, outcomes.put)
    assert outcomes.get(timeout=60) == "unsupported"
