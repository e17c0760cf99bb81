"""Many processes, one login: overlapping renewals, a long hour, three people at once, a logout under load."""

import asyncio
import random
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Final

import httpx2
import pytest

from acp_stdio.audit.record import utc
from acp_stdio.errors import Failure
from acp_stdio.identity.model import AccessToken
from acp_stdio.runtime.holding import Holding
from acp_stdio.runtime.keeper import Keeper
from acp_stdio.settings.load import load
from acp_stdio.tokens.context import Context, open_context
from acp_stdio.tokens.freshness import is_usable
from acp_stdio.tokens.messages import Request
from acp_stdio.tokens.refresh import obtain_token
from acp_stdio.tokens.store_login import store_grant
from tests.kit import leaks, skips
from tests.kit.crash import Forks
from tests.kit.host import RawHost, reason_of, text_of
from tests.kit.oidc_provider import OidcProvider, oidc_provider
from tests.kit.scene import Scene, eventually
from tests.kit.sdk_upstream import SdkUpstream, sdk_upstream
from tests.kit.signing_in import Machine
from tests.kit.strict_provider import StrictProvider

pytestmark = pytest.mark.real

PATIENCE = 60.0
"""Seconds; a bound for a busy machine, not an expectation."""
RESOURCE = "http://127.0.0.1:9/mcp"


def context_of(home: Path) -> Context:
    return open_context(load(environ={"ACP_STDIO_HOME": str(home)}), may_prompt=False)


class Company:
    """A provider and a server, and people with a machine each."""

    def __init__(self, provider: OidcProvider, upstream: SdkUpstream) -> None:
        self.provider, self.upstream = provider, upstream

    def person(self, home: Path, user: str = "alice") -> Scene:
        """Somebody who has signed in."""
        scene = Scene(home, self.provider, self.upstream, user=user)
        scene.login()
        return scene

    def token_requests(self) -> list[int]:
        """The status of each token request so far; 0 where it was not answered."""
        return [entry["status"] for entry in self.provider.log() if entry["path"] == "/token"]


@pytest.fixture(scope="module")
def company() -> Iterator[Company]:
    with oidc_provider() as provider, sdk_upstream(provider.issuer, "--json") as upstream:
        yield Company(provider, upstream)


# -- eight processes renew at once ------------------------------------------------------------------

PROCESSES = 8
ROUNDS = 50


def test_eight_processes_renewing_at_once_for_fifty_rounds_use_no_refresh_token_twice(
    company: Company, tmp_path: Path
) -> None:
    """New processes for each round, forked: 400 interpreters with their libraries would take minutes of CPU.

    Everybody has reached the lock before the first one gets it.
    """
    scene = company.person(tmp_path)
    context = context_of(tmp_path)
    tokens: list[str] = []
    with ExitStack() as stack:
        everybody = [stack.enter_context(Forks(tmp_path)) for _ in range(PROCESSES)]
        before = len(company.token_requests())
        for _ in range(ROUNDS):
            with context.renewing(PATIENCE):
                for process in everybody:
                    process.begin()
                for process in everybody:
                    process.until_it_waits()
            outcomes = [process.outcome() for process in everybody]
            assert [outcome.message for outcome in outcomes] == [""] * PROCESSES
            tokens += [outcome.token for outcome in outcomes]
    assert company.token_requests()[before:] == [200] * (PROCESSES * ROUNDS)
    assert len(set(tokens)) == PROCESSES * ROUNDS
    with scene.host() as host:
        assert text_of(host.call("whoami")) == "alice"


def test_a_request_that_outlives_its_process_stops_nobody_else(company: Company, tmp_path: Path) -> None:
    scene = company.person(tmp_path)
    with Forks(tmp_path) as forks:
        before = len(company.token_requests())
        company.provider.fault("/token", "hold")
        assert forks.obtain(13, "before").steps[-1] == "recv", "it has sent, and dies before there is an answer"
        eventually(lambda: len(company.token_requests()) > before, "the request of the dead process is there")
        company.provider.release()
        outcome = forks.obtain()
    assert "the connection broke while your sign-in was being renewed" in outcome.message
    scene.login()


# -- fifty processes in fifty minutes ---------------------------------------------------------------

FLEET = 50
MINUTES = 50
TTL = 300.0
TICK = 15.0
"""Simulated seconds between two looks at the fleet."""
RENEWS_AFTER: Final = TTL - 2 * 30.0
"""Seconds: `freshness.should_renew`."""


