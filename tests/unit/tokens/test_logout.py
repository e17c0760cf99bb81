"""Signing out, and what is left to say when something could not be done."""

from dataclasses import replace
from pathlib import Path

import pytest

from acp_stdio.errors import Failure
from acp_stdio.identity.model import Session
from acp_stdio.secrets import Secret
from acp_stdio.tokens import logout
from acp_stdio.tokens.logout import sign_out
from acp_stdio.tokens.session_file import SessionFile
from tests.unit.tokens.world import GRANT, NOW, SARAH, SESSION, World


def test_logout_ends_it_here_and_at_the_idp(tmp_path: Path) -> None:
    world = World(tmp_path, [])
    (world.settings.cache_dir / "deep").mkdir(parents=True)
    (world.settings.cache_dir / "deep" / "catalogue.json").write_text("{}")
    trail = world.settings.state_dir / "trail.jsonl"
    trail.write_text("{}\n")
    report = sign_out(world.ctx)
    assert report == logout.LogoutReport(
        account=SARAH,
        issuer=world.now().issuer,
        was_signed_in=True,
        revocation="revoked",
        deleted=True,
        access_until=0.0,
    )
    assert world.revoked == ["rt-0"]
    assert world.stored() is None
    now = world.now()
    assert (now.signed_in, now.ended_because, now.generation) == (False, "logout", 4)
    assert not world.settings.cache_dir.exists()
    assert trail.read_text() == "{}\n", "the trail stays"
    assert world.refused().message == "You signed out."


def test_the_tombstone_comes_before_anything_that_may_hang(tmp_path: Path) -> None:
    seen: list[Session | None] = []
    world = World(tmp_path, [])

    def provider(_issuer: str, _client: str) -> World:
        seen.append(SessionFile(world.settings.state_dir).read())
        return world

    sign_out(replace(world.ctx, provider=provider))
    assert [session and session.ended_because for session in seen] == ["logout"]


def test_a_second_logout_has_nothing_to_do(tmp_path: Path) -> None:
    world = World(tmp_path, [])
    sign_out(world.ctx)
    first = world.now()
    report = sign_out(world.ctx)
    assert (report.was_signed_in, report.revocation, report.deleted) == (False, "nothing", True)
    assert report.problems == ()
    assert world.now() == replace(first, generation=first.generation + 1), "which ends what a process holds by itself"


def test_who_never_signed_in_can_log_out(tmp_path: Path) -> None:
    world = World(tmp_path, [])
    world.session.path.unlink()
    world.vault.delete()
    report = sign_out(world.ctx)
    assert (report.account, report.was_signed_in, report.revocation) == (None, False, "nothing")
    assert report.problems == ()


def test_an_unreachable_idp_leaves_you_signed_out_here_and_is_said(tmp_path: Path) -> None:
    world = World(tmp_path, [])
    world.prepared = Failure("idp_unreachable", "idp.example.com could not be reached: no route.")
    report = sign_out(world.ctx)
    assert (report.revocation, report.deleted) == ("failed", True)
    assert "no route" in report.problems[0]
    assert world.stored() is None
    assert not world.now().signed_in


@pytest.mark.parametrize(("answer", "problems"), [("unsupported", 0), ("failed", 1)])
def test_an_idp_that_does_not_revoke_is_told_apart_from_one_that_fails(
    tmp_path: Path, answer: str, problems: int
) -> None:
    world = World(tmp_path, [])
    world.revocation = "unsupported" if answer == "unsupported" else "failed"
    report = sign_out(world.ctx)
    assert report.revocation == answer
    assert len(report.problems) == problems


def test_a_locked_keyring_leaves_you_signed_out_and_is_said(tmp_path: Path) -> None:
    world = World(tmp_path, [])
    world.memory.lock()
    report = sign_out(world.ctx)
    assert (report.revocation, report.deleted) == ("failed", False)
    assert ["could not be read" in report.problems[0], "could not be deleted" in report.problems[1]] == [True, True]
    assert not world.now().signed_in
    world.memory.unlock()
    assert sign_out(world.ctx).revocation == "revoked", "a second logout finishes what was left"
    assert world.stored() is None


def test_it_says_until_when_issued_access_tokens_may_live(tmp_path: Path) -> None:
    world = World(tmp_path, [])
    world.session.write(replace(SESSION, confirmed_at=NOW - 100, access_ttl=300.0))
    assert sign_out(world.ctx).access_until == NOW + 200
    world.session.write(replace(SESSION, confirmed_at=NOW - 400, access_ttl=300.0))
    assert sign_out(world.ctx).access_until == 0.0


def test_a_damaged_state_file_does_not_keep_anybody_signed_in(tmp_path: Path) -> None:
    world = World(tmp_path, [])
    world.session.path.write_bytes(b"{")
    report = sign_out(world.ctx)
    assert report.revocation == "revoked"
    assert not world.now().signed_in
    assert world.now().generation > GRANT.generation


def test_a_record_that_cannot_be_read_is_deleted_all_the_same(tmp_path: Path) -> None:
    world = World(tmp_path, [])
    (key,) = world.memory.keys()
    world.memory.save(key, Secret("{}"))
    report = sign_out(world.ctx)
    assert (report.revocation, report.deleted) == ("failed", True)
    assert "could not be read, so it was not revoked" in report.problems[0]
    assert world.memory.keys() == set()


def test_a_logout_ends_the_grant_of_who_signed_in_whatever_is_configured_now(tmp_path: Path) -> None:
    world = World(tmp_path, [])
    identity = replace(world.settings.identity, issuer="https://new.example.com")
    report = sign_out(replace(world.ctx, settings=replace(world.settings, identity=identity)))
    assert report.revocation == "revoked"
    assert world.memory.keys() == set()


def test_a_login_that_was_killed_half_way_is_ended_too(tmp_path: Path) -> None:
    world = World(tmp_path, [])
    world.session.write_next(replace(SESSION, generation=4))
    world.vault.save(replace(GRANT, generation=4))
    sign_out(world.ctx)
    assert world.now().generation == 5
    assert world.session.read_next() is None
    assert world.stored() is None


def test_a_renewal_that_does_not_end_delays_neither_tombstone_nor_revocation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, [])
    monkeypatch.setattr(logout, "LOCK_TIMEOUT", 0.3)
    with world.ctx.renewing(1.0):
        report = sign_out(world.ctx)
    assert world.revoked == ["rt-0"]
    assert any("still running" in problem for problem in report.problems)
    assert not world.now().signed_in
