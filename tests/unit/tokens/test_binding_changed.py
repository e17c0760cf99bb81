"""A sign-in that was made with another `dpop` than the configuration has by now is not used: not even renewed."""

from dataclasses import replace
from pathlib import Path

import pytest

from acp_stdio.errors import Failure
from acp_stdio.identity.model import Session
from acp_stdio.settings.model import Dpop
from acp_stdio.tokens.refresh import obtain_token
from tests.unit.tokens.world import FINANCE, SESSION, World, ok

BOUND = replace(SESSION, jkt="a-key", token_type="DPoP")
ANSWERED_WITH_BEARER = replace(SESSION, jkt="a-key", token_type="Bearer")
BEARER = replace(SESSION, token_type="Bearer")


def world(tmp_path: Path, session: Session, dpop: Dpop) -> World:
    found = World(tmp_path, [ok()])
    found.session.write(session)
    settings = replace(found.settings, identity=replace(found.settings.identity, dpop=dpop))
    found.ctx = replace(found.ctx, settings=settings)
    return found


@pytest.mark.parametrize(
    ("session", "dpop"),
    [
        (BOUND, "require"),
        (BOUND, "auto"),
        (ANSWERED_WITH_BEARER, "auto"),
        (BEARER, "auto"),
        (BEARER, "off"),
        (SESSION, "off"),  # written before any of this was kept
    ],
)
def test_one_that_fits_is_renewed(tmp_path: Path, session: Session, dpop: Dpop) -> None:
    assert obtain_token(world(tmp_path, session, dpop).ctx, FINANCE).value.reveal() == "at-1"


@pytest.mark.parametrize(
    ("session", "dpop", "words"),
    [
        (BOUND, "off", "is bound to a key"),
        (ANSWERED_WITH_BEARER, "off", "is bound to a key"),
        (BEARER, "require", "is not bound to a key"),
        (ANSWERED_WITH_BEARER, "require", "is not bound to a key"),
        (SESSION, "require", "is not bound to a key"),
    ],
)
def test_one_that_does_not_is_told_and_nothing_is_spent(
    tmp_path: Path, session: Session, dpop: Dpop, words: str
) -> None:
    stage = world(tmp_path, session, dpop)
    with pytest.raises(Failure, match=words) as caught:
        obtain_token(stage.ctx, FINANCE)
    assert caught.value.reason == "login_required"
    assert "acp-stdio login" in caught.value.advice
    assert stage.spent == []
    assert stage.now().signed_in
