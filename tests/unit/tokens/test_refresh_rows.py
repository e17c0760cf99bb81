"""The refresh transaction against a scripted identity provider: each answer and what follows from it."""

import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from acp_stdio.errors import Failure
from acp_stdio.identity.model import Session
from acp_stdio.oauth.endpoint import TokenError, TokenResponse
from acp_stdio.secrets import Secret
from acp_stdio.tokens.context import Cancelled
from acp_stdio.tokens.messages import fingerprint
from acp_stdio.tokens.refresh import obtain_token
from tests.unit.tokens.world import FINANCE, GRANT, NOW, SESSION, Script, World, ok, refuses


@dataclass(frozen=True)
class Row:
    """What the provider answers, one entry a request, and what is left afterwards."""

    name: str
    script: list[Script]
    result: str
    """The access token, or the reason of the failure."""
    stored: str | None
    signed_in: bool = True
    ended_because: str = ""
    cut_off: float = 0.0
    """`in_flight_since` that a killed process left behind."""
    marked: bool = False
    """Whether the mark is there afterwards."""
    words: str = ""
    spent: tuple[str, ...] = ("rt-0",)


ROWS = [
    Row("rotated", [ok()], "at-1", "rt-1"),
    Row("not rotated", [ok(None)], "at-1", "rt-0"),
    Row("same again", [ok("rt-0")], "at-1", "rt-0"),
    Row("rotated after a killed process", [ok()], "at-1", "rt-1", cut_off=9900.0),
    Row("unsent", [refuses("unsent")], "idp_unreachable", "rt-0", words="You stay signed in"),
    Row("transient", [refuses("transient")], "idp_unreachable", "rt-0", words="You stay signed in"),
    Row(
        "unsent after a killed process",
        [refuses("unsent")],
        "idp_unreachable",
        "rt-0",
        cut_off=9900.0,
        marked=True,
    ),
    Row(
        "misconfigured",
        [refuses("misconfigured", "invalid_target: no such resource")],
        "configuration_invalid",
        "rt-0",
        words="no such resource",
    ),
    Row(
        "lost, then granted",
        [refuses("answer_lost"), ok("rt-2")],
        "at-1",
        "rt-2",
        spent=("rt-0", "rt-0"),
    ),
    Row(
        "lost after a killed process, then granted",
        [refuses("answer_lost"), ok("rt-2")],
        "at-1",
        "rt-2",
        cut_off=9900.0,
        spent=("rt-0", "rt-0"),
    ),
    Row(
        "lost, then refused",
        [refuses("answer_lost"), refuses("invalid_grant")],
        "login_required",
        None,
        signed_in=False,
        ended_because="interrupted",
        words="the connection broke while your sign-in was being renewed",
        spent=("rt-0", "rt-0"),
    ),
    Row(
        "lost twice",
        [refuses("answer_lost"), refuses("answer_lost")],
        "idp_unreachable",
        "rt-0",
        marked=True,
        spent=("rt-0", "rt-0"),
    ),
    Row(
        "lost, then no connection",
        [refuses("answer_lost"), refuses("unsent")],
        "idp_unreachable",
        "rt-0",
        marked=True,
        spent=("rt-0", "rt-0"),
    ),
    Row(
        "revoked",
        [refuses("invalid_grant")],
        "login_required",
        None,
        signed_in=False,
        ended_because="revoked",
        words="Your identity provider ended your sign-in",
    ),
    Row(
        "refused after a killed process",
        [refuses("invalid_grant")],
        "login_required",
        None,
        signed_in=False,
        ended_because="interrupted",
        cut_off=9900.0,
        words="the connection broke while your sign-in was being renewed",
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name.replace(" ", "-"))
def test_each_answer_has_its_consequence(tmp_path: Path, row: Row) -> None:
    world = World(tmp_path, list(row.script))
    world.session.write(replace(SESSION, in_flight_since=row.cut_off))
    if row.result == "at-1":
        token = world.obtain()
        assert token.value.reveal() == row.result
        assert (token.generation, token.issued_at) == (3, NOW)
        assert (world.now().confirmed_at, world.now().access_ttl) == (NOW, 300.0)
    else:
        failure = world.refused()
        assert failure.reason == row.result
        assert row.words in failure.message
        assert failure.advice
        assert world.now().confirmed_at == SESSION.confirmed_at
    assert tuple(world.spent) == row.spent
    assert world.script == []
    assert world.closed == 1, "no connection is left open"
    assert world.stored() == row.stored
    now = world.now()
    assert (now.signed_in, now.ended_because) == (row.signed_in, row.ended_because)
    assert (now.in_flight_since > 0) is row.marked
    assert (now.generation > 3) is not row.signed_in


@pytest.mark.parametrize(
    ("successor", "said", "end"),
    [
        ("rt-1", 600.0, NOW + 600),
        (None, 600.0, NOW + 600),
        (None, 0.0, 20_000.0),  # the same refresh token, of which that was said
        ("rt-0", 0.0, 20_000.0),
        ("rt-1", 0.0, 0.0),  # another one, of which nothing was said
    ],
)
def test_the_end_of_the_stored_refresh_token_is_the_one_that_was_said_of_it(
    tmp_path: Path, successor: str | None, said: float, end: float
) -> None:
    world = World(tmp_path, [lambda world: replace(ok(successor)(world), refresh_expires_in=said)])
    world.session.write(replace(SESSION, refresh_expires_at=20_000.0))
    world.obtain()
    assert world.now().refresh_expires_at == end


def test_a_newer_rotation_in_the_vault_is_used_before_anybody_is_signed_out(tmp_path: Path) -> None:
    def overtaken(world: World) -> TokenResponse:
        world.vault.save(replace(GRANT, refresh_token=Secret("rt-newer"), rotation=6))
        raise TokenError("invalid_grant", "grant request is invalid")

    world = World(tmp_path, [overtaken, ok("rt-7")])
    assert world.obtain().value == Secret("at-1")
    assert world.spent == ["rt-0", "rt-newer"]
    assert world.stored() == "rt-7"
    assert world.now().signed_in


def test_a_refused_newer_rotation_ends_the_session_after_one_try(tmp_path: Path) -> None:
    def overtaken(world: World) -> TokenResponse:
        world.vault.save(replace(GRANT, refresh_token=Secret("rt-newer"), rotation=6))
        raise TokenError("invalid_grant", "grant request is invalid")

    world = World(tmp_path, [overtaken, refuses("invalid_grant")])
    assert world.refused().reason == "login_required"
    assert world.now().ended_because == "revoked"


def test_the_vault_is_read_again_a_few_times_before_a_refusal_is_believed(tmp_path: Path) -> None:
    world = World(tmp_path, [refuses("invalid_grant")])
    world.refused()
    assert world.slept[-4:] == [0.0, 0.025, 0.05, 0.1]


def test_nobody_has_the_access_token_before_its_refresh_token_is_stored(tmp_path: Path) -> None:
    world = World(tmp_path, [ok()])
    world.memory.fail_saves(5)
    assert world.obtain().value == Secret("at-1")
    assert world.stored() == "rt-1"
    assert world.slept[-6:] == [0.0, 0.2, 1.0, 2.0, 4.0, 8.0]


def test_a_refresh_token_that_cannot_be_stored_is_said_plainly(tmp_path: Path) -> None:
    world = World(tmp_path, [ok()])
    world.memory.fail_saves(6)
    failure = world.refused()
    assert failure.reason == "keyring_locked"
    assert "renewed" in failure.message
    assert "could not be stored" in failure.message
    assert world.now().in_flight_since > 0, "so that the refusal that follows is told as what it is"
    world.script.append(refuses("invalid_grant"))
    world.refused()
    assert world.now().ended_because == "interrupted"


def test_a_request_that_cannot_be_put_together_leaves_no_mark(tmp_path: Path) -> None:
    def unclear(_world: World) -> TokenResponse:
        raise Failure("configuration_invalid", "Upstream finance has no scopes.")

    world = World(tmp_path, [unclear])
    assert world.refused().reason == "configuration_invalid"
    assert world.now() == SESSION


def test_a_locked_keyring_spends_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, [ok()])
    world.memory.lock()
    assert world.refused().reason == "keyring_locked"
    assert world.spent == []
    assert world.now() == SESSION


