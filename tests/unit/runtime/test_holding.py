"""A sign-in without a refresh token lives in one process, and no longer than it may."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from acp_stdio.identity.model import AccessToken, Account, Held, Session
from acp_stdio.runtime import holding as module
from acp_stdio.runtime.holding import Holding, is_held
from acp_stdio.secrets import Secret
from acp_stdio.tokens.endings import ended, signed_out
from acp_stdio.tokens.session_file import SessionFile

NOW = 1_900_000_000.0
RECHECK = 900.0
ALICE = Account("alice", "alice@example.com", "alice", "https://idp.example.com")
SESSION = Session(0, True, ALICE, "https://idp.example.com", obtained_at=NOW, confirmed_at=NOW)


def token(upstream: str = "finance", lifetime: float = 600.0) -> AccessToken:
    return AccessToken(Secret(f"at-{upstream}"), upstream, "https://finance.example.com:443", 0, NOW, NOW + lifetime)


def held(*tokens: AccessToken) -> Held:
    return Held(SESSION, {each.upstream: each for each in tokens or (token(),)})


class Process:
    """One process's view, its clock and whom it tells."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.file = SessionFile(folder)
        self.now = NOW
        self.given_back: list[Held] = []
        self.told: list[bool] = []
        self.awaited: list[bool] = []
        self.view = Holding("finance", self.file, RECHECK, self.gives_back, self.told.append)
        patch.setattr(time, "time", lambda: self.now)

    def gives_back(self, held: Held, told: bool) -> None:
        self.given_back.append(held)
        self.awaited.append(told)

    def signed_in(self) -> str:
        """Who, or why nobody."""
        session = self.view.current()
        if session is None or not session.signed_in:
            return signed_out(session).message
        assert session.account is not None
        return session.account.label


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Process:
    assert module.time is time
    return Process(tmp_path, monkeypatch)


def hold(process: Process, *tokens: AccessToken) -> None:
    process.view.hold(held(*tokens), process.view.shared_generation())


def test_it_is_the_sign_in_of_this_process_and_of_no_other(process: Process, tmp_path: Path) -> None:
    hold(process)
    assert process.signed_in() == "alice@example.com"
    assert Holding("finance", SessionFile(tmp_path), RECHECK).current() is None
    assert list(tmp_path.iterdir()) == [], "nothing is written"


def test_its_tokens_are_told_apart_from_every_stored_sign_ins(process: Process) -> None:
    hold(process)
    session = process.view.current()
    assert session is not None
    assert process.view.held is not None
    (mine,) = process.view.held.tokens.values()
    assert is_held(mine)
    assert not is_held(replace(mine, generation=1))
    assert mine.generation == session.generation
    hold(process)
    again = process.view.current()
    assert again is not None
    assert again.generation != session.generation, "a later sign-in is another one"


def outlives(process: Process) -> None:
    process.now = NOW + 600.0


def goes_unconfirmed(process: Process) -> None:
    process.now = NOW + RECHECK


def has_its_clock_put_back(process: Process) -> None:
    process.now = NOW - 3600.0


@pytest.mark.parametrize("happens", [outlives, goes_unconfirmed, has_its_clock_put_back])
def test_it_ends_with_its_access_token_and_with_the_time_for_a_recheck(
    process: Process, happens: Callable[[Process], None]
) -> None:
    hold(process, token(lifetime=600.0 if happens is outlives else 3600.0))
    happens(process)
    assert "issues no refresh token" in process.signed_in()
    assert "`acp_login`" in signed_out(process.view.current()).advice
    assert process.told == [True, False]
    assert process.given_back == [], "it is over anyway"
    process.now = NOW
    assert "issues no refresh token" in process.signed_in(), "a clock that is put right brings nothing back"


def test_a_clock_that_is_put_back_does_not_make_it_live_longer(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = 0.0
    monkeypatch.setattr(module, "elapsed", lambda: passed)
    process.now = NOW + 300.0
    hold(process, token(lifetime=600.0))
    passed, process.now = 299.0, NOW + 1.0  # put back by almost ten minutes
    assert "issues no refresh token" in process.signed_in()


def test_a_refused_token_ends_it_and_another_sign_ins_does_not(process: Process) -> None:
    hold(process)
    assert process.view.held is not None
    first = process.view.held.tokens["finance"]
    hold(process)
    process.view.refused(first)
    assert process.signed_in() == "alice@example.com"
    process.view.refused(process.view.held.tokens["finance"])
    assert "does not take your access token" in process.signed_in()


def test_one_for_another_upstream_is_not_this_ones(process: Process) -> None:
    hold(process, token("payroll"))
    assert process.view.current() is None
    hold(process, token(), token("payroll"))
    assert process.view.held is not None
    assert list(process.view.held.tokens) == ["finance"]


@pytest.mark.parametrize("before", [None, 7])
def test_a_logout_elsewhere_ends_it_and_gives_the_token_back(process: Process, before: int | None) -> None:
    if before is not None:
        process.file.write(ended(replace(SESSION, generation=before), "logout", NOW - 100))
    hold(process)
    process.file.write(replace(ended(SESSION, "logout", NOW), generation=(before or 0) + 2))
    assert process.signed_in() == "You signed out."
    assert [list(each.tokens) for each in process.given_back] == [["finance"]]
    assert process.awaited == [True], "by the logout"
    assert process.told == [True], "what became of the token is told by whoever gives it back"


def test_a_logout_that_came_while_the_person_signed_in_wins(process: Process) -> None:
    beside = process.view.shared_generation()
    process.file.write(replace(ended(SESSION, "logout", NOW), generation=1))
    process.view.hold(held(), beside)
    assert process.signed_in() == "You signed out."
    assert len(process.given_back) == 1


def test_a_sign_in_that_is_stored_takes_its_place_and_its_token_is_given_back(process: Process) -> None:
    hold(process)
    bob = replace(ALICE, label="bob@example.com")
    process.file.write(replace(SESSION, generation=1, account=bob))
    assert process.signed_in() == "bob@example.com"
    assert process.told == [True, False]
    assert [list(each.tokens) for each in process.given_back] == [["finance"]]
    assert process.awaited == [False], "nobody waits for it"


def test_a_later_one_takes_its_place_and_the_token_before_is_given_back(process: Process) -> None:
    hold(process)
    first = process.view.held
    hold(process, replace(token(), value=Secret("at-stronger")))
    assert process.signed_in() == "alice@example.com"
    assert (process.given_back, process.awaited, process.told) == ([first], [False], [True, True])


def test_the_administrators_word_ends_it_and_its_token_is_given_back(process: Process) -> None:
    hold(process)
    mine = process.view.held
    process.view.withdraw()
    assert process.signed_in().startswith("Your administrator signed you out")
    assert (process.given_back, process.told) == ([mine], [True, False])
    process.view.withdraw()
    assert process.given_back == [mine], "once"


def test_beside_a_stored_sign_in_it_comes_first_and_goes_alone(process: Process) -> None:
    bob = replace(ALICE, label="bob@example.com")
    process.file.write(replace(SESSION, generation=1, account=bob))
    hold(process)
    assert process.signed_in() == "alice@example.com"
    process.now = NOW + 600.0
    assert process.signed_in() == "bob@example.com"


def test_until_is_when_the_first_of_its_bounds_is_reached(process: Process) -> None:
    assert process.view.until == 0.0
    hold(process, token(lifetime=600.0))
    assert process.view.until == NOW + 540.0
    hold(process, token(lifetime=36_000.0))
    assert process.view.until == NOW + RECHECK
