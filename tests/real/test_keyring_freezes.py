"""A keyring that freezes around a renewal: each look at it is bounded, nothing is lost, and the session goes on."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from acp_stdio.settings.load import load
from acp_stdio.tokens.context import Context, open_context
from acp_stdio.tokens.refresh import obtain_token
from tests.kit import leaks
from tests.kit.host import reason_of, text_of
from tests.kit.scene import Scene, eventually
from tests.kit.secret_service import SecretService, secret_service

pytestmark = pytest.mark.real


@pytest.fixture
def service() -> Iterator[SecretService]:
    with secret_service() as running:
        yield running


@pytest.fixture
def scene(scene: Scene, service: SecretService, tmp_path: Path) -> Scene:
    """Somebody whose sign-in is in the keyring. The provider rotates, and ends a session whose old token comes back."""
    scene.machine.extra_environment["XDG_RUNTIME_DIR"] = service.environ["XDG_RUNTIME_DIR"]
    config = tmp_path / "config" / "config.toml"
    config.write_text(re.sub(r"\[storage\].*", '[storage]\nbackend = "auto"\n', config.read_text(), flags=re.S))
    scene.login()
    assert service.sign_ins()
    return scene


def test_frozen_before_it_is_read_nothing_is_spent_and_the_call_after_it_is_served(
    scene: Scene, service: SecretService
) -> None:
    with scene.host(modern=True) as host:
        assert text_of(host.call("whoami")) == "alice"
        asked = scene.token_requests()
        service.freeze()
        scene.upstream.steer("distrust")  # so that the token at hand is renewed
        refused = host.call("echo", text="now")
        assert reason_of(refused) == "keyring_locked"
        assert "did not answer within 3 s" in text_of(refused)
        assert scene.token_requests() == asked
        service.thaw()
        eventually(lambda: reason_of(host.call("whoami")) == "", "served again, without a restart or a sign-in")
    assert scene.session()["signed_in"]


def test_frozen_between_the_providers_answer_and_its_keeping_the_call_waits_and_is_served(
    scene: Scene, service: SecretService
) -> None:
    with scene.host(modern=True) as host:
        assert text_of(host.call("whoami")) == "alice"
        asked = scene.token_requests()
        scene.provider.fault("/token", "hold")
        scene.upstream.steer("distrust")
        request = host.begin("echo", text="through")
        eventually(lambda: scene.token_requests() == asked + 1, "the refresh token is being spent")
        service.freeze()
        scene.provider.release()
        eventually(lambda: [e["status"] for e in scene.provider.log() if e["path"] == "/token"][-1] == 200, "answered")
        service.thaw()
        assert text_of(host.answer(request)) == "through"
        scene.upstream.steer("distrust")
        assert text_of(host.call("echo", text="and on")) == "and on"
    assert scene.session()["signed_in"]


def test_what_could_not_be_kept_within_the_bound_is_kept_once_the_keyring_answers(
    scene: Scene, service: SecretService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.exported(monkeypatch)
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        """A pause after a try that failed: by then three seconds have passed without a word of the keyring."""
        pauses.append(seconds)
        if seconds == 1.0:
            service.thaw()

    def context() -> Context:
        return replace(open_context(settings, may_prompt=False), sleep=pause)

    settings = load(environ=scene.environment)
    upstream = settings.upstreams["finance"]
    first = obtain_token(context(), upstream, on_sent=service.freeze)
    assert pauses[-3:] == [0.0, 0.2, 1.0], "two tries failed, the third succeeded"
    leaks.remember(first.value.reveal())
    second = obtain_token(context(), upstream)
    assert second.value != first.value
    scene.remember()
    assert scene.session()["signed_in"]
