"""A server that wants its nonce in the proof refused the call before doing anything: it goes once more (RFC 9449)."""

import os
from pathlib import Path
from typing import Any

import jwt
import pytest

from acp_stdio.identity.model import AccessToken
from acp_stdio.login.possession import proof_key
from acp_stdio.oauth.metadata import AuthorizationServer
from acp_stdio.settings.model import IdentitySettings
from tests.kit.host import reason_of, text_of
from tests.protocol.stage import Sent, Stage
from tests.protocol.test_shell import play

pytestmark = pytest.mark.skipif(os.name != "posix", reason="watches POSIX pipes on the event loop")

WANTED = 'DPoP error="use_dpop_nonce", error_description="nonce, please"'


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(tmp_path, monkeypatch)


def bound(stage: Stage) -> AccessToken:
    server = AuthorizationServer("https://i", "https://i/a", "https://i/t")
    return stage.token(token_type="DPoP", proof_key=proof_key(IdentitySettings("", "", dpop="require"), server))


def wants(sent: Sent, nonce: str) -> None:
    sent.receiver.on_head(401, {"www-authenticate": WANTED, "dpop-nonce": nonce})
    sent.receiver.on_end()


def claims(sent: Sent) -> dict[str, Any]:
    return jwt.decode(sent.headers["DPoP"], options={"verify_signature": False})


def test_the_same_call_goes_once_more_with_the_nonce_and_the_same_token(stage: Stage) -> None:
    async def act() -> None:
        stage.give(bound(stage))
        stage.call()
        await stage.until(lambda: stage.connector.sent)
        wants(stage.connector.sent[0], "n-1")
        await stage.until(lambda: len(stage.connector.sent) == 2)
        first, second = stage.connector.sent
        assert first.headers["X-Request-Id"] == second.headers["X-Request-Id"]
        assert first.headers["Authorization"] == second.headers["Authorization"] == "DPoP token-1"
        assert (claims(first).get("nonce"), claims(second)["nonce"]) == (None, "n-1")
        second.answer("42")
        assert text_of(await stage.read()) == "42"

    play(stage, act)
    assert len(stage.helpers) == 1, "nothing was renewed for it"
    assert stage.records() == [("call.intent", ""), ("call.outcome", "ok")]


def test_a_server_that_is_never_content_is_asked_three_times_and_no_more(stage: Stage) -> None:
    async def act() -> None:
        stage.give(bound(stage))
        stage.call()
        for number in range(2):
            await stage.until(lambda number=number: len(stage.connector.sent) == number + 1)
            wants(stage.connector.sent[number], f"n-{number}")
        await stage.until(lambda: len(stage.helpers) == 2)
        stage.give(bound(stage))
        await stage.until(lambda: len(stage.connector.sent) == 3)
        wants(stage.connector.sent[2], "n-3")
        refused = text_of(await stage.read())
        assert refused.startswith("Nothing was carried out.")
        assert "date and time" in refused
        assert "login" not in refused, "another sign-in makes no proof better"

    play(stage, act)
    assert len(stage.connector.sent) == 3
    assert stage.records() == [("call.intent", ""), ("call.outcome", "denied")]


def test_after_a_logout_it_does_not_go_again(stage: Stage) -> None:
    async def act() -> None:
        stage.give(bound(stage))
        stage.call()
        await stage.until(lambda: stage.connector.sent)
        stage.sign_out()
        wants(stage.connector.sent[0], "n-1")
        refused = await stage.read()
        assert reason_of(refused) == "login_required"
        assert text_of(refused).startswith("Nothing was carried out.")

    play(stage, act)
    assert len(stage.connector.sent) == 1


def test_without_its_key_a_bound_token_keeps_the_call_here(stage: Stage) -> None:
    async def act() -> None:
        stage.give(stage.token(token_type="DPoP"))
        stage.call()
        refused = await stage.read()
        assert reason_of(refused) == "wrong_audience"
        assert text_of(refused).startswith("Nothing was sent.")

    play(stage, act)
    assert stage.connector.sent == []
