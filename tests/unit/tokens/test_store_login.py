"""A new login replaces the old one as a whole, or not at all."""

from dataclasses import replace
from pathlib import Path

import pytest

from acp_stdio.errors import Failure
from acp_stdio.identity.model import Account, Session
from acp_stdio.secrets import Secret
from acp_stdio.tokens.logout import sign_out
from acp_stdio.tokens.store_login import store_grant
from tests.unit.tokens.world import GRANT, ISSUER, NOW, SARAH, SESSION, URL, World, ok

INTERN = Account("sub-2", "intern@example.com", "sub-2", ISSUER)


def login(world: World, stored: str | None = "rt-new", account: Account = SARAH) -> Session:
    return store_grant(world.ctx, ok(stored)(world), account, {"finance": URL}, ["openid", "x"])


def test_after_a_login_the_session_and_the_grant_belong_together(tmp_path: Path) -> None:
    world = World(tmp_path, [ok("rt-next")])
    session = login(world, account=INTERN)
    assert session == world.now()
    assert (session.generation, session.signed_in, session.account) == (4, True, INTERN)
    assert (session.issuer, session.client_id) == (ISSUER, "acp-stdio")
    assert (session.resources, session.scopes) == ({"finance": URL}, ("openid", "x"))
    assert (session.obtained_at, session.confirmed_at, session.access_ttl) == (NOW, NOW, 300.0)
    assert session.storage == world.vault.name
    grant = world.vault.load()
    assert grant is not None
    assert (grant.generation, grant.rotation, grant.account_key) == (4, 0, "sub-2")
    assert world.obtain().generation == 4
    assert world.spent == ["rt-new"]


def test_somebody_elses_grant_is_revoked_once_the_new_one_is_safe(tmp_path: Path) -> None:
    world = World(tmp_path, [])
    login(world, account=INTERN)
    assert world.revoked == ["rt-0"]


def test_ones_own_earlier_grant_is_left_to_lapse_for_many_providers_would_end_the_new_one_with_it(
    tmp_path: Path,
) -> None:
    """Keycloak's TokenRevocationEndpoint ends every session of the person with the client; Google's, Auth0's too."""
    world = World(tmp_path, [ok("rt-next")])
    login(world)
    assert (world.revoked, world.stored()) == ([], "rt-new")
    assert world.obtain().generation == 4


def test_an_idp_that_cannot_be_told_does_not_spoil_the_new_login(tmp_path: Path) -> None:
    world = World(tmp_path, [])
    world.prepared = Failure("idp_unreachable", "no route")
    assert login(world, account=INTERN) == world.now()


def test_the_first_login_of_all(tmp_path: Path) -> None:
    world = World(tmp_path, [])
    world.session.path.unlink()
    world.vault.delete()
    session = login(world)
    assert session == world.now()
    assert session.generation >= int(NOW), "no process can hold a token of it"
    assert world.revoked == []


def test_a_login_after_a_logout_has_a_generation_of_its_own(tmp_path: Path) -> None:
    world = World(tmp_path, [])
    sign_out(world.ctx)
    assert login(world).generation == 5


def test_a_login_is_the_way_out_of_a_damaged_state_file(tmp_path: Path) -> None:
    world = World(tmp_path, [])
    world.session.path.write_bytes(b"{")
    assert login(world) == world.now()


def test_a_record_that_cannot_be_read_is_replaced(tmp_path: Path) -> None:
    world = World(tmp_path, [])
    (key,) = world.memory.keys()
    world.memory.save(key, Secret("{}"))
    login(world)
    assert world.stored() == "rt-new"


def test_a_login_at_another_issuer_leaves_nothing_of_the_old_one(tmp_path: Path) -> None:
    world = World(tmp_path, [])
    old = replace(SESSION, issuer="https://old.example.com")
    world.session.write(old)
    world.memory.delete(*world.memory.keys())
    world.vault.save(replace(GRANT, issuer=old.issuer))
    world.known_issuers.append(old.issuer)
    login(world)
    assert len(world.memory.keys()) == 1
    assert world.stored() == "rt-new"
    assert world.revoked == ["rt-0"]


def test_without_a_refresh_token_nothing_is_replaced(tmp_path: Path) -> None:
    world = World(tmp_path, [])
    with pytest.raises(Failure, match="no refresh token") as caught:
        login(world, None)
    assert caught.value.meaning.exit_code == 5
    assert (world.now(), world.stored(), world.revoked) == (SESSION, "rt-0", [])


def test_a_keyring_that_does_not_take_it_leaves_the_old_login(tmp_path: Path) -> None:
    world = World(tmp_path, [ok("rt-1")])
    world.memory.fail_saves(1)
    with pytest.raises(Failure) as caught:
        login(world)
    assert caught.value.reason == "keyring_locked"
    assert (world.now(), world.stored(), world.revoked) == (SESSION, "rt-0", [])
    assert world.obtain().generation == 3


def test_a_logout_during_the_login_wins(tmp_path: Path) -> None:
    world = World(tmp_path, [])

    def log_out() -> None:
        world.session.update(lambda now: replace(now or SESSION, signed_in=False, generation=5, ended_because="logout"))
        world.session.forget_next()

    world.memory.saved = log_out
    with pytest.raises(Failure, match="You signed out"):
        login(world)
    assert not world.now().signed_in
    world.memory.saved = None
    assert sign_out(world.ctx).revocation == "revoked"
    assert world.stored() is None


@pytest.mark.parametrize("step", ["before the grant is stored", "after the grant is stored"])
def test_a_ctrl_c_at_any_step_leaves_the_old_login(tmp_path: Path, step: str) -> None:
    world = World(tmp_path, [ok("rt-1")])

    def press() -> None:
        world.memory.saving = world.memory.saved = None
        raise KeyboardInterrupt

    if step.startswith("before"):
        world.memory.saving = press
    else:
        world.memory.saved = press
    with pytest.raises(KeyboardInterrupt):
        login(world, account=INTERN)
    assert (world.now(), world.stored()) == (SESSION, "rt-0")
    assert world.session.read_next() is None
    assert world.revoked == [], "the old one is in use; the new one is the caller's to give back"
    assert world.obtain().generation == 3


def test_a_ctrl_c_in_a_first_login_leaves_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, [])
    world.session.path.unlink()
    world.memory.delete(*world.memory.keys())

    def press() -> None:
        raise KeyboardInterrupt

    world.memory.saved = press
    with pytest.raises(KeyboardInterrupt):
        login(world)
    assert world.memory.keys() == set()
    assert world.session.read() is None
    assert world.session.read_next() is None
