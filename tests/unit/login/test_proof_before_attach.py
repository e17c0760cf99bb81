"""Whatever the provider's answer holds, only a token that is proven to be this person's for this server comes out."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from acp_stdio.errors import Failure
from acp_stdio.login.each import sign_in
from acp_stdio.login.flow import Choices
from acp_stdio.oauth.keys import REFETCH_AFTER
from acp_stdio.settings import managed
from acp_stdio.settings.load import load
from acp_stdio.tokens.context import open_context
from acp_stdio.tokens.refresh import obtain_token
from tests.kit import human, leaks
from tests.kit.scripted_idp import ScriptedIdp, TokenLie
from tests.kit.signing_in import Machine, bare_upstream

LIES = [lie for lie in get_args(TokenLie) if lie != "bad_nonce"]
"""A nonce is the sign-in's."""


@pytest.fixture
def idp() -> Iterator[ScriptedIdp]:
    with ScriptedIdp() as idp:
        yield idp
        leaks.remember(*idp.issued)


@pytest.fixture
def token(tmp_path: Path, idp: ScriptedIdp, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Any]]:
    """Alice is signed in; gives the token that a call would be sent with."""
    monkeypatch.setattr(managed, "PLACE", tmp_path / "none")
    with bare_upstream() as upstream:
        settings = load(environ=Machine(tmp_path / "home", idp.issuer, upstream).environment)

        def opens(url: str) -> bool:
            human.sign_in(url, "alice")
            return True

        (outcome,) = sign_in(settings, Choices(opener=opens), lambda _: None)
        outcome.result()
        yield lambda: obtain_token(open_context(settings, may_prompt=False), settings.upstreams["finance"])


@pytest.mark.parametrize("lie", LIES)
def test_a_token_that_lies_never_comes_out_and_the_sign_in_goes_on(
    lie: TokenLie, idp: ScriptedIdp, token: Callable[[], Any]
) -> None:
    idp.forge_access_token = lie
    with pytest.raises(Failure) as caught:
        token()
    assert caught.value.reason in ("wrong_audience", "denied", "idp_unreachable")
    assert not any(issued in str(caught.value) for issued in idp.issued)
    idp.forge_access_token = None
    assert token().claims["sub"] == "alice"


def half_a_minute_passes(home: Path) -> None:
    """For the public documents that are kept."""
    for path in home.rglob("public-*.json"):
        entry = json.loads(path.read_text())
        path.write_text(json.dumps({**entry, "at": entry["at"] - REFETCH_AFTER - 1}))


def test_a_new_key_is_fetched_when_a_token_names_one_that_is_not_known_and_the_old_one_proves_nothing_more(
    tmp_path: Path, idp: ScriptedIdp, token: Callable[[], Any]
) -> None:
    assert token().claims["sub"] == "alice"
    idp.key = "good-2"
    half_a_minute_passes(tmp_path)
    assert token().claims["sub"] == "alice"
    idp.signs_with = "good"
    with pytest.raises(Failure, match="a key that the provider does not publish"):
        token()


def test_a_clock_that_is_half_a_minute_off_hinders_nobody_and_one_that_is_ten_minutes_off_is_said(
    idp: ScriptedIdp, token: Callable[[], Any]
) -> None:
    idp.clock_offset = 30
    assert token().claims["sub"] == "alice"
    idp.clock_offset = 600
    with pytest.raises(Failure, match="clock"):
        token()
