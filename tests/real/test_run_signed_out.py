"""`run` for somebody who is not signed in: it answers at once, and a sign-in mends the running process."""

import json
import stat
from pathlib import Path

import pytest

from tests.kit.host import PATIENCE, RawHost, reason_of, text_of
from tests.kit.leaks import scan
from tests.kit.oidc_provider import oidc_provider
from tests.kit.scene import Scene, ended, eventually
from tests.kit.sdk_upstream import sdk_upstream
from tests.kit.signing_in import Machine

pytestmark = pytest.mark.real

OURS = ["acp_login", "acp_status"]
ERAS = pytest.mark.parametrize("modern", [False, True], ids=["legacy", "modern"])


@ERAS
def test_who_never_signed_in_gets_a_handshake_two_tools_and_a_readable_answer(scene: Scene, modern: bool) -> None:
    since, asked = scene.upstream.now, scene.token_requests()
    with scene.host(modern=modern, shaken=False) as host:
        assert "tools" in host.shake_hands()["capabilities"]
        assert host.tools() == OURS
        refused = host.call("echo", text="x")
        assert (
            text_of(refused) == "Nothing was sent. You have not signed in yet. Run `acp-stdio login`, then ask again."
        )
        assert (refused["result"]["isError"], reason_of(refused)) == (True, "login_required")
        assert host.ask("prompts/get", {"name": "x"})["error"]["code"] == 4401
        assert "You have not signed in yet." in text_of(host.call("acp_status"))
    assert scene.upstream.lines(since=since) == []
    assert scene.token_requests() == asked
    assert scene.pages_opened() == 0


@ERAS
def test_after_acp_login_the_same_process_works_and_says_to_reopen_the_host_once(scene: Scene, modern: bool) -> None:
    with scene.host(modern=modern) as host:
        done = text_of(host.call("acp_login"))
        assert done.startswith("Signed in as alice@example.com.")
        assert "Quit this application completely and open it again" in done
        assert text_of(host.call("whoami")) == "alice"
        assert "echo" in host.tools()
    assert scene.pages_opened() == 1


def test_a_host_that_had_the_catalogue_is_not_told_to_reopen(scene: Scene) -> None:
    scene.login()
    with scene.host() as host:
        assert text_of(host.call("whoami")) == "alice"
        (scene.machine.state / "session.json").unlink()
        eventually(lambda: reason_of(host.call("echo", text="x")) == "login_required", "signed out")
        assert text_of(host.call("acp_login")) == "Signed in as alice@example.com. Ask again."
        assert text_of(host.call("whoami")) == "alice"


def test_a_login_in_a_terminal_mends_the_process_that_runs(scene: Scene) -> None:
    with scene.host() as host:
        assert reason_of(host.call("whoami")) == "login_required"
        scene.login()
        assert text_of(host.call("whoami")) == "alice"
        host.wait_for(lambda frame: frame.get("method") == "notifications/tools/list_changed")
        assert "echo" in host.tools()


def test_two_copies_that_both_want_a_sign_in_open_one_page(scene: Scene) -> None:
    """Claude Desktop starts each server twice."""
    scene.person_waits()
    with scene.host() as first, scene.host() as second:
        asked = [(first, first.begin("acp_login")), (second, second.begin("acp_login"))]
        eventually(lambda: scene.pages_opened() == 1, "a page was opened")
        scene.go.touch()
        for host, request in asked:
            assert text_of(host.answer(request)).startswith("Signed in as alice@example.com.")
        for host in (first, second):
            assert text_of(host.call("whoami")) == "alice"
    assert scene.pages_opened() == 1


def test_a_host_that_kills_the_copy_that_asked_does_not_kill_the_sign_in(scene: Scene) -> None:
    scene.person_waits()
    with scene.host() as survivor:
        killed = RawHost(scene.environment, scene.home)
        killed.shake_hands()
        killed.begin("acp_login")
        eventually(lambda: scene.pages_opened() == 1, "a page was opened")
        waiting = survivor.begin("acp_login")
        killed.kill()
        assert ended(killed.process)
        scene.go.touch()
        assert text_of(survivor.answer(waiting)).startswith("Signed in as alice@example.com.")
        assert text_of(survivor.call("whoami")) == "alice"
        killed.leave()
    assert scene.pages_opened() == 1


def test_a_person_who_says_no_is_asked_again_only_when_they_want(scene: Scene) -> None:
    script = scene.machine.browser.read_text().replace("--user", "--decline --user")
    scene.machine.browser.write_text(script)
    with scene.host() as host:
        refused = host.call("acp_login")
        assert refused["result"]["isError"]
        assert text_of(refused).startswith("The sign-in was refused or cancelled at the identity provider")
        assert text_of(host.call("acp_login")).startswith("A sign-in page was opened less than a minute ago.")
    assert scene.pages_opened() == 1