@pytest.mark.parametrize("because", ["logout", "revoked", "interrupted"])
def test_who_is_signed_out_is_told_why_and_the_idp_is_not_asked(tmp_path: Path, because: str) -> None:
    world = World(tmp_path, [])
    world.session.write(replace(SESSION, signed_in=False, ended_because=because))
    failure = world.refused()
    assert failure.reason == "login_required"
    assert {"logout": "You signed out", "revoked": "ended your sign-in", "interrupted": "broke"}[
        because
    ] in failure.message
    assert "acp-stdio login" in failure.advice


def test_who_never_signed_in_is_told_so(tmp_path: Path) -> None:
    world = World(tmp_path, [])
    world.session.path.unlink()
    assert "not signed in yet" in world.refused().message


def test_an_unreachable_idp_is_noticed_before_anything_is_touched(tmp_path: Path) -> None:
    world = World(tmp_path, [])
    world.prepared = Failure("idp_unreachable", "idp.example.com could not be reached.")
    assert world.refused().reason == "idp_unreachable"
    assert world.now() == SESSION


def test_a_grant_of_another_generation_is_never_spent(tmp_path: Path) -> None:
    world = World(tmp_path, [])
    world.vault.save(replace(GRANT, generation=2))
    assert world.refused().reason == "login_required"
    assert world.spent == []
    assert world.slept == [0.0, 0.025, 0.05, 0.1]


