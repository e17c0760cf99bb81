"""Leaving: a logout, a closed account, a provider that is away; and what refreshing must survive until then."""

import contextlib
from datetime import datetime
from pathlib import Path

import pytest

from tests.kit.host import RawHost, reason_of, text_of
from tests.kit.oidc_provider import OidcProvider, oidc_provider
from tests.kit.scene import Scene, all_gone, eventually, processes_below
from tests.kit.sdk_upstream import SdkUpstream, sdk_upstream

pytestmark = pytest.mark.real

ERAS = pytest.mark.parametrize("modern", [False, True], ids=["legacy", "modern"])


@pytest.fixture
def scene(scene: Scene) -> Scene:
    """Alice, signed in."""
    scene.login()
    return scene


@ERAS
def test_a_logout_cancels_what_is_in_flight_and_refuses_what_comes(scene: Scene, modern: bool) -> None:
    since = scene.upstream.now
    with scene.host(modern=modern) as first, scene.host(modern=modern) as second:
        hosts = (first, second)
        for host in hosts:
            assert text_of(host.call("whoami")) == "alice"
        if not modern:
            scene.upstream.wait_for("stream begun /mcp", since=since, count=2)
        waiting = [host.begin("slow") for host in hosts]
        scene.upstream.wait_for("tool=slow", "begun", since=since, count=2)
        scene.logout()
        for host, request in zip(hosts, waiting, strict=True):
            cancelled = host.answer(request)  # without anybody asking: the process noticed the logout itself
            assert text_of(cancelled).startswith(
                "This may have been carried out: check before repeating. You signed out."
            )
            assert reason_of(cancelled) == "login_required"
        if modern:  # closing the connection is how this era cancels
            scene.upstream.wait_for("tool=slow", "cancelled", since=since, count=2)
        else:
            scene.upstream.wait_for("stream ended /mcp", since=since, count=2)
        told = scene.upstream.now
        for host in hosts:
            refused = host.call("echo", text="too late")
            assert text_of(refused) == "Nothing was sent. You signed out. Run `acp-stdio login`, then ask again."
        assert scene.upstream.lines("body", since=told) == []
    scene.upstream.steer("release")  # for the legacy calls, which nobody waits for any more
    outcomes = [r["outcome"] for r in scene.trail("call.outcome") if r["tool"] == "slow"]
    assert outcomes == ["cancelled", "cancelled"]


def test_a_call_right_after_the_logout_is_refused_though_the_process_has_not_looked_around_yet(scene: Scene) -> None:
    started = scene.upstream.now
    with contextlib.ExitStack() as stack:
        hosts = [stack.enter_context(scene.host(modern=True)) for _ in range(3)]
        for host in hosts:
            assert text_of(host.call("whoami")) == "alice"
        scene.upstream.wait_for("tool=whoami", "outcome=ok", since=started, count=3)
        since = scene.upstream.now
        scene.logout()
        answers = [host.answer(host.begin("whoami")) for host in hosts]
        assert [reason_of(answer) for answer in answers] == ["login_required"] * 3
        assert scene.upstream.lines("tool=", since=since) == []


@ERAS
def test_a_disabled_person_is_out_within_the_recheck_time_and_nobody_touched_the_laptop(
    provider: OidcProvider, upstream: SdkUpstream, tmp_path: Path, modern: bool
) -> None:
    scene = Scene(tmp_path, provider, upstream, user="bob", identity='recheck_identity = "1s"')
    scene.login()
    with scene.host(modern=modern) as host:
        assert text_of(host.call("whoami")) == "bob"
        provider.disable("bob")
        try:
            eventually(lambda: reason_of(host.call("whoami")) == "login_required", "refused")
            since = upstream.now
            refused = host.call("whoami")
            assert text_of(refused).startswith("Nothing was sent. Your identity provider ended your sign-in:")
            assert upstream.lines("tool=", since=since) == []
        finally:
            provider.enable("bob")
    session = scene.session()
    assert (session["signed_in"], session["ended_because"]) == (False, "revoked")


def test_no_process_calls_later_than_the_limit_after_the_provider_last_confirmed_the_person(
    provider: OidcProvider, upstream: SdkUpstream, tmp_path: Path
) -> None:
    limit = 3
    scene = Scene(tmp_path, provider, upstream, user="bob", identity=f'recheck_identity = "{limit}s"')
    scene.login()
    with contextlib.ExitStack() as stack:
        hosts = [stack.enter_context(scene.host(modern=True)) for _ in range(3)]
        for host in hosts:
            assert text_of(host.call("whoami")) == "bob"
        provider.disable("bob")
        try:
            for host in hosts:
                eventually(lambda host=host: reason_of(host.call("whoami")) == "login_required", "refused")
        finally:
            provider.enable("bob")
    last_word = scene.session()["confirmed_at"]
    intents = [datetime.fromisoformat(record["time"]).timestamp() for record in scene.trail("call.intent")]
    assert len(intents) >= 3
    assert max(intents) < last_word + limit, "by the time of the durable intent, which precedes the call"


