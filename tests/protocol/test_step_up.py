"""A server that wants more of a sign-in, and a sign-in without a refresh token: from a refused call to `acp_login`."""

import os
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from acp_stdio.errors import Failure
from acp_stdio.identity.model import Held, Session
from acp_stdio.identity.step_up import StepUp
from acp_stdio.runtime import helper_tools
from acp_stdio.runtime.tries import TRIES
from acp_stdio.tokens.handover import Done, LoginRequest
from tests.kit.host import reason_of, text_of
from tests.protocol.stage import META, Sent, Stage

pytestmark = pytest.mark.skipif(os.name != "posix", reason="watches POSIX pipes on the event loop")

SCOPE = 'Bearer error="insufficient_scope", scope="finance.write"'
CHALLENGE = "eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwidmFsdWUiOiIxNjA0MTA2NjUxIn19fQ=="
"""Entra's, of a token that was revoked before its end (learn.microsoft.com/entra/identity-platform/app-resilience-
continuous-access-evaluation)."""
REVOKED = f'Bearer realm="", error="insufficient_claims", claims="{CHALLENGE}"'
STRONGER = 'Bearer error="insufficient_user_authentication", acr_values="phr", max_age="60"'


class Login:
    """`login`, as `acp_login` starts it; the test plays the person and the provider."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.requests: list[LoginRequest] = []
        self.ends: Callable[[Callable[[Held], None]], Done | Failure] = self.stores

    def start(self, request: LoginRequest, _era: str, hold: Callable[[Held], None]) -> "Login":
        self.requests.append(request)
        self.answer: Future[Done | Failure] = Future()
        self.answer.set_result(self.ends(hold))
        return self

    def stores(self, _hold: Callable[[Held], None]) -> Done:
        """The sign-in is stored; its generation is the next."""
        self._stage.session = replace(self._stage.session, generation=self._stage.session.generation + 1)
        self._stage.session_file.write(self._stage.session)
        return Done()

    def brings_a_token(self, hold: Callable[[Held], None]) -> Done:
        """There is nothing to store."""
        session: Session = replace(self._stage.session, storage="", asked=("finance.read",))
        hold(Held(session, {"finance": self._stage.token()}))
        return Done()


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(tmp_path, monkeypatch)


@pytest.fixture
def login(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Login:
    played = Login(stage)
    monkeypatch.setattr(helper_tools, "LoginProcess", played.start)
    monkeypatch.setattr(helper_tools, "LOOK", 0.005)
    monkeypatch.setattr(helper_tools, "TAB_EVERY", 0.0)
    return played


def play(stage: Stage, act: Callable[[], Awaitable[None]]) -> None:
    async def on_stage() -> None:
        async with stage.running():
            await act()

    anyio.run(on_stage)


def calls(stage: Stage) -> list[Sent]:
    """The calls that reached the server; it is also asked what it is."""
    return [sent for sent in stage.connector.sent if b"tools/call" in sent.body]


async def call(stage: Stage, status: int, challenge: str = "") -> str:
    """A call that the server answers so; what the host is told."""
    before = len(calls(stage))
    stage.call()
    await stage.until(lambda: len(calls(stage)) > before or not stage.helpers[-1].answer.done())
    if not stage.helpers[-1].answer.done():
        stage.give(stage.token(generation=stage.session.generation))
    await stage.until(lambda: len(calls(stage)) > before)
    calls(stage)[-1].refuse(status, challenge)
    answer = await stage.read()
    return f"{reason_of(answer)}: {text_of(answer)}"


async def acp_login(stage: Stage) -> str:
    stage.write({"jsonrpc": "2.0", "id": "in", "method": "tools/call", "params": {"name": "acp_login", "_meta": META}})
    return text_of(await stage.read())


def test_missing_rights_are_told_once_and_asked_for_by_the_next_acp_login(stage: Stage, login: Login) -> None:
    async def act() -> None:
        told = await call(stage, 403, SCOPE)
        assert told.startswith("insufficient_scope: Nothing was carried out. finance asks for more rights")
        assert told.endswith(
            "Approve the tool `acp_login`, or run `acp-stdio login --add-scope finance.write`, then ask again."
        )
        assert len(calls(stage)) == 1
        assert (await acp_login(stage)).startswith("Signed in as alice@example.com.")
        assert [request.step_up for request in login.requests] == [StepUp(("finance.write",))]
        assert await acp_login(stage) == "Already signed in as alice@example.com. Ask again."

    play(stage, act)


def test_a_stronger_sign_in_is_not_looked_for_in_a_renewed_token(stage: Stage, login: Login) -> None:
    async def act() -> None:
        told = await call(stage, 401, STRONGER)
        assert told.startswith("login_required: Nothing was carried out. finance wants you to prove who you are")
        assert "`acp-stdio login --acr phr --max-age 60`" in told
        assert len(calls(stage)) == 1, "not sent again"
        await acp_login(stage)
        assert login.requests[0].step_up == StepUp(acr_values=("phr",), max_age=60)

    play(stage, act)


def test_a_token_that_entra_revoked_before_its_end_leads_to_a_sign_in_with_its_claims(
    stage: Stage, login: Login
) -> None:
    async def act() -> None:
        told = await call(stage, 401, REVOKED)
        assert told.startswith("login_required: Nothing was carried out. finance wants you to prove who you are")
        assert f"`acp-stdio login --claims {CHALLENGE}`" in told
        await acp_login(stage)
        claims = '{"access_token":{"nbf":{"essential":true,"value":"1604106651"}}}'
        assert login.requests[0].step_up == StepUp(claims=claims)

    play(stage, act)


def test_what_there_is_to_say_of_a_sign_in_is_said_in_the_chat(stage: Stage, login: Login) -> None:
    login.ends = lambda hold: replace(login.stores(hold), remark="It was of another class than asked for.")

    async def act() -> None:
        await call(stage, 401, STRONGER)
        told = await acp_login(stage)
        assert told.startswith("Signed in as alice@example.com. It was of another class than asked for. ")

    play(stage, act)


def test_a_server_that_is_never_content_is_given_up(stage: Stage, login: Login) -> None:
    async def act() -> None:
        for _ in range(TRIES):
            await call(stage, 403, SCOPE)
            assert (await acp_login(stage)).startswith("Signed in")
        await call(stage, 403, SCOPE)
        assert "signing in does not help" in await acp_login(stage)

    play(stage, act)
    assert len(login.requests) == TRIES


def test_a_refused_sign_in_is_made_anew_by_acp_login_though_somebody_is_signed_in(stage: Stage, login: Login) -> None:
    async def act() -> None:
        stage.call()
        stage.give(stage.token())
        await stage.until(lambda: len(calls(stage)) == 1)
        calls(stage)[-1].refuse(401, 'Bearer error="invalid_token"')
        await stage.until(lambda: len(stage.helpers) == 2)
        stage.give(stage.token())
        await stage.until(lambda: len(calls(stage)) == 2)
        calls(stage)[-1].refuse(401, 'Bearer error="invalid_token"')
        assert "did not accept your sign-in" in text_of(await stage.read())
        await acp_login(stage)
        assert login.requests[0].step_up == StepUp(anew=True)

    play(stage, act)


def test_a_sign_in_that_cannot_be_renewed_any_more_is_made_anew_by_acp_login(stage: Stage, login: Login) -> None:
    """Too old for the company, from another computer, gone from the keyring: `session.json` does not tell."""

    async def act() -> None:
        too_old = Failure("login_required", "Your sign-in is older than your company allows.", "Sign in.")
        stage.give(too_old)
        stage.call()
        await stage.until(lambda: not stage.helpers[-1].answer.done())
        stage.give(too_old)
        assert "older than your company allows" in text_of(await stage.read())
        assert (await acp_login(stage)).startswith("Signed in as alice@example.com.")
        assert login.requests[0].step_up == StepUp(anew=True)
        assert await acp_login(stage) == "Already signed in as alice@example.com. Ask again."

    play(stage, act)


def test_a_provider_out_of_reach_is_no_reason_to_sign_in_anew(stage: Stage, login: Login) -> None:
    async def act() -> None:
        stage.call()
        stage.give(Failure("idp_unreachable", "Nobody answers.", "Wait."))
        assert "Nobody answers." in text_of(await stage.read())
        assert await acp_login(stage) == "Already signed in as alice@example.com. Ask again."

    play(stage, act)
    assert login.requests == []


def test_a_held_sign_in_serves_calls_until_the_server_refuses_its_token(stage: Stage, login: Login) -> None:
    stage.sign_out()
    login.ends = login.brings_a_token

    async def act() -> None:
        assert "in this process only" in await acp_login(stage)
        stage.call()
        await stage.until(lambda: calls(stage))
        calls(stage)[-1].answer("42")
        assert text_of(await stage.read()) == "42"
        helpers = len(stage.helpers)
        stage.call()
        await stage.until(lambda: len(calls(stage)) == 2)
        calls(stage)[-1].refuse(401)
        told = await stage.read()
        assert reason_of(told) == "login_required"
        assert text_of(told).startswith("Nothing was carried out. "), "it was sent"
        assert "issues no refresh token" in text_of(told)
        assert text_of(told).endswith("Approve the tool `acp_login` again, then repeat this.")
        assert len(stage.helpers) == helpers, "there is nothing to renew"
        assert (await acp_login(stage)).startswith("Signed in as alice@example.com.")

    play(stage, act)


def test_a_held_sign_in_asks_for_what_it_had_beside_what_is_wanted(stage: Stage, login: Login) -> None:
    stage.sign_out()
    login.ends = login.brings_a_token

    async def act() -> None:
        await acp_login(stage)
        stage.call()
        await stage.until(lambda: calls(stage))
        calls(stage)[-1].refuse(403, SCOPE)
        await stage.read()
        await acp_login(stage)
        assert set(login.requests[1].step_up.scopes) == {"finance.read", "finance.write"}

    play(stage, act)


def test_a_logout_elsewhere_reaches_a_held_sign_in_before_the_next_call(stage: Stage, login: Login) -> None:
    stage.sign_out()
    login.ends = login.brings_a_token

    async def act() -> None:
        await acp_login(stage)
        stage.session = replace(stage.session, generation=stage.session.generation + 5)
        stage.sign_out()
        stage.call()
        assert text_of(await stage.read()).startswith("Nothing was sent. You signed out.")

    play(stage, act)
    assert calls(stage) == []


def test_what_ended_a_sign_in_is_told_to_who_asked_for_it(stage: Stage, login: Login) -> None:
    stage.sign_out()
    login.ends = lambda _: Failure("denied", "This account may not be used here.", "Use another.")

    async def act() -> None:
        assert await acp_login(stage) == "This account may not be used here. Use another."

    play(stage, act)