def test_a_grant_that_is_gone_needs_a_login(tmp_path: Path) -> None:
    world = World(tmp_path, [])
    world.vault.delete()
    failure = world.refused()
    assert failure.reason == "login_required"
    assert "memory" in failure.message


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (replace(SESSION, issuer="https://other.example.com"), "https://other.example.com"),
        (replace(SESSION, client_id="other-client"), "other-client"),
    ],
)
def test_a_grant_of_another_issuer_or_client_is_never_spent(tmp_path: Path, other: Session, named: str) -> None:
    world = World(tmp_path, [])
    world.session.write(other)
    failure = world.refused()
    assert failure.reason == "login_required"
    assert named in failure.message


def test_an_upstream_that_the_login_did_not_ask_for_needs_a_new_login(tmp_path: Path) -> None:
    """A refused resource can burn the refresh token, so it is not tried."""
    world = World(tmp_path, [])
    world.session.write(replace(SESSION, resources={"hr": "https://hr.example.com/mcp"}))
    failure = world.refused()
    assert failure.reason == "login_required"
    assert "finance" in failure.message


@pytest.mark.parametrize("reason", ["wrong_audience", "denied"])
def test_a_token_that_is_not_proven_is_not_returned_and_nothing_is_lost(tmp_path: Path, reason: str) -> None:
    world = World(tmp_path, [ok()])
    world.proof = Failure(reason, "The token is for somebody else.")
    assert world.refused().reason == reason
    assert world.stored() == "rt-1"
    assert world.now().signed_in


def test_the_rejected_token_is_not_handed_out_again(tmp_path: Path) -> None:
    world = World(tmp_path, [ok("rt-1", "at-0"), ok("rt-2", "at-1")])
    rejected = fingerprint(Secret("at-0"))
    assert world.refused(rejected=rejected).reason == "wrong_audience"
    assert world.obtain(rejected=rejected).value == Secret("at-1")


def test_nothing_is_spent_for_who_went_away(tmp_path: Path) -> None:
    world = World(tmp_path, [])
    with pytest.raises(Cancelled):
        obtain_token(world.ctx, FINANCE, cancelled=lambda: True)
    assert world.now() == SESSION


def test_a_reader_that_is_gone_when_we_say_sent_stops_it_unspent(tmp_path: Path) -> None:
    def gone() -> None:
        raise Cancelled

    world = World(tmp_path, [])
    with pytest.raises(Cancelled):
        obtain_token(world.ctx, FINANCE, on_sent=gone)
    assert world.now() == SESSION


def test_a_ctrl_c_during_the_rotation_waits_until_it_is_stored(tmp_path: Path) -> None:
    def pressed(world: World) -> TokenResponse:
        os.kill(os.getpid(), signal.SIGINT)
        return ok("rt-1")(world)

    world = World(tmp_path, [pressed])
    with pytest.raises(KeyboardInterrupt):
        world.obtain()
    assert world.stored() == "rt-1"
    assert world.now().in_flight_since == 0.0
    assert world.closed == 1


def test_who_goes_away_after_sending_does_not_stop_the_saving(tmp_path: Path) -> None:
    sent: list[bool] = []
    world = World(tmp_path, [ok()])
    obtain_token(world.ctx, FINANCE, cancelled=lambda: bool(sent), on_sent=lambda: sent.append(True))
    assert world.stored() == "rt-1"


def test_a_logout_during_the_refresh_wins_and_finds_the_newest_token(tmp_path: Path) -> None:
    def signed_out_meanwhile(world: World) -> TokenResponse:
        world.session.update(lambda now: replace(now or SESSION, signed_in=False, generation=4, ended_because="logout"))
        return ok("rt-1")(world)

    world = World(tmp_path, [signed_out_meanwhile])
    failure = world.refused()
    assert (failure.reason, failure.message) == ("login_required", "You signed out.")
    assert world.stored() == "rt-1", "for the waiting logout to revoke"
    assert not world.now().signed_in


def test_a_login_killed_before_its_last_step_is_completed(tmp_path: Path) -> None:
    world = World(tmp_path, [ok()])
    world.session.write_next(replace(SESSION, generation=4, obtained_at=9990.0))
    world.vault.save(replace(GRANT, generation=4))
    assert world.obtain().generation == 4
    assert world.now().obtained_at == 9990.0
    assert world.session.read_next() is None


def test_a_login_killed_before_it_stored_its_grant_leaves_the_old_one(tmp_path: Path) -> None:
    world = World(tmp_path, [ok()])
    world.session.write_next(replace(SESSION, generation=4))
    assert world.obtain().generation == 3
    assert world.stored() == "rt-1"


def test_a_disk_that_is_full_spends_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, [])
    (world.settings.state_dir / "session.tmp").mkdir()  # what the session is written to first
    failure = world.refused()
    assert failure.reason == "configuration_invalid"
    assert "cannot be written" in failure.message
    assert world.spent == []


def test_a_second_refresh_waits_for_the_first_and_says_so_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, [])
    monkeypatch.setattr("acp_stdio.tokens.refresh.LOCK_TIMEOUT", 0.3)
    with world.ctx.renewing(1.0):
        assert world.refused().reason == "timeout"
    assert world.now() == SESSION
