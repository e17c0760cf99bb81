"""Nothing but an MCP server's address is known: where to sign in, as which client, for which scopes."""

import json
import socket
import stat
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from acp_stdio.errors import Failure
from acp_stdio.settings.model import IdentitySettings
from acp_stdio.tokens.logout import sign_out
from tests.kit import leaks
from tests.kit.discoverable import Discoverable, KnownClient, Method, Place
from tests.kit.person_by_address import Person, plain_oauth


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


def test_scope_is_left_out_where_nobody_names_one(idp: Discoverable, person: Person) -> None:
    plain_oauth(idp)
    person.fails()
    assert "scope" not in idp.asked("/authorize")[0]


def test_a_server_that_says_nothing_about_people_is_refused_unless_the_settings_allow_it(
    idp: Discoverable, person: Person
) -> None:
    plain_oauth(idp)
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
    plain_oauth(idp)
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