@ERAS
def test_the_last_accounts_lists_are_served_until_logout_and_then_gone(scene: Scene, modern: bool) -> None:
    scene.login()
    session = scene.machine.state / "session.json"
    kept = session.read_text()
    over = json.loads(kept) | {"signed_in": False, "generation": 9, "ended_because": "revoked"}
    session.write_text(json.dumps(over))
    with scene.host(modern=modern) as host:
        assert "echo" in host.tools()
        refused = host.call("echo", text="x")
        assert "Your identity provider ended your sign-in" in text_of(refused)
    session.write_text(kept)
    scene.logout()
    with scene.host(modern=modern) as host:
        assert host.tools() == OURS
        assert "You signed out." in text_of(host.call("echo", text="x"))
    assert list(scene.cache.glob("finance-*")) == []


def test_a_process_that_ran_through_the_logout_forgets_the_lists_too(scene: Scene) -> None:
    scene.login()
    with scene.host() as host:
        assert "echo" in host.tools()
        scene.logout()
        eventually(lambda: host.tools() == OURS, "the lists are gone")
    assert list(scene.cache.glob("finance-*")) == []


def test_what_is_remembered_holds_no_token_and_is_the_persons_alone(scene: Scene) -> None:
    scene.login()
    with scene.host() as host:
        host.tools()
        assert text_of(host.call("whoami")) == "alice"
    assert len(list(scene.cache.glob("finance-*"))) == 2
    assert scan(scene.provider.issued(), scene.home / "cache", scene.home / "state") == []
    for place in ("cache", "state", "log"):
        for path in (scene.home / place).rglob("*"):
            public = path.name == "device-key.json"  # the public half of this computer's key, for who enrols it
            wanted = 0o700 if path.is_dir() else 0o644 if public else 0o600
            assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_the_handshake_is_answered_while_the_company_is_unreachable(tmp_path: Path) -> None:
    with oidc_provider() as provider, sdk_upstream(provider.issuer) as upstream:
        scene = Scene(tmp_path, provider, upstream)
        scene.login()
        scene.remember()
        upstream.stop()
        provider.stop()
        for modern in (False, True):
            with scene.host(modern=modern, shaken=False) as host:
                hands = host.shake_hands()
                assert "tools" in hands["capabilities"]
                assert {"echo", *OURS} <= set(host.tools())
                refused = host.call("echo", text="x")
                assert text_of(refused).startswith("Nothing was sent.")
                assert reason_of(refused) == "idp_unreachable"


def test_a_server_that_is_down_is_said_and_nothing_was_sent(scene: Scene, tmp_path: Path) -> None:
    with sdk_upstream(scene.provider.issuer) as other:
        away = Scene(tmp_path / "away", scene.provider, other)
        away.login()
    with away.host() as host:
        refused = host.call("echo", text="x")
        assert reason_of(refused) == "upstream_unreachable"
        assert text_of(refused).startswith("Nothing was sent.")


def test_nothing_opens_and_nothing_is_sent_just_because_a_host_starts_us(scene: Scene) -> None:
    since, asked = scene.upstream.now, len(scene.provider.log())
    for _ in range(2):
        with scene.host() as host:
            host.tools()
    assert (scene.pages_opened(), len(scene.provider.log()), scene.upstream.lines(since=since)) == (0, asked, [])


def test_a_sign_in_after_a_logout_may_be_somebody_elses_and_calls_are_then_theirs(scene: Scene) -> None:
    scene.login()
    with scene.host() as host:
        assert text_of(host.call("whoami")) == "alice"
        scene.logout()
        as_bob = Machine(scene.home, scene.provider.issuer, scene.upstream.url, user="bob")
        assert as_bob.run("login").returncode == 0
        scene.remember()
        assert text_of(host.call("whoami")) == "bob"
        intents = [r["user"]["sub"] for r in scene.trail("call.intent") if r["tool"] == "whoami"]
        assert intents == ["alice", "bob"]


def test_run_ends_with_its_host(scene: Scene) -> None:
    scene.login()
    with scene.host() as host:
        request = host.begin("slow")
        scene.upstream.wait_for("tool=slow", "begun")
        assert host.leave() == 0
        assert host.process.wait(PATIENCE) == 0
        assert request
    scene.upstream.wait_for("tool=slow", "cancelled")
