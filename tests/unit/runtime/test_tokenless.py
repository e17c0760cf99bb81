"""A server that takes no token: calls need no sign-in, and whoever is signed in is still named and may be revoked."""

import asyncio
import time
from dataclasses import replace

import pytest

from acp_stdio.errors import Failure
from acp_stdio.identity.model import AccessToken, Account, Session
from acp_stdio.runtime.holding import Holding
from acp_stdio.runtime.tokenless import Tokenless
from acp_stdio.runtime.who import Who
from acp_stdio.tokens.messages import Request

ALICE = Session(
    generation=3,
    signed_in=True,
    account=Account("alice", "alice@example.com", "alice", "https://idp.example.com", "alice@example.com"),
    issuer="https://idp.example.com",
    client_id="acp-stdio",
    obtained_at=time.time(),
    confirmed_at=0.0,
)


class Sessions:
    """Whoever the test says is signed in (`tokens.sign_ins.Sessions`)."""

    def __init__(self, session: Session | None) -> None:
        self.session = session

    def current(self) -> Session | None:
        return self.session


def keeper(sessions: Sessions, *revoked: str) -> Tokenless:
    loop = asyncio.new_event_loop()
    loop.close()

    def request(rejected: str | None) -> Request:
        raise AssertionError("no helper is asked")

    holding = Holding("tools", sessions, 900.0)
    return Tokenless("tools", request, holding, 900.0, loop, is_revoked=lambda key: key in revoked)


@pytest.mark.parametrize("session", [None, ALICE, replace(ALICE, signed_in=False)])
def test_a_call_may_leave_whoever_is_signed_in_and_carries_nothing(session: Session | None) -> None:
    token = keeper(Sessions(session)).usable()
    assert token.value.reveal() == ""
    assert token.claims == {}
    assert keeper(Sessions(None)).still_holds(token)


def test_a_person_whom_the_administrator_has_revoked_sends_nothing() -> None:
    mine = keeper(Sessions(ALICE), "alice")
    told: list[AccessToken | Failure] = []
    with pytest.raises(Failure):
        mine.usable()
    mine.acquire(told.append)
    assert isinstance(told[0], Failure)


def test_a_logout_changes_the_name_in_the_trail_and_ends_no_call() -> None:
    sessions = Sessions(ALICE)
    who = Who(keeper(sessions), "files", required=False)
    before = who.generation
    named = who.context().user
    assert named is not None
    assert named["sub"] == "alice"
    sessions.session = replace(ALICE, signed_in=False)
    assert who.now_signed_in() == before, "so that the lane cancels nothing"
    assert who.context().user is None
