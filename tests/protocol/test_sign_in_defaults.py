"""A server that publishes nothing about signing in (MCP 2025-03-26, servers without metadata discovery)."""

import shutil
from dataclasses import replace

import pytest

from acp_stdio.cli.main import main
from acp_stdio.errors import Failure
from acp_stdio.identity.model import Held
from acp_stdio.tokens.logout import sign_out
from tests.kit.discoverable import RESOURCE_METADATA, Discoverable, KnownClient
from tests.kit.person_by_address import Person, plain_oauth


def publishes_nothing(idp: Discoverable, person: Person) -> None:
    """A server of that revision, which is its own authorization server and knows no ID tokens."""
    plain_oauth(idp)
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
