"""Nothing but an MCP server's address is known: where to sign in, as which client, for which scopes."""

import base64
import json
import shutil
import socket
import stat
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from acp_stdio.cli.main import main
from acp_stdio.errors import Failure
from acp_stdio.identity.model import Held, Session
from acp_stdio.identity.step_up import StepUp
from acp_stdio.login.each import sign_in
from acp_stdio.login.flow import Choices
from acp_stdio.settings.model import IdentitySettings, Settings, StorageSettings, UpstreamSettings
from acp_stdio.settings.paths import user_paths
from acp_stdio.tokens.context import Context, open_context
from acp_stdio.tokens.logout import sign_out, sign_out_all
from acp_stdio.tokens.refresh import obtain_token
from acp_stdio.tokens.session_file import SessionFile
from acp_stdio.tokens.sign_ins import SignIn, everything, settings_of
from tests.kit import leaks
from tests.kit.discoverable import RESOURCE_METADATA, Discoverable, KnownClient, Method, Place

PATIENCE = 60.0
"""Seconds for a sign-in that is bound to come to its end."""


@pytest.fixture
def idp() -> Iterator[Discoverable]:
    with Discoverable() as running:
        yield running
        leaks.remember(*running.issued)


@dataclass
class Person:
    """One profile of somebody whose browser goes where it is sent; the server says yes at once."""

    home: Path
    identity: IdentitySettings
    upstream: UpstreamSettings
    said: list[str] = field(default_factory=list[str])
    tabs: int = 0

    @property
    def settings(self) -> Settings:
        key = self.home / "store.key"
        if not key.exists():
            key.touch(0o600)
            key.write_text(base64.b64encode(bytes(32)).decode())
        return Settings(
            self.identity,
            {self.upstream.name: self.upstream},
            user_paths({"ACP_STDIO_HOME": str(self.home)}),
            storage=StorageSettings("file", key),
        )

    @property
    def context(self) -> Context:
        return open_context(self.settings, may_prompt=False)

    def open(self, url: str) -> bool:
        self.tabs += 1
        threading.Thread(target=self._look, args=(url,), daemon=True).start()
        return True

    def _look(self, url: str) -> None:
        try:
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=PATIENCE).close()
        except OSError:
            """An error page; the sign-in tells what it needs to know."""

    def signs_in(self, *, force: bool = False, timeout: float = PATIENCE, **choices: Any) -> Session:
        wanted = Choices(opener=self.open, force=force, timeout=timeout, **choices)
        (outcome,) = sign_in(self.settings, wanted, self.said.append)
        return outcome.result()

    def fails(self, **choices: Any) -> Failure:
        with pytest.raises(Failure) as caught:
            self.signs_in(**choices)
        return caught.value

    def token(self) -> Any:
        return obtain_token(self.context, self.upstream)

    def files(self) -> list[Path]:
        return sorted((self.home / "state").rglob("registrations/*.json"))


@pytest.fixture
def person(tmp_path: Path, idp: Discoverable) -> Person:
    return Person(tmp_path, IdentitySettings("", "", scopes=()), UpstreamSettings("finance", idp.url))


@pytest.mark.parametrize("place", ["header", "path", "root", "nowhere"])
def test_the_issuer_is_found_wherever_the_specifications_put_it(
    place: Place, idp: Discoverable, person: Person
) -> None:
    idp.place = place
    session = person.signs_in()
    assert (session.issuer, session.client_source) == (idp.issuer, "registered")
    assert session.account is not None
    assert session.account.sub == "alice"
    assert session.resources == {"finance": idp.url}
    assert person.token().claims["aud"] == idp.url
    assert idp.asked("/authorize")[0]["resource"] == idp.url


def test_a_registration_says_what_this_program_is_and_is_made_once(idp: Discoverable, person: Person) -> None:
    first = person.signs_in()
    (asked,) = idp.registered
    assert (asked["application_type"], asked["token_endpoint_auth_method"]) == ("native", "none")
    assert asked["grant_types"][:2] == ["authorization_code", "refresh_token"]
    assert asked["redirect_uris"] == [idp.asked("/authorize")[0]["redirect_uri"]]
    again = person.signs_in(force=True)
    assert len(idp.registered) == 1
    assert again.client_id == first.client_id
    assert idp.asked("/authorize")[1]["redirect_uri"] == asked["redirect_uris"][0]
    (file,) = person.files()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_registered_port_that_is_taken_is_registered_anew(idp: Discoverable, person: Person) -> None:
    person.signs_in()
    port = urlsplit(str(idp.registered[0]["redirect_uris"][0])).port
    with socket.create_server(("127.0.0.1", port or 0)):
        person.signs_in(force=True)
    assert len(idp.registered) == 2
    assert idp.registered[1]["redirect_uris"] != idp.registered[0]["redirect_uris"]


