"""A sign-in after another: whose it is, how fresh, with more rights; and one that brings no refresh token."""

import time
from dataclasses import replace
from typing import Any

import pytest

from acp_stdio.errors import Failure
from acp_stdio.identity.model import Held
from acp_stdio.identity.step_up import StepUp
from acp_stdio.tokens.logout import sign_out
from acp_stdio.tokens.refresh import obtain_token
from acp_stdio.tokens.session_file import SessionFile
from acp_stdio.tokens.sign_ins import SignIn
from tests.kit.discoverable import Discoverable
from tests.kit.person_by_address import Person


def test_a_repeated_sign_in_suggests_who_it_was_and_a_forced_one_lets_them_choose(
    idp: Discoverable, person: Person
) -> None:
    person.signs_in()
    sign_out(person.context)
    person.signs_in()
    person.signs_in(force=True)
    hints = [form.get("login_hint") for form in idp.asked("/authorize")]
    assert hints == [None, "alice@example.com", None]


def test_a_sign_in_ends_with_the_companys_limit_whatever_the_provider_renews(
    idp: Discoverable, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    person.identity = replace(person.identity, max_session_age=3600.0)
    session = person.signs_in()
    assert idp.asked("/authorize")[0]["max_age"] == "3600"
    assert person.token().expires_at <= session.obtained_at + 3600
    asked = len(idp.asked("/token"))
    old = replace(session, obtained_at=session.obtained_at - 3601)
    file = SessionFile(person.settings.session_dir)
    with file.lock():
        file.write(old)
    with pytest.raises(Failure, match="older than your company allows"):
        person.token()
    assert len(idp.asked("/token")) == asked
    assert person.signs_in().generation > old.generation, "it is signed in for anew, and not found as it was"


def test_a_provider_that_lets_in_by_an_old_sign_in_is_not_believed(idp: Discoverable, person: Person) -> None:
    person.identity = replace(person.identity, max_session_age=3600.0)
    plain = idp.id_claims
    idp.id_claims = lambda user: {**plain(user), "auth_time": int(time.time()) - 7200}
    failure = person.fails()
    assert failure.reason == "denied"
    assert "max_session_age" in failure.message
    assert idp.asked("/revoke"), "what it brought is given back"


def tells(idp: Discoverable, **claims: Any) -> None:
    """The provider's ID tokens say this, too."""
    plain = idp.id_claims
    idp.id_claims = lambda user: {**plain(user), **claims}


def test_a_fresh_sign_in_that_a_server_asked_for_is_a_fresh_one_or_none(idp: Discoverable, person: Person) -> None:
    before = person.signs_in()
    wanted = StepUp(max_age=60)
    assert "does not say when you proved who you are" in person.fails(step_up=wanted).message
    tells(idp, auth_time=int(time.time()) - 300)
    assert "one was asked for that is not older than 60 s" in person.fails(step_up=wanted).message
    assert SessionFile(person.settings.session_dir).read() == before
    assert idp.asked("/revoke") == [], "what there was stays, also at a provider that would end it with the new one"
    tells(idp, auth_time=int(time.time()))
    assert person.signs_in(step_up=wanted).generation > before.generation
    assert [form.get("max_age") for form in idp.asked("/authorize")] == [None, "60", "60", "60"]


def test_another_class_than_a_server_asked_for_is_said_and_the_sign_in_kept(idp: Discoverable, person: Person) -> None:
    remarks: list[str] = []
    tells(idp, acr="pwd")
    person.signs_in(step_up=StepUp(acr_values=("phr",)), remark=remarks.append)
    assert [words for words in person.said if "acr" in words] == []
    person.signs_in(step_up=StepUp(acr_values=("phr",)))
    assert remarks == [words for words in person.said if "acr" in words]
    assert 'calls it "pwd" (acr)' in remarks[0]
    tells(idp, acr="phr")
    person.signs_in(step_up=StepUp(acr_values=("phr",)), remark=remarks.append)
    assert len(remarks) == 1


def test_a_sign_in_of_another_computer_or_user_is_as_good_as_none(idp: Discoverable, person: Person) -> None:
    person.signs_in()
    elsewhere = replace(person.context, place="another-computer")
    asked = len(idp.asked("/token"))
    with pytest.raises(Failure, match="was made on another computer, or by another user") as caught:
        obtain_token(elsewhere, person.upstream)
    assert caught.value.reason == "login_required"
    assert len(idp.asked("/token")) == asked
    grant = person.context.vault.load()
    assert grant is not None
    person.context.vault.save(replace(grant, place=""))  # as an earlier version stored it
    assert person.token().claims["sub"] == "alice"


def test_another_person_at_the_same_issuer_is_announced_and_the_same_one_is_not(
    idp: Discoverable, person: Person
) -> None:
    person.signs_in()
    person.signs_in(force=True)
    assert not [words for words in person.said if "This replaces" in words]
    idp.user = "bob"
    person.signs_in(force=True)
    assert [words for words in person.said if "This replaces the sign-in of alice@example.com" in words]


# -- more than the present sign-in has -----------------------------------------------------------------


def test_more_rights_are_asked_for_beside_those_of_the_present_sign_in(idp: Discoverable, person: Person) -> None:
    idp.challenge_scope = "finance.read"
    first = person.signs_in()
    session = person.signs_in(step_up=StepUp(scopes=("finance.write",)))
    before, asked = (form["scope"].split() for form in idp.asked("/authorize"))
    assert "finance.read" in before
    assert set(asked) == {*before, "finance.write"}
    assert session.generation == first.generation + 1
    idp.challenge_scope = None  # what was asked for once is asked for again, whatever the server says by then
    person.signs_in(step_up=StepUp(scopes=("finance.delete",)))
    assert set(idp.asked("/authorize")[2]["scope"].split()) == {*asked, "finance.delete"}


def test_rights_that_the_sign_in_has_already_open_no_page_unless_a_server_refused_them(
    idp: Discoverable, person: Person
) -> None:
    person.signs_in(step_up=StepUp(scopes=("finance.write",)))
    person.signs_in(step_up=StepUp(scopes=("finance.write",)))
    assert person.tabs == 1
    person.signs_in(step_up=StepUp(scopes=("finance.write",), anew=True))
    assert person.tabs == 2


def test_a_stronger_sign_in_is_asked_for_in_the_standards_words(idp: Discoverable, person: Person) -> None:
    person.signs_in()
    tells(idp, auth_time=int(time.time()))
    person.signs_in(step_up=StepUp(acr_values=("phr", "phrh"), max_age=0, claims='{"id_token":{}}'))
    asked = idp.asked("/authorize")[1]
    assert (asked["acr_values"], asked["max_age"], asked["claims"]) == ("phr phrh", "0", '{"id_token":{}}')


def test_a_device_code_cannot_ask_for_a_stronger_sign_in_and_says_so(idp: Discoverable, person: Person) -> None:
    failure = person.fails(flow="device", step_up=StepUp(max_age=60))
    assert "cannot ask for a stronger sign-in" in failure.message
    assert idp.asked("/devicecode") == []


# -- without a refresh token ---------------------------------------------------------------------------


def without_refresh_tokens(idp: Discoverable, person: Person) -> None:
    idp.scopes_supported = ("openid", "offline_access")
    person.identity = replace(person.identity, scopes=("openid",))


def test_what_cannot_be_stored_is_proven_and_handed_over(idp: Discoverable, person: Person) -> None:
    without_refresh_tokens(idp, person)
    held: list[Held] = []
    session = person.signs_in(hand_over=held.append)
    assert [list(each.tokens) for each in held] == [["finance"]]
    token = held[0].tokens["finance"]
    assert token.claims["aud"] == idp.url
    assert token.origin == idp.origin
    assert held[0].session.account is not None
    assert held[0].session.account.sub == "alice"
    assert (session.storage, SignIn(person.settings, person.upstream).current()) == ("", None)
    assert idp.asked("/revoke") == []


def test_what_is_handed_over_ends_with_the_companys_limit(idp: Discoverable, person: Person) -> None:
    without_refresh_tokens(idp, person)
    person.identity = replace(person.identity, max_session_age=60.0)
    held: list[Held] = []
    session = person.signs_in(hand_over=held.append)
    assert idp.access_ttl > 60
    assert held[0].tokens["finance"].expires_at == session.obtained_at + 60


def test_a_token_for_somebody_else_is_not_handed_over_but_given_back(idp: Discoverable, person: Person) -> None:
    without_refresh_tokens(idp, person)
    idp.forge_access_token = "wrong_aud"
    held: list[Held] = []
    assert person.fails(hand_over=held.append).reason == "wrong_audience"
    assert held == []
    assert [form["token_type_hint"] for form in idp.asked("/revoke")] == ["access_token"]


def test_what_nobody_takes_is_given_back(idp: Discoverable, person: Person) -> None:
    without_refresh_tokens(idp, person)

    def gone(_held: Held) -> None:
        raise BrokenPipeError

    assert "has gone" in person.fails(hand_over=gone).message
    assert len(idp.asked("/revoke")) == 1
