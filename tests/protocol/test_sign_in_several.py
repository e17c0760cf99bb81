"""Several MCP servers that sign people in at one issuer or at several, known by their addresses alone."""

from dataclasses import replace
from typing import Any

import pytest

from acp_stdio.errors import Failure
from acp_stdio.login.each import sign_in
from acp_stdio.login.flow import Choices
from acp_stdio.settings.model import Settings, UpstreamSettings
from acp_stdio.tokens.context import open_context
from acp_stdio.tokens.logout import sign_out_all
from acp_stdio.tokens.refresh import obtain_token
from acp_stdio.tokens.sign_ins import SignIn, everything, settings_of
from tests.kit import leaks
from tests.kit.discoverable import Discoverable
from tests.kit.person_by_address import PATIENCE, Person


def test_one_more_address_of_the_same_issuer_is_added_and_the_first_is_kept(idp: Discoverable, person: Person) -> None:
    person.signs_in()
    first, person.upstream = person.upstream, UpstreamSettings("people", idp.also_at("/people"))
    session = person.signs_in()
    assert session.resources == {"people": f"{idp.origin}/people", "finance": idp.url}
    assert idp.asked("/token")[-1]["resource"] == f"{idp.origin}/people"
    assert person.token().claims["aud"] == f"{idp.origin}/people"
    person.upstream = first
    assert person.token().claims["aud"] == idp.url
    assert len(idp.registered) == 1
    assert person.signs_in(force=True).resources == {"finance": idp.url}


def both(person: Person, other: Discoverable) -> Settings:
    """The person's settings with one more upstream, of another issuer."""
    people = UpstreamSettings("people", other.url)
    return replace(person.settings, upstreams={"finance": person.upstream, "people": people})


def token_for(settings: Settings, name: str) -> Any:
    upstream = settings.upstreams[name]
    return obtain_token(open_context(settings_of(settings, upstream), may_prompt=False), upstream)


def test_servers_of_different_issuers_have_a_sign_in_each_one_after_the_other(
    idp: Discoverable, person: Person
) -> None:
    with Discoverable() as other:
        settings = both(person, other)
        choices = Choices(opener=person.open, timeout=PATIENCE)
        first, second = sign_in(settings, choices, person.said.append)
        assert first.result().resources == {"finance": idp.url}
        assert second.result().resources == {"people": other.url}
        assert f"For people you sign in at {other.issuer}." in person.said
        assert token_for(settings, "finance").claims["aud"] == idp.url
        assert token_for(settings, "people").claims["aud"] == other.url
        assert not {form.get("refresh_token") for form in other.asked("/token")} & set(idp.issued)
        assert [each.already for each in sign_in(settings, choices, person.said.append)] == [True, True]
        assert person.tabs == 2
        leaks.remember(*other.issued)

        reports = sign_out_all([open_context(each, may_prompt=False) for each in everything(settings)])
        assert [(report.issuer, report.revocation) for report in reports] == [
            (idp.issuer, "revoked"),
            (other.issuer, "revoked"),
        ]
        for name in settings.upstreams:
            with pytest.raises(Failure, match="You signed out"):
                token_for(settings, name)


def test_a_sign_in_that_fails_leaves_the_others_standing_and_is_all_that_is_open(
    idp: Discoverable, person: Person
) -> None:
    with Discoverable() as other:
        other.disabled.add("alice")
        settings = both(person, other)
        choices = Choices(opener=person.open, timeout=PATIENCE)
        first, second = sign_in(settings, choices, person.said.append)
        assert first.result().resources == {"finance": idp.url}
        assert second.failure is not None
        assert (second.failure.reason, list(second.settings.upstreams)) == ("denied", ["people"])
        with pytest.raises(Failure, match="before people was part"):
            token_for(settings, "people")

        other.disabled.clear()
        again = list(sign_in(settings, choices, person.said.append))
        leaks.remember(*other.issued)
        assert [(each.already, list(each.settings.upstreams)) for each in again] == [
            (True, ["finance"]),
            (False, ["people"]),
        ]
        assert person.tabs == 3


def test_a_running_process_finds_the_sign_in_that_came_after_its_start(idp: Discoverable, person: Person) -> None:
    with Discoverable() as other:
        settings = both(person, other)
        running = SignIn(settings, settings.upstreams["people"])
        assert running.current() is None
        person.signs_in()  # for finance alone, at the other issuer
        seen = running.current()
        assert seen is not None
        assert seen.issuer == idp.issuer
        list(sign_in(settings, Choices(opener=person.open, timeout=PATIENCE), person.said.append))
        leaks.remember(*other.issued)
        seen = running.current()
        assert seen is not None
        assert (seen.issuer, seen.signed_in) == (other.issuer, True)
        sign_out_all([open_context(each, may_prompt=False) for each in everything(settings)])
        seen = running.current()
        assert seen is not None
        assert (seen.issuer, seen.ended_because) == (other.issuer, "logout")
