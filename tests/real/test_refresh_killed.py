"""kill -9 at each step of the refresh transaction, against a provider that ends a grant when a token comes twice.

Afterwards a new process gets a token, or the provider had rotated and its answer was never stored, and then
that is what the person reads. There is no third way.
"""

import os
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple, get_args

import pytest

from acp_stdio.identity.model import Session
from acp_stdio.secrets import Secret
from acp_stdio.settings.load import load
from acp_stdio.tokens.context import open_context
from acp_stdio.tokens.store_login import store_grant
from tests.kit import leaks, skips
from tests.kit.crash import Forks, Outcome, When
from tests.kit.signing_in import Machine
from tests.kit.strict_provider import Loss, StrictProvider

pytestmark = pytest.mark.real

RESOURCE = "http://127.0.0.1:9/mcp"
BROKE = "the connection broke while your sign-in was being renewed"
LANES = 2
ROUNDS = 5
"""How often each lane goes through every step."""

# The transaction: everything that a process does to the world while it renews a sign-in, in order.
LOCK = ("open refresh.lock", "lock refresh.lock")
CHANGE_SESSION = (
    "open session.lock",
    "lock session.lock",
    "unlink session.tmp",
    "open session.tmp",
    "fsync session.tmp",
    "replace session.json",
    "fsync default",
    "unlock session.lock",
)
ASK = ("connect", "send", "send", "recv")
SAVE = ("open *.draft", "fsync *.draft", "replace *.sealed", "fsync vault")
FORGET = ("unlink *.sealed", "fsync vault")
UNLOCK = ("unlock refresh.lock",)
MARK = UNMARK = END = CHANGE_SESSION

RENEWED: Final = LOCK + MARK + ASK + SAVE + UNMARK + UNLOCK
RENEWED_AT_THE_SECOND_ATTEMPT: Final = LOCK + MARK + ASK + ASK + SAVE + UNMARK + UNLOCK
REFUSED: Final = LOCK + MARK + ASK + END + FORGET + UNLOCK
REFUSED_AT_THE_SECOND_ATTEMPT: Final = LOCK + MARK + ASK + ASK + END + FORGET + UNLOCK
PATHS: Final = (RENEWED, RENEWED_AT_THE_SECOND_ATTEMPT, REFUSED, REFUSED_AT_THE_SECOND_ATTEMPT)
PATH_OF: Final[dict[Loss, tuple[str, ...]]] = {
    "nothing": RENEWED,
    "request": RENEWED_AT_THE_SECOND_ATTEMPT,
    "answer": REFUSED_AT_THE_SECOND_ATTEMPT,
}
WHENS: Final[tuple[When, ...]] = get_args(When)


class Point(NamedTuple):
    """Where a process dies."""

    loss: Loss
    number: int
    """The step, in `PATH_OF[loss]`."""
    when: When

    def __str__(self) -> str:
        return f"{self.when} {PATH_OF[self.loss][self.number]} ({self.number}), {self.loss} lost"


POINTS: Final = [Point(loss, n, when) for loss, path in PATH_OF.items() for n in range(len(path)) for when in WHENS]


def listed(outcome: Outcome) -> tuple[str, ...]:
    """The steps, but for the drafts of killed processes, of which there may be any number to clear away."""
    return tuple(step for step in outcome.steps if step != "unlink *.draft")