@pytest.mark.parametrize("method", ["none", "client_secret_post", "client_secret_basic"])
def test_the_way_to_prove_ourselves_is_the_one_that_the_server_registered(
    method: Method, idp: Discoverable, person: Person
) -> None:
    idp.registers_as = method
    idp.auth_methods = (method,)
    session = person.signs_in()
    assert idp.registered[0]["token_endpoint_auth_method"] == method
    assert person.token().claims["client_id"] == session.client_id
    assert leaks.scan(idp.issued, person.home, texts=person.said) == []
    report = sign_out(person.context)
    assert (report.revocation, report.deleted) == ("revoked", True)
    assert bool(person.files()) == (method == "none"), "no secret outlasts a sign-out"


def test_a_secret_that_nobody_asked_for_is_used_as_the_server_says(idp: Discoverable, person: Person) -> None:
    idp.registers_as, idp.auth_methods = "client_secret_basic", None
    person.signs_in()
    assert idp.registered[0]["token_endpoint_auth_method"] == "none"
    assert person.token()


def test_a_metadata_document_is_the_client_where_the_server_reads_such(idp: Discoverable, person: Person) -> None:
    idp.documents = True
    document = "https://conformance-test.local/client-metadata.json"
    person.identity = replace(person.identity, client_metadata_url=document)
    session = person.signs_in()
    assert (session.client_id, session.client_source) == (document, "metadata document")
    assert idp.registered == []
    assert person.token().claims["client_id"] == document


def test_a_metadata_document_that_the_server_does_not_read_leaves_registration(
    idp: Discoverable, person: Person
) -> None:
    person.identity = replace(person.identity, client_metadata_url="https://example.com/client.json")
    assert person.signs_in().client_source == "registered"


def test_a_configured_client_is_never_registered(idp: Discoverable, person: Person) -> None:
    idp.clients["acp-stdio"] = KnownClient()
    person.identity = replace(person.identity, client_id="acp-stdio")
    session = person.signs_in()
    assert (session.client_id, session.client_source) == ("acp-stdio", "configured")
    assert idp.registered == []


@pytest.mark.parametrize("offered", [("client_secret_post", "client_secret_basic"), None, ("client_secret_post",)])
def test_a_configured_secret_is_shown_by_basic_where_that_is_offered(
    offered: tuple[str, ...] | None, idp: Discoverable, person: Person
) -> None:
    method: Method = "client_secret_post" if offered == ("client_secret_post",) else "client_secret_basic"
    idp.auth_methods, idp.clients["finance app"] = offered, KnownClient(method, "s3cr3t /+%:of-the-company")
    leaks.remember("s3cr3t /+%:of-the-company")
    place = person.home / "client.secret"
    place.touch(0o600)
    place.write_text("s3cr3t /+%:of-the-company\n")
    person.identity = IdentitySettings(idp.issuer, "finance app", client_secret_ref=f"file:{place}")
    person.signs_in()
    assert person.token()
    place.chmod(0o644)
    with pytest.raises(Failure, match="open to others"):
        person.token()


def test_without_any_way_to_become_a_client_the_person_is_told_what_to_configure(
    idp: Discoverable, person: Person
) -> None:
    idp.registration = False
    failure = person.fails()
    assert "does not let programs register themselves" in failure.message
    assert "client_id" in failure.advice
    assert person.tabs == 0


def test_without_an_issuer_anywhere_both_ways_out_are_named(idp: Discoverable, person: Person) -> None:
    idp.authorization_servers = ["http://127.0.0.1:1"]
    failure = person.fails()
    assert failure.reason == "idp_unreachable"
    assert "does not say where to sign in" in failure.message
    assert "RFC 9728" in failure.advice
    assert "`issuer` and `client_id`" in failure.advice


def test_the_first_server_that_can_be_used_is_used(idp: Discoverable, person: Person) -> None:
    idp.authorization_servers = ["ftp://a.example", "http://10.0.0.1/", "http://127.0.0.1:1", idp.issuer]
    assert person.signs_in().issuer == idp.issuer


