"""The device flow waits out trouble, obeys the server's pace, and ends when the code does."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest

from acp_stdio.errors import Failure
from acp_stdio.login.client import InteractiveClient
from acp_stdio.login.device import DeviceCode, instructions, wait_for_person
from acp_stdio.oauth.endpoint import TokenError, TokenResponse
from acp_stdio.secrets import Secret

DONE = TokenResponse(Secret("a"), "Bearer", 300.0)
PENDING = TokenError("misconfigured", "not yet", error="authorization_pending")
SLOW = TokenError("misconfigured", "slower", error="slow_down")


class Script:
    """A server's answers in turn, and a clock that only moves when we sleep."""

    def __init__(self, *answers: TokenResponse | TokenError) -> None:
        self._answers = list(answers)
        self.now = 0.0
        self.waits: list[float] = []

    def poll_device(self, device_code: Secret, parameters: Mapping[str, str]) -> TokenResponse:
        answer = self._answers.pop(0) if self._answers else PENDING
        if isinstance(answer, TokenError):
            raise answer
        return answer

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def _code(**changes: Any) -> DeviceCode:
    values: dict[str, Any] = {
        "device_code": Secret("d"),
        "user_code": "ABCD-EFGH",
        "verification_uri": "https://idp.example.com/device",
        "verification_uri_complete": "https://idp.example.com/device?user_code=ABCD-EFGH",
        "expires_in": 600.0,
        "interval": 5.0,
    }
    return DeviceCode(**(values | changes))


def _wait(script: Script, code: DeviceCode | None = None, timeout: float = 600.0) -> TokenResponse:
    clock: Callable[[], float] = lambda: script.now  # noqa: E731  # the script's clock, as a function
    client = cast("InteractiveClient", script)
    return wait_for_person(client, code or _code(), {}, timeout=timeout, clock=clock, sleep=script.sleep)


def test_it_polls_at_the_servers_pace_until_the_person_is_done() -> None:
    script = Script(PENDING, PENDING, DONE)
    assert _wait(script, _code(interval=7.0)) == DONE
    assert script.waits == [7.0, 7.0, 7.0]


def test_slow_down_adds_five_seconds_for_good() -> None:
    script = Script(SLOW, PENDING, SLOW, DONE)
    _wait(script)
    assert script.waits == [5.0, 10.0, 10.0, 15.0]


@pytest.mark.parametrize("kind", ["unsent", "answer_lost", "transient"])
def test_a_blip_is_waited_out(kind: Any) -> None:
    assert _wait(Script(TokenError(kind, "broken"), TokenError(kind, "broken"), DONE)) == DONE


def test_a_dead_network_is_asked_less_and_less_often() -> None:
    script = Script(*[TokenError("unsent", "broken")] * 6, DONE)
    _wait(script)
    assert script.waits == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0]


def test_the_persons_no_is_final() -> None:
    with pytest.raises(Failure) as caught:
        _wait(Script(PENDING, TokenError("misconfigured", "no", error="access_denied")))
    assert caught.value.reason == "denied"


@pytest.mark.parametrize("limits", [{"expires_in": 30.0}, {"timeout": 30.0}])
def test_it_ends_when_the_code_or_the_patience_does(limits: dict[str, float]) -> None:
    script = Script()
    timeout = limits.pop("timeout", 600.0)
    with pytest.raises(Failure) as caught:
        _wait(script, _code(**limits), timeout)
    assert caught.value.reason == "timeout"
    assert script.now <= 30.0


def test_an_expired_code_is_said_at_once() -> None:
    script = Script(TokenError("misconfigured", "expired", error="expired_token"))
    with pytest.raises(Failure, match="expired"):
        _wait(script)
    assert script.waits == [5.0]


def test_a_refusal_of_the_client_is_not_polled_through() -> None:
    script = Script(TokenError("misconfigured", "The identity provider refused.", error="invalid_client"))
    with pytest.raises(Failure) as caught:
        _wait(script)
    assert caught.value.reason == "configuration_invalid"
    assert len(script.waits) == 1


def test_the_person_is_warned_of_phishing_and_sees_the_code() -> None:
    text = instructions(_code())
    assert "ABCD-EFGH" in text
    assert "https://idp.example.com/device?user_code=ABCD-EFGH" in text
    assert "Never give this code to anybody" in text
