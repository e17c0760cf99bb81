"""What a provider or a keyring in trouble may cost: a renewal, and never a sign-in that is still good."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from acp_stdio.oauth.endpoint import TokenResponse, parse_token_response
from acp_stdio.oauth.http import Answer
from acp_stdio.secrets import Secret
from tests.unit.tokens.world import SESSION, Script, World, ok, refuses


def answers(status: int, body: object) -> Script:
    """As the provider's own bytes, read by the code that reads them."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda _: parse_token_response(Answer(status, {}, raw))


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, b"", "idp_unreachable"),
        (400, b"<html>captive portal</html>", "idp_unreachable"),
        (400, b"\x00\xff{", "idp_unreachable"),
        (429, b"", "idp_unreachable"),
        (429, {"error": "invalid_grant"}, "idp_unreachable"),
        (400, {"error": "slow_down"}, "idp_unreachable"),
        (500, {"error": "invalid_grant"}, "idp_unreachable"),
        (503, b"", "idp_unreachable"),
        (401, {"error": "invalid_client"}, "configuration_invalid"),
        (400, {"error": "unauthorized_client"}, "configuration_invalid"),
        (400, {"error": "invalid_target"}, "configuration_invalid"),
    ],
)
def test_an_answer_that_does_not_speak_against_the_sign_in_keeps_it_and_it_works_again(
    tmp_path: Path, status: int, body: object, reason: str
) -> None:
    world = World(tmp_path, [answers(status, body), ok()])
    failure = world.refused()
    assert (failure.reason, bool(failure.advice)) == (reason, True)
    assert world.stored() == "rt-0"
    assert world.now() == SESSION, "no mark, no end, no confirmation"
    assert world.obtain().value == Secret("at-1")
    assert world.spent == ["rt-0", "rt-0"]


def locked(world: World) -> None:
    world.memory.lock()


def gone(world: World) -> None:
    """The daemon died: whoever asks it, is told so for as long as it is away."""
    world.memory.fail_saves(6)


@pytest.mark.parametrize("happens", [locked, gone])
def test_a_keyring_that_goes_away_while_its_grant_is_renewed_costs_nothing_at_a_provider_that_does_not_rotate(
    tmp_path: Path, happens: Callable[[World], None]
) -> None:
    def meanwhile(world: World) -> TokenResponse:
        happens(world)
        return ok(None)(world)

    world = World(tmp_path, [meanwhile])
    assert world.obtain().value == Secret("at-1"), "there is nothing to store"
    world.memory.unlock()
    assert world.stored() == "rt-0"
    assert world.now().in_flight_since == 0.0


@pytest.mark.parametrize("happens", [locked, gone])
@pytest.mark.parametrize("lenient", [True, False], ids=["takes-the-old-one", "strict"])
def test_a_successor_that_no_keyring_takes_is_said_and_the_old_one_is_tried_once_more(
    tmp_path: Path, happens: Callable[[World], None], lenient: bool
) -> None:
    def meanwhile(world: World) -> TokenResponse:
        happens(world)
        return ok("rt-1")(world)

    world = World(tmp_path, [meanwhile, ok("rt-2") if lenient else refuses("invalid_grant")])
    failure = world.refused()
    assert failure.reason == "keyring_locked"
    assert "its new refresh token could not be stored" in failure.message
    assert world.now() == replace(SESSION, in_flight_since=world.now().in_flight_since, in_flight_rotation=5)
    world.memory.unlock()
    assert world.stored() == "rt-0"
    if lenient:  # a grace period, or no reuse detection
        assert world.obtain().value == Secret("at-1")
        assert (world.stored(), world.now().in_flight_since) == ("rt-2", 0.0)
    else:
        assert "the connection broke while your sign-in was being renewed" in world.refused().message
        assert world.now().ended_because == "interrupted"