def test_a_discovered_server_without_pkce_is_not_used(idp: Discoverable, person: Person) -> None:
    idp.pkce = False
    assert "PKCE" in person.fails().message
    assert person.tabs == 0


@pytest.mark.parametrize(
    ("challenged", "published", "offered", "expected"),
    [
        ("finance.read finance.list", ("finance.all",), ("openid",), "openid finance.read finance.list"),
        (None, ("finance.all", "finance.read"), ("openid",), "openid finance.all finance.read"),
        (None, None, ("openid", "offline_access"), "openid offline_access"),
        ("finance.read", None, ("openid", "offline_access"), "openid offline_access finance.read"),
    ],
)
def test_scopes_are_the_challenges_then_the_metadatas_and_what_makes_a_sign_in_last(
    challenged: str | None,
    published: tuple[str, ...] | None,
    offered: tuple[str, ...],
    expected: str,
    idp: Discoverable,
    person: Person,
) -> None:
    idp.challenge_scope, idp.resource_scopes, idp.scopes_supported = challenged, published, offered
    person.signs_in()
    assert idp.asked("/authorize")[0]["scope"] == expected


def test_configured_scopes_beat_what_the_server_asks_for(idp: Discoverable, person: Person) -> None:
    idp.challenge_scope = "finance.all"
    person.upstream = replace(person.upstream, scopes=("finance.read",))
    person.signs_in()
    assert "finance.all" not in idp.asked("/authorize")[0]["scope"]


def _plain_oauth(idp: Discoverable) -> None:
    idp.id_tokens, idp.scopes_supported = False, None


def test_scope_is_left_out_where_nobody_names_one(idp: Discoverable, person: Person) -> None:
    _plain_oauth(idp)
    person.fails()
    assert "scope" not in idp.asked("/authorize")[0]


def test_a_server_that_says_nothing_about_people_is_refused_unless_the_settings_allow_it(
    idp: Discoverable, person: Person
) -> None:
    _plain_oauth(idp)
    failure = person.fails()
    assert 'principal = "unverified"' in failure.advice
    assert "[upstreams.finance]" in failure.advice
    assert len(idp.asked("/revoke")) == 2, "what was issued is given back"
    strict = person.upstream
    person.upstream = replace(strict, principal="unverified", token_format="opaque")
    session = person.signs_in()
    assert session.account is not None
    assert (session.account.label, session.account.sub, session.account.known) == ("unverified", "", False)
    assert person.token().claims.get("sub") is None
    person.upstream = strict
    with pytest.raises(Failure, match="does not say who you are"):
        person.token()


def test_a_required_account_is_never_an_unknown_one(idp: Discoverable, person: Person) -> None:
    _plain_oauth(idp)
    person.upstream = replace(person.upstream, principal="unverified")
    person.identity = replace(person.identity, require_account={"domain": "example.com"})
    assert "nobody knows who signed in" in person.fails().message


def test_a_jwt_of_an_unknown_person_is_still_proven_to_be_for_this_server(idp: Discoverable, person: Person) -> None:
    idp.scopes_supported = ("offline_access",)
    person.upstream = replace(person.upstream, principal="unverified")
    person.identity = replace(person.identity, scopes=("offline_access",))
    person.signs_in()
    assert person.token().claims["aud"] == idp.url
    idp.forge_access_token = "foreign_key"
    with pytest.raises(Failure, match="was not used"):
        person.token()


def test_a_server_that_lost_its_clients_is_registered_at_anew_and_asked_once(idp: Discoverable, person: Person) -> None:
    old = person.signs_in()
    idp.forget_clients()
    tabs, asked = person.tabs, len(idp.asked("/authorize"))
    new = person.signs_in(force=True)
    assert new.client_id != old.client_id
    assert (person.tabs - tabs, len(idp.asked("/authorize")) - asked, len(idp.registered)) == (1, 1, 2)
    assert any("forgotten this program" in words for words in person.said)
    assert person.token()