class Lane:
    """One person's machine, and a provider and processes of its own."""

    def __init__(self, home: Path, provider: StrictProvider) -> None:
        Machine(home, provider.issuer, RESOURCE)
        self.provider = provider
        self.context = open_context(load(environ={"ACP_STDIO_HOME": str(home)}), may_prompt=False)
        self.sign_in()
        self.forks = Forks(home)
        self.killed = self.lost = 0

    def sign_in(self) -> None:
        store_grant(self.context, self.provider.sign_in(), self.provider.account, {"finance": RESOURCE}, ["openid"])

    def session(self) -> Session:
        session = self.context.session.read()
        assert session is not None
        return session

    def stored(self) -> Secret | None:
        grant = self.context.vault.load()
        return grant.refresh_token if grant else None

    def good(self) -> bool:
        """Whether the provider takes what is stored."""
        return self.provider.takes(self.stored())

    def kill(self, number: int, when: When) -> Outcome:
        """A process that dies at that step, unless it ends before it comes there."""
        good = self.good()
        outcome = self.forks.obtain(number, when)
        self.provider.settle()
        steps = listed(outcome)
        assert any(path[: len(steps)] == steps for path in PATHS), "a step that no list has"
        if outcome.killed:
            self.killed += 1
            done = outcome.steps if when == "after" else outcome.steps[:-1]
            if good and not self.good():
                assert done.count("send") >= ASK.count("send"), "lost, and nothing had been asked"
                assert "replace *.sealed" not in done, "lost after it had been stored"
        return outcome

    def live(self) -> Outcome:
        """A process that nobody kills, while the connection holds."""
        self.provider.forget_losses()
        good = self.good()
        outcome = self.forks.obtain()
        assert listed(outcome) in (*PATHS, ()), "a step that no list has"
        if good:
            assert outcome.token, f"lost without need: {outcome.message}"
            assert self.session().in_flight_since == 0.0
        else:
            assert (outcome.token, outcome.reason) == ("", "login_required")
            assert BROKE in outcome.message
            assert self.session().ended_because == "interrupted"
        return outcome

    def play(self, seed: int) -> None:
        """Each point, in an order of its own; now and then the next process is killed as well."""
        chance = random.Random(seed)  # noqa: S311  # an order that can be had again, nothing secret
        for _ in range(ROUNDS):
            for point in chance.sample(POINTS, len(POINTS)):
                try:
                    self.provider.lose(point.loss)
                    assert self.kill(point.number, point.when).killed, "the transaction has fewer steps than its list"
                    if chance.random() < 0.3:
                        self.kill(chance.randrange(len(RENEWED)), chance.choice(WHENS))
                    if not self.live().token:
                        self.lost += 1
                        self.sign_in()
                except AssertionError as error:
                    error.add_note(f"seed {seed}: killed {point}")
                    raise


@pytest.fixture
def lane(tmp_path: Path) -> Iterator[Lane]:
    with StrictProvider(RESOURCE) as provider:
        lane = Lane(tmp_path, provider)
        with lane.forks:
            yield lane
        leaks.remember(*provider.issued)
        assert leaks.scan(provider.issued, tmp_path) == []


def test_a_renewal_has_these_27_steps(lane: Lane) -> None:
    assert len(RENEWED) == 27
    assert lane.forks.obtain().steps == RENEWED
    lane.provider.lose("request")
    assert lane.forks.obtain().steps == RENEWED_AT_THE_SECOND_ATTEMPT
    lane.provider.lose("answer")
    assert lane.forks.obtain().steps == REFUSED_AT_THE_SECOND_ATTEMPT
    assert len(REFUSED_AT_THE_SECOND_ATTEMPT) == 29
    assert lane.forks.obtain().steps == (), "who is signed out asks nobody"


def test_a_kill_at_any_step_loses_only_what_the_provider_rotated_and_nobody_stored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = os.environ.get("ACP_STDIO_TEST_SEED", "1" if skips.in_ci() else "")
    seed = int(named or random.randrange(10**6))  # noqa: S311
    with StrictProvider(RESOURCE) as one, StrictProvider(RESOURCE) as other:
        lanes = [Lane(tmp_path / name, provider) for name, provider in (("one", one), ("other", other))]
        with capsys.disabled():
            sys.stdout.write(f"\nACP_STDIO_TEST_SEED={seed}: at least 2,000 processes are killed\n")
        with lanes[0].forks, lanes[1].forks, ThreadPoolExecutor(LANES) as pool:
            for done in [pool.submit(lane.play, seed + number) for number, lane in enumerate(lanes)]:
                done.result()
        assert sum(lane.killed for lane in lanes) >= 2000
        assert all(lane.lost > 0 for lane in lanes), "the losses that cannot be helped were among them"
        for lane in lanes:
            leaks.remember(*lane.provider.issued[-20:])
            assert leaks.scan(lane.provider.issued[-200:], tmp_path) == []


def test_a_successor_that_was_stored_by_a_killed_process_is_no_broken_connection(lane: Lane) -> None:
    lane.kill(RENEWED.index("replace *.sealed"), "after")
    assert lane.session().in_flight_since > 0
    lane.provider.end_grants()
    outcome = lane.forks.obtain()
    assert outcome.reason == "login_required"
    assert BROKE not in outcome.message
    assert "Your identity provider ended your sign-in" in outcome.message