def test_calls_go_on_without_the_provider_until_the_recheck_time_and_no_longer(tmp_path: Path) -> None:
    with oidc_provider() as provider, sdk_upstream(provider.issuer) as upstream:
        scene = Scene(tmp_path, provider, upstream, identity='recheck_identity = "5s"')
        scene.login()
        with scene.host() as host:
            assert text_of(host.call("whoami")) == "alice"
            scene.remember()
            provider.stop()
            assert text_of(host.call("whoami")) == "alice"
            eventually(lambda: reason_of(host.call("whoami")) == "idp_unreachable", "refused")
            since = upstream.now
            refused = host.call("whoami")
            assert text_of(refused).startswith("Nothing was sent.")
            assert reason_of(refused) == "idp_unreachable"
            assert upstream.lines("body", since=since) == []
        assert scene.session()["signed_in"], "an outage signs nobody out"


def helpers_of(scene: Scene) -> int:
    count = 0
    for folder in processes_below(scene.home):
        with contextlib.suppress(OSError):
            count += b"\0token-helper\0" in (folder / "cmdline").read_bytes()
    return count


def test_two_processes_that_refresh_at_the_same_moment_both_work_and_the_session_lives(scene: Scene) -> None:
    asked = scene.token_requests()
    scene.provider.fault("/token", "hold")
    with scene.host() as first, scene.host() as second:
        waiting = [(host, host.begin("whoami")) for host in (first, second)]
        eventually(lambda: helpers_of(scene) == 2, "both are refreshing")
        eventually(lambda: scene.token_requests() == asked + 1, "one has asked")
        scene.provider.release()
        for host, request in waiting:
            assert text_of(host.answer(request)) == "alice"
        assert scene.token_requests() == asked + 2
        scene.machine.json("status")
        with scene.host() as third:
            assert text_of(third.call("whoami")) == "alice"
    assert scene.session()["signed_in"]


def executions(scene: Scene, since: int) -> int:
    return len(scene.upstream.lines("tool=echo", "outcome=begun", since=since))


def test_a_refused_token_is_renewed_once_and_the_call_is_carried_out_once(scene: Scene) -> None:
    with scene.host(modern=True) as host:
        assert text_of(host.call("whoami")) == "alice"
        since, asked = scene.upstream.now, scene.token_requests()
        scene.upstream.steer("distrust")
        assert text_of(host.call("echo", text="once")) == "once"
        assert (executions(scene, since), scene.token_requests()) == (1, asked + 1)
    records = [r for r in scene.trail("call.") if r["tool"] == "echo"]
    assert [r["event"] for r in records] == ["call.intent", "call.outcome"]
    assert records[1]["outcome"] == "ok"


def test_a_token_that_is_refused_twice_is_not_tried_a_third_time(scene: Scene) -> None:
    with scene.host(modern=True) as host:
        assert text_of(host.call("whoami")) == "alice"
        since, asked = scene.upstream.now, scene.token_requests()
        scene.upstream.steer("refuse 2")
        refused = host.call("echo", text="x")
        assert text_of(refused).startswith("Nothing was carried out.")
        assert reason_of(refused) == "login_required"
        assert (executions(scene, since), scene.token_requests()) == (0, asked + 1)
        assert len(scene.upstream.lines("refused a token", since=since)) == 2
        assert text_of(host.call("echo", text="later")) == "later"


def test_64_calls_that_meet_a_refused_token_share_one_refresh(scene: Scene) -> None:
    with scene.host(modern=True) as host:
        assert text_of(host.call("whoami")) == "alice"
        since, asked = scene.upstream.now, scene.token_requests()
        scene.upstream.steer("distrust")
        requests = [host.begin("echo", text=str(number)) for number in range(64)]
        assert [text_of(host.answer(request)) for request in requests] == [str(number) for number in range(64)]
        assert (executions(scene, since), scene.token_requests()) == (64, asked + 1)


def test_tokens_that_live_for_seconds_never_reach_the_server_expired(tmp_path: Path) -> None:
    with oidc_provider(access_ttl=4) as provider, sdk_upstream(provider.issuer) as upstream:
        scene = Scene(tmp_path, provider, upstream)
        scene.login()
        with scene.host() as host:
            asked = scene.token_requests()
            many: list[str] = []

            def again() -> bool:
                many.append(text_of(host.call("whoami")))
                return scene.token_requests() >= asked + 3

            eventually(again, "three renewals")
            assert set(many) == {"alice"}
        assert {r["outcome"] for r in scene.trail("call.outcome")} == {"ok"}
        assert scene.trail("call.denied") == []


def test_a_process_killed_in_the_middle_of_a_refresh_loses_nothing_and_leaves_nobody(scene: Scene) -> None:
    asked = scene.token_requests()
    scene.provider.fault("/token", "hold")
    host = RawHost(scene.environment, scene.home)
    eventually(lambda: scene.token_requests() == asked + 1, "the refresh token is being spent")
    host.kill()
    scene.provider.release()
    all_gone(scene.home)
    host.leave()
    with scene.host() as next_one:
        assert text_of(next_one.call("whoami")) == "alice"
    assert scene.token_requests() == asked + 2
    all_gone(scene.home)