def test_a_server_that_loses_its_clients_while_the_browser_is_open_is_asked_once_more(
    idp: Discoverable, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    original: Callable[..., Any] = idp.identify
    lost: list[str] = []

    def lose_at_the_exchange(path: str, form: dict[str, str], basic: str) -> dict[str, str]:
        if path == "/token" and not lost:
            lost.append(path)
            idp.forget_clients()
        return original(path, form, basic)

    monkeypatch.setattr(idp, "identify", lose_at_the_exchange)
    person.signs_in()
    assert (person.tabs, len(idp.registered)) == (2, 2)
    assert person.token()


def test_a_forgotten_registration_ends_the_sign_in_with_its_reason_and_nothing_else(
    idp: Discoverable, person: Person
) -> None:
    person.signs_in()
    idp.forget_clients()
    with pytest.raises(Failure, match="does not know this program any more") as caught:
        person.token()
    assert caught.value.reason == "login_required"
    assert person.files() == []
    session = person.context.session.read()
    assert session is not None
    assert (session.signed_in, session.ended_because) == (False, "forgotten")
    person.signs_in()
    assert person.token()


def test_a_configured_client_that_is_refused_is_not_replaced_by_a_registration(
    idp: Discoverable, person: Person
) -> None:
    idp.clients["acp-stdio"] = KnownClient()
    person.identity = replace(person.identity, client_id="acp-stdio")
    person.signs_in()
    idp.forget_clients()
    with pytest.raises(Failure) as caught:
        person.token()
    assert caught.value.reason == "configuration_invalid"
    session = person.context.session.read()
    assert session is not None
    assert session.signed_in
    assert idp.registered == []


def test_a_resource_that_moves_to_another_server_gets_a_sign_in_and_a_client_of_its_own_there(
    idp: Discoverable, person: Person
) -> None:
    old = person.signs_in()
    with Discoverable() as other:
        idp.authorization_servers = [other.issuer]
        other.access_claims = idp.access_claims
        new = person.signs_in(force=True)
        leaks.remember(*other.issued)
        assert (new.issuer, new.client_id != old.client_id) == (other.issuer, True)
        assert len(idp.registered) == len(other.registered) == 1
        assert not {form.get("client_id") for _, form in other.requests} & {old.client_id}
        assert any(form["token_type_hint"] == "refresh_token" for form in idp.asked("/revoke"))
        assert any("This replaces your sign-in" in words for words in person.said)
        registered = [json.loads(file.read_text())["issuer"] for file in person.files()]
        assert sorted(registered) == sorted([idp.issuer, other.issuer])


def test_a_configured_issuer_is_compared_and_never_replaced(idp: Discoverable, person: Person) -> None:
    with Discoverable() as company:
        person.identity = IdentitySettings(company.issuer, "")
        failure = person.fails()
    assert failure.reason == "configuration_invalid"
    assert idp.issuer in failure.message
    assert company.issuer in failure.message
    assert person.tabs == 0


def test_a_token_is_not_asked_for_an_address_that_the_sign_in_was_not_for(idp: Discoverable, person: Person) -> None:
    person.signs_in()
    person.upstream = replace(person.upstream, url="https://elsewhere.example.com/mcp")
    before = len(idp.asked("/token"))
    with pytest.raises(Failure, match="before finance was part of the configuration"):
        person.token()
    assert len(idp.asked("/token")) == before


def test_a_device_code_is_had_by_a_registration_too(idp: Discoverable, person: Person) -> None:
    session = person.signs_in(flow="device")
    assert session.client_source == "registered"
    assert "redirect_uris" not in idp.registered[0]
    assert person.tabs == 0
    person.signs_in(force=True)
    assert len(idp.registered) == 2, "that one had no redirect address"


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


# -- a server that publishes nothing (MCP 2025-03-26, fallbacks for servers without metadata discovery) --------------


def publishes_nothing(idp: Discoverable, person: Person) -> None:
    """A server of that revision, which is its own authorization server and knows no ID tokens."""
    _plain_oauth(idp)
    idp.place, idp.metadata_paths, idp.says_iss = "nowhere", (), False
    person.upstream = replace(person.upstream, principal="unverified", token_format="opaque")


def test_a_server_that_publishes_nothing_signs_in_at_its_own_default_endpoints_and_renews_there(
    idp: Discoverable, person: Person
) -> None:
    publishes_nothing(idp, person)
    session = person.signs_in()
    assert (session.issuer, session.client_source) == (idp.origin, "registered")
    assert any("publishes nothing about signing in" in line for line in person.said)
    assert idp.asked("/authorize")[0]["code_challenge_method"] == "S256", "that revision requires it of everybody"
    assert person.token().value.reveal() in idp.issued
    assert idp.asked("/token")[-1]["grant_type"] == "refresh_token"


def test_status_says_that_default_endpoints_are_used(
    idp: Discoverable, person: Person, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    publishes_nothing(idp, person)
    person.signs_in()
    config = person.home / "config" / "config.toml"
    config.parent.mkdir(exist_ok=True)
    config.write_text(f'version = 1\n[upstreams.finance]\nurl = "{idp.url}"\nprincipal = "unverified"\n')
    monkeypatch.setenv("ACP_STDIO_HOME", str(person.home))
    assert main(["status"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("deviates")]
    assert "where MCP 2025-03-26 has them by default" in line


def test_nobody_is_named_by_a_server_that_publishes_nothing(idp: Discoverable, person: Person) -> None:
    publishes_nothing(idp, person)
    person.upstream = replace(person.upstream, principal="required")
    assert "nobody knows who signed in" in person.fails().message


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/.well-known/oauth-authorization-server", 503),
        ("/.well-known/oauth-authorization-server", 401),
        ("/.well-known/openid-configuration", 200),
        (f"{RESOURCE_METADATA}/mcp", 500),
        (RESOURCE_METADATA, 403),
        ("/mcp", 403),
        ("/mcp", 200),
    ],
)
def test_what_is_no_clear_not_found_after_a_401_is_no_reason_for_default_endpoints(
    path: str, status: int, idp: Discoverable, person: Person
) -> None:
    publishes_nothing(idp, person)
    idp.broken[path] = status
    person.fails()
    assert (person.tabs, idp.registered) == (0, [])


def test_a_server_that_points_to_metadata_elsewhere_has_no_default_endpoints(idp: Discoverable, person: Person) -> None:
    publishes_nothing(idp, person)
    idp.place = "header"
    idp.broken["/somewhere/else"] = 404
    person.fails()
    assert (person.tabs, idp.registered) == (0, [])


def test_a_configured_issuer_has_no_default_endpoints(idp: Discoverable, person: Person) -> None:
    publishes_nothing(idp, person)
    person.identity = replace(person.identity, issuer=idp.origin)
    assert "publishes no metadata" in person.fails().message
    assert (person.tabs, idp.registered) == (0, [])


def test_default_endpoints_without_registration_want_a_client_id_and_no_issuer(
    idp: Discoverable, person: Person
) -> None:
    publishes_nothing(idp, person)
    idp.registration = False
    assert "`client_id`, without `issuer`" in person.fails().advice
    idp.clients["acp-stdio"] = KnownClient()
    person.identity = replace(person.identity, client_id="acp-stdio")
    assert person.signs_in().client_source == "configured"


def test_an_answer_from_default_endpoints_that_names_another_server_is_not_used(
    idp: Discoverable, person: Person
) -> None:
    publishes_nothing(idp, person)
    idp.forge_redirect = "wrong_iss"
    assert "came from another identity provider" in person.fails().message
    assert idp.asked("/token") == []


def test_a_server_that_begins_to_publish_is_renewed_at_as_it_says(idp: Discoverable, person: Person) -> None:
    publishes_nothing(idp, person)
    person.signs_in()
    idp.metadata_paths, idp.endpoints = ("/.well-known/oauth-authorization-server",), "/oauth"
    assert person.token()
    assert [form["grant_type"] for form in idp.asked("/token")] == ["authorization_code", "refresh_token"]


def test_a_server_that_ceases_to_publish_is_not_sent_a_refresh_token_at_default_endpoints(
    idp: Discoverable, person: Person
) -> None:
    publishes_nothing(idp, person)
    idp.metadata_paths = ("/.well-known/oauth-authorization-server",)
    assert not person.signs_in().default_endpoints
    idp.metadata_paths = ()
    shutil.rmtree(person.settings.cache_dir)
    with pytest.raises(Failure, match="publishes no metadata"):
        person.token()
    assert [form["grant_type"] for form in idp.asked("/token")] == ["authorization_code"]


def test_a_logout_at_default_endpoints_has_nothing_to_revoke_at_and_says_so(idp: Discoverable, person: Person) -> None:
    publishes_nothing(idp, person)
    person.signs_in()
    report = sign_out(person.context)
    assert (report.revocation, report.problems) == ("unsupported", ())


def test_what_default_endpoints_give_without_a_refresh_token_is_handed_over(idp: Discoverable, person: Person) -> None:
    publishes_nothing(idp, person)
    idp.scopes_supported = ("offline_access",)  # what is not asked for is not given
    held: list[Held] = []
    assert person.signs_in(hand_over=held.append).default_endpoints
    assert held[0].tokens["finance"].origin == idp.origin