class Clock:
    """The fleet's time."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class FleetLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is the fleet's."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        super().__init__()

    def time(self) -> float:
        return self.clock()


class InThread:
    """Stands in for `runtime.helper_process.HelperProcess`: the helper's work without its process."""

    contexts: ClassVar[dict[str, Context]] = {}
    pool: ClassVar[ThreadPoolExecutor]
    running: ClassVar[list[Future[AccessToken | Failure]]] = []

    def __init__(self, request: Request) -> None:
        assert request.config is not None
        self.answer: Future[AccessToken | Failure] = self.pool.submit(self._obtain, self.contexts[request.config])
        self.running.append(self.answer)

    def leave(self) -> None:
        """It is left to finish."""

    @staticmethod
    def _obtain(context: Context) -> AccessToken | Failure:
        try:
            return obtain_token(context, context.settings.upstreams["finance"])
        except Failure as failure:
            return failure


@dataclass
class Member:
    """One process of the fleet."""

    name: str
    keeper: Keeper
    started: float
    busy: bool
    """Calls at every look; others call now and then."""
    calls: int = 0
    waited: int = 0
    """Calls that found no token at hand."""
    tokens: set[float] = field(default_factory=set[float])


class Fleet:
    """Starts, asks and stops processes of one login on a clock of its own."""

    def __init__(self, home: Path, provider: StrictProvider, clock: Clock, loop: FleetLoop) -> None:
        Machine(home, provider.issuer, RESOURCE)
        self.home, self.clock, self.loop = home, clock, loop
        self.members: list[Member] = []
        self.gone: list[tuple[Member, float]] = []
        self.context = self._context()
        store_grant(self.context, provider.sign_in(), provider.account, {"finance": RESOURCE}, ["openid"])

    def _context(self) -> Context:
        return replace(context_of(self.home), clock=self.clock)

    def start(self, *, busy: bool) -> None:
        context, name = self._context(), str(len(self.members) + len(self.gone))
        InThread.contexts[name] = context

        def request(rejected: str | None) -> Request:
            return Request(name, "default", (), "finance", rejected)

        recheck = context.settings.identity.recheck_identity
        keeper = Keeper("finance", request, Holding("finance", context.session, recheck), recheck, self.loop)
        self.members.append(Member(name, keeper, self.clock(), busy))

    def stop(self, member: Member) -> None:
        member.keeper.close()
        self.members.remove(member)
        self.gone.append((member, self.clock()))

    async def look(self, callers: list[Member]) -> None:
        """Each of `callers` makes a call at this moment; returns when all have been served."""
        await asyncio.gather(*(self._call(member) for member in callers))
        while InThread.running:  # renewals that nobody waits for end within this moment, too
            await asyncio.wrap_future(InThread.running.pop())
        await asyncio.sleep(0)

    async def _call(self, member: Member) -> None:
        member.calls += 1
        token = member.keeper.usable()
        if token is None:
            member.waited += 1
            answer: asyncio.Future[AccessToken | Failure] = self.loop.create_future()
            member.keeper.acquire(answer.set_result)
            token = await answer
            assert isinstance(token, AccessToken), token.message
        assert is_usable(token, self.clock())
        member.tokens.add(token.issued_at)

    def most_refreshes(self) -> int:
        """One at the start of each process and one for each `RENEWS_AFTER` seconds of its life."""
        lives = [*self.gone, *((member, self.clock()) for member in self.members)]
        return sum(1 + int((end - member.started) // RENEWS_AFTER) for member, end in lives if member.calls)


def test_fifty_processes_in_fifty_minutes_always_have_a_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = 1 if skips.in_ci() else random.randrange(10**6)  # noqa: S311  # to be had again, nothing secret
    with capsys.disabled():
        sys.stdout.write(f"\nfleet: seed {seed}\n")
    chance, clock = random.Random(seed), Clock()  # noqa: S311
    certificates = httpx2.create_ssl_context()  # reading them takes 20 ms, and here nothing is encrypted

    def known() -> ssl.SSLContext:
        return certificates

    monkeypatch.setattr(httpx2, "create_ssl_context", known)
    monkeypatch.setattr("acp_stdio.runtime.keeper.HelperProcess", InThread)
    monkeypatch.setattr("acp_stdio.runtime.keeper.time", SimpleNamespace(time=clock))
    loop = FleetLoop(clock)
    with StrictProvider(RESOURCE, TTL) as provider, ThreadPoolExecutor(FLEET) as pool:
        InThread.pool = pool
        fleet = Fleet(tmp_path, provider, clock, loop)
        for number in range(FLEET):
            fleet.start(busy=number % 2 == 0)
        for _ in range(int(MINUTES * 60 / TICK)):
            clock.now += TICK
            for member in list(fleet.members):
                if chance.random() < 0.01:
                    fleet.stop(member)
                    fleet.start(busy=member.busy)
            callers = [member for member in fleet.members if member.busy or chance.random() < 0.05]
            loop.run_until_complete(fleet.look(callers))
        loop.close()
        everybody = [*fleet.members, *(member for member, _ in fleet.gone)]
        assert provider.reuses == 0
        assert all(member.waited <= 1 for member in everybody if member.busy), "only the first call waits"
        assert sum(len(member.tokens) for member in everybody) <= provider.refreshes <= fleet.most_refreshes()
        grant = fleet.context.vault.load()
        assert grant is not None
        assert provider.takes(grant.refresh_token), "the session lives on"
        leaks.remember(*provider.issued[-20:])
        assert leaks.scan(provider.issued[-200:], tmp_path) == []


# -- three people at once ---------------------------------------------------------------------------

PEOPLE = ("alice", "bob", "carol")
CALLS = 100
"""For each person."""


def test_three_people_and_300_calls_at_once_each_line_names_its_own_caller(company: Company, tmp_path: Path) -> None:
    scenes = [company.person(tmp_path / user, user) for user in PEOPLE]
    since = company.upstream.now
    with ExitStack() as stack:
        hosts = [stack.enter_context(scene.host()) for scene in scenes]
        begun = [
            [host.begin("echo", text=f"{scene.user} {n}") for host, scene in zip(hosts, scenes, strict=True)]
            for n in range(CALLS)
        ]
        for number, ids in enumerate(begun):
            for host, scene, call in zip(hosts, scenes, ids, strict=True):
                assert text_of(host.answer(call)) == f"{scene.user} {number}"
    lines = company.upstream.wait_for("tool=echo", "outcome=ok", since=since, count=CALLS * len(PEOPLE))
    assert len(lines) == CALLS * len(PEOPLE)
    for scene in scenes:
        own = [word("request", line) for line in lines if word("user", line) == scene.user]
        intents = [record["id"] for record in calls_of(scene, "call.intent")]
        outcomes = [(record["call"], record["outcome"]) for record in calls_of(scene, "call.outcome")]
        assert len(own) == CALLS
        assert sorted(own) == sorted(intents), "the server's request ids are this person's own calls"
        assert sorted(outcomes) == sorted((call, "ok") for call in intents), "one outcome for each intent"
        assert {record["user"]["sub"] for record in scene.trail("call.")} == {scene.user}


def word(name: str, line: str) -> str:
    """The value of `name=` in a line of the server's log."""
    return line.partition(f"{name}=")[2].split()[0]


def calls_of(scene: Scene, event: str, tool: str = "echo") -> list[dict[str, Any]]:
    """The records of that person's calls of a tool."""
    return [record for record in scene.trail(event) if record["tool"] == tool]


# -- a logout under load ----------------------------------------------------------------------------

HOSTS = 3
AFTERWARDS = 20
"""Calls that each process still gets once it has refused one."""


class Caller:
    """Calls through one process without a pause, until it has been refused and a while longer."""

    def __init__(self, host: RawHost) -> None:
        self.host = host
        self.reasons: list[str] = []
        """Of every call in order; empty for one that was carried out."""
        self._thread = threading.Thread(target=self._go_on, daemon=True)
        self._thread.start()

    def _go_on(self) -> None:
        refused = 0
        while refused <= AFTERWARDS:
            reason = reason_of(self.host.call("echo", text="once more"))
            self.reasons.append(reason)
            refused += bool(refused or reason)

    def finish(self) -> None:
        """Waits for its end."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


def test_a_logout_under_load_is_in_force_before_the_provider_hears_of_it(company: Company, tmp_path: Path) -> None:
    scene = company.person(tmp_path)
    revocation = "/token/revocation"
    company.provider.fault(revocation, "hold")
    since = company.upstream.now
    with ExitStack() as stack:
        callers = [Caller(stack.enter_context(scene.host())) for _ in range(HOSTS)]
        eventually(lambda: all(len(caller.reasons) > 10 for caller in callers), "all processes are at work")
        logout = stack.enter_context(scene.machine.start("logout"))
        stack.callback(logout.kill)  # before its end is waited for, where something below fails
        eventually(lambda: logout.poll() is not None or not scene.session()["signed_in"], "the tombstone stands")
        stands_since = time.time()
        for caller in callers:
            caller.finish()
        eventually(lambda: revocation in [entry["path"] for entry in company.provider.log()], "the provider is told")
        assert logout.poll() is None, "everybody was refused while the provider had not answered yet"
        company.provider.release()
        _, words = logout.communicate(timeout=PATIENCE)
        assert logout.returncode == 0, words
    for caller in callers:
        kept = caller.reasons.index("login_required")
        assert set(caller.reasons[:kept]) == {""}
        assert set(caller.reasons[kept:]) == {"login_required"}, "nothing is carried out after the first refusal"
    intents = {record["id"]: record["time"] for record in calls_of(scene, "call.intent")}
    outcomes = [record["call"] for record in calls_of(scene, "call.outcome")]
    assert sorted(outcomes) == sorted(intents), "one outcome for each intent"
    arrived = {word("request", line) for line in company.upstream.lines("tool=echo", since=since)}
    assert arrived <= set(intents)
    late = {call for call, at in intents.items() if at > utc(stands_since)}
    assert not late & arrived, "a call whose intent follows the tombstone is not sent"
    assert len(scene.trail("call.denied")) >= HOSTS * AFTERWARDS
