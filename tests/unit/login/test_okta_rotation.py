"""Okta's rotation of refresh tokens: followed to the newest, its grace used, its end believed."""

from typing import Any

import pytest

from acp_stdio.errors import Failure
from acp_stdio.tokens.session_file import SessionFile
from tests.kit.person import Person, Start
from tests.kit.scripted_presets import OktaIdp

LINES = 'audience = "api://finance"\nscopes = ["finance.read"]'


def spent(person: Person) -> list[str]:
    return [form["refresh_token"] for form in person.asked("/token") if form["grant_type"] == "refresh_token"]


def test_each_renewal_spends_the_newest_refresh_token(start: Start) -> None:
    with OktaIdp(rotates=True) as idp:
        person = start(idp, "okta", lines=LINES)
        person.sign_in()
        tokens = [person.token().value for _ in range(3)]
        assert len(set(tokens)) == len(set(spent(person))) == 3


def test_an_answer_that_was_lost_is_asked_for_once_more_within_the_grace(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OktaIdp(rotates=True) as idp:
        person = start(idp, "okta", lines=LINES)
        person.sign_in()
        answer = idp.answer
        lost: list[Any] = []

        def loses_one(method: str, path: str, form: dict[str, str]) -> Any:
            answered = answer(method, path, form)
            if form.get("grant_type") == "refresh_token" and not lost:
                lost.append(answered)
                raise ConnectionAbortedError
            return answered

        monkeypatch.setattr(idp, "answer", loses_one)
        person.token()
        first, second = spent(person)
        assert first == second, "the one that Okta saw as spent"
        person.token()
        assert spent(person)[-1] != first


def test_the_end_of_its_lifetime_is_the_end_however_often_it_was_rotated(start: Start) -> None:
    with OktaIdp(rotates=True) as idp:
        person = start(idp, "okta", lines=LINES)
        person.sign_in()
        person.token()
        idp.outlived = True
        with pytest.raises(Failure, match="Your identity provider ended your sign-in: it has expired there") as caught:
            person.token()
        assert caught.value.reason == "login_required"
        session = SessionFile(person.settings.session_dir).read()
        assert session is not None
        assert (session.signed_in, session.ended_because) == (False, "revoked")
