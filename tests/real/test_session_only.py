"""A provider that issues no refresh token: the sign-in lives in the process whose `acp_login` brought it."""

from pathlib import Path

import pytest

from tests.kit.host import RawHost, reason_of, text_of
from tests.kit.leaks import scan
from tests.kit.oidc_provider import OidcProvider
from tests.kit.scene import Scene, eventually
from tests.kit.sdk_upstream import SdkUpstream

pytestmark = pytest.mark.real


@pytest.fixture
def scene(provider: OidcProvider, upstream: SdkUpstream, tmp_path: Path) -> Scene:
    """Without `offline_access` the provider issues no refresh token (OpenID Connect Core section 11)."""
    return Scene(tmp_path, provider, upstream, identity='scopes = ["openid", "email"]')


def stored(scene: Scene) -> list[Path]:
    """What tells of a stored sign-in; a grant without it is nobody's. The vault also has this computer's key."""
    return list(scene.machine.state.glob("session*.json"))


def revocations(scene: Scene) -> int:
    """How often the provider was asked for one. It cannot revoke JWTs and says so (RFC 7009 section 2.2.1)."""
    return sum(entry["path"] == "/token/revocation" for entry in scene.provider.log())


def status_of(host: RawHost) -> str:
    return text_of(host.call("acp_status"))


def test_in_a_terminal_it_is_said_and_nothing_is_kept(scene: Scene) -> None:
    before = revocations(scene)
    done = scene.machine.run("login")
    scene.remember()
    assert done.returncode == 5
    assert "issued no refresh token" in done.stderr
    assert "`acp_login`" in done.stderr
    assert stored(scene) == []
    assert revocations(scene) == before + 1, "its access token is given back"


def test_the_process_that_asked_works_and_no_other(scene: Scene) -> None:
    since = scene.upstream.now
    with scene.host() as asked, scene.host() as other:
        done = text_of(asked.call("acp_login"))
        assert done.startswith("Signed in as alice@example.com. It lasts until ")
        assert "in this process only" in done
        assert text_of(asked.call("echo", text="mine")) == "mine"
        assert "in this process only" in status_of(asked)
        assert "You have not signed in yet." in status_of(other)
        assert reason_of(other.call("echo", text="theirs")) == "login_required"
        assert "holds a sign-in of its own" in scene.machine.run("status").stdout
    assert stored(scene) == []
    assert scan(scene.provider.issued(), scene.home) == []
    assert len(scene.upstream.lines("user=alice", "tool=echo", "outcome=ok", since=since)) == 1
    (login,) = scene.trail("login")
    (outcome,) = [record for record in scene.trail("call.outcome") if record["tool"] == "echo"]
    assert login["user"]["email"] == outcome["user"]["email"] == "alice@example.com"


def test_a_logout_ends_it_at_once_and_at_the_provider(scene: Scene) -> None:
    with scene.host() as host:
        host.call("acp_login")
        assert text_of(host.call("echo", text="before")) == "before"
        before = revocations(scene)
        done = scene.machine.run("logout")
        assert done.returncode == 0, done.stderr
        assert "its access token could not be revoked" in done.stdout
        assert revocations(scene) == before + 1
        refused = host.call("echo", text="after")
        assert text_of(refused).startswith("Nothing was sent. You signed out.")
        assert "You signed out." in status_of(host)
        assert text_of(host.call("acp_login")).startswith("Signed in as alice@example.com."), "and again"
        assert text_of(host.call("echo", text="again")) == "again"
        assert scene.machine.run("logout").returncode == 0, "a second logout ends the second one"
        assert text_of(host.call("echo", text="after")).startswith("Nothing was sent. You signed out.")


def test_a_sign_in_that_is_stored_replaces_it_and_its_token_is_given_back(scene: Scene) -> None:
    with scene.host() as host:
        host.call("acp_login")
        assert text_of(host.call("echo", text="held")) == "held"
        scene.machine.identity = scene.machine.identity.replace('"email"', '"email", "offline_access"')
        scene.machine.configure()
        before = revocations(scene)
        scene.login()
        assert "in this process only" not in status_of(host)
        eventually(lambda: revocations(scene) == before + 1, "the held token is given back")
        assert text_of(host.call("echo", text="stored")) == "stored"


def test_a_logout_that_the_provider_does_not_hear_ends_it_here_and_is_told(scene: Scene) -> None:
    with scene.host() as host:
        host.call("acp_login")
        scene.provider.fault("/token/revocation", "503")
        done = scene.machine.run("logout")
        assert done.returncode == 8
        assert "could not be revoked at the identity provider" in done.stdout
        eventually(lambda: "You signed out." in status_of(host), "it is not used any more")


def test_whoever_asked_and_died_gets_nothing_and_nothing_stays_behind(scene: Scene) -> None:
    scene.person_waits()
    before = revocations(scene)
    with scene.host() as killed:
        killed.begin("acp_login")
        eventually(lambda: scene.pages_opened() == 1, "the page opens")
        killed.kill()
    scene.go.touch()
    eventually(lambda: revocations(scene) == before + 1, "the token is given back")
    assert stored(scene) == []
