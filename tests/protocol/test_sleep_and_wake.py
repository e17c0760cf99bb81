"""The machine sleeps, or somebody sets its clock: no token is used beyond its life, no confirmation counts longer."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from acp_stdio.runtime import elapsed as elapsed_module
from tests.protocol.stage import RECHECK, Stage

Act = Callable[[], Awaitable[None]]


class Clocks:
    """The wall clock and the one that only goes forward, set by the test; the loop's own goes on as ever."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        wall, steady = time.time, elapsed_module.elapsed
        self._set = self._slept = 0.0
        patch.setattr(time, "time", lambda: wall() + self._set + self._slept)
        patch.setattr(elapsed_module, "elapsed", lambda: steady() + self._slept)

    def sleep(self, seconds: float) -> None:
        """The machine's lid is closed for so long."""
        self._slept += seconds

    def put(self, seconds: float) -> None:
        """Somebody, or the time service, sets the wall clock: back where negative."""
        self._set += seconds


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clocks: Clocks) -> Stage:
    return Stage(tmp_path, monkeypatch)


def play(stage: Stage, act: Act) -> None:
    async def on_stage() -> None:
        async with stage.running():
            await act()

    anyio.run(on_stage)


async def served(stage: Stage, tokens: int) -> None:
    """One call with the token at hand, the `tokens`th that was fetched."""
    before = len(stage.connector.sent)
    stage.call()
    await stage.until(lambda: len(stage.connector.sent) == before + 1)
    assert stage.connector.sent[-1].headers["Authorization"] == f"Bearer token-{tokens}"
    stage.connector.sent[-1].answer()
    await stage.read()


async def renewed_first(stage: Stage) -> None:
    """A call leaves only once a new token is there."""
    before, helpers = len(stage.connector.sent), len(stage.helpers)
    stage.call()
    await stage.until(lambda: len(stage.helpers) == helpers + 1)
    assert len(stage.connector.sent) == before
    stage.confirm()
    stage.give(stage.token())
    await stage.until(lambda: len(stage.connector.sent) == before + 1)
    assert stage.connector.sent[-1].headers["Authorization"] == f"Bearer token-{helpers + 1}"
    stage.connector.sent[-1].answer()
    await stage.read()


def over(clocks: Clocks) -> None:
    clocks.sleep(3600.0)


def ahead(clocks: Clocks) -> None:
    clocks.put(3600.0)


def unconfirmed(clocks: Clocks) -> None:
    clocks.sleep(RECHECK)


def back_before_it_was_issued(clocks: Clocks) -> None:
    clocks.put(-3600.0)


def back_while_it_lived(clocks: Clocks) -> None:
    clocks.sleep(200.0)
    clocks.put(-100.0)


def asleep_and_back(clocks: Clocks) -> None:
    clocks.sleep(3600.0)
    clocks.put(-3500.0)


HAPPENINGS = [over, ahead, unconfirmed, back_before_it_was_issued, back_while_it_lived, asleep_and_back]


@pytest.mark.parametrize("happens", HAPPENINGS)
def test_after_it_a_renewal_comes_first_and_then_all_is_as_before(
    stage: Stage, clocks: Clocks, happens: Callable[[Clocks], None]
) -> None:
    async def act() -> None:
        stage.give(stage.token(expires_at=time.time() + (1e6 if happens is unconfirmed else 300.0)))
        await served(stage, 1)
        happens(clocks)
        await renewed_first(stage)
        await served(stage, 2)

    play(stage, act)


@pytest.mark.parametrize("happens", [over, unconfirmed, back_before_it_was_issued])
def test_a_token_that_was_on_its_way_meanwhile_is_not_sent(
    stage: Stage, clocks: Clocks, happens: Callable[[Clocks], None]
) -> None:
    async def act() -> None:
        token = stage.token(expires_at=time.time() + (1e6 if happens is unconfirmed else 300.0))
        stage.call()
        stage.write(b"garbage")
        assert (await stage.read())["error"]["code"] == -32700  # so the call before it waits for its token now
        happens(clocks)
        stage.give(token)
        await stage.until(lambda: len(stage.helpers) == 2)
        assert stage.connector.sent == []
        stage.confirm()
        stage.give(stage.token())
        await stage.until(lambda: stage.connector.sent)
        assert stage.connector.sent[0].headers["Authorization"] == "Bearer token-2"

    play(stage, act)


def test_a_provider_whose_tokens_are_over_when_they_come_is_not_asked_without_end(stage: Stage) -> None:
    async def act() -> None:
        stage.call()
        stage.write(b"garbage")
        assert (await stage.read())["error"]["code"] == -32700  # so the call before it waits for its token now
        late = stage.token(issued_at=time.time() - 400.0, expires_at=time.time() - 100.0)
        stage.give(late)
        await stage.until(lambda: len(stage.helpers) == 2)
        stage.give(late)
        await stage.until(lambda: stage.connector.sent)
        assert len(stage.helpers) == 2, "the server is the judge"

    play(stage, act)
