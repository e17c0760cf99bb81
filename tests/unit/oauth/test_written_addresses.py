"""Where the configuration says itself where a provider is, and which of its tokens' times are good enough."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from acp_stdio.errors import Failure
from acp_stdio.oauth.cache import PublicCache
from acp_stdio.oauth.http import open_client
from acp_stdio.oauth.metadata import server_of
from acp_stdio.settings.model import IdentitySettings, NetworkSettings
from tests.kit.scripted_idp import ScriptedIdp

ELSEWHERE = "/custom/metadata.json"


class Watched(ScriptedIdp):
    """Remembers which paths were asked for."""

    paths: list[str]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.paths = []

    def answer(self, method: str, path: str, form: dict[str, str]) -> tuple[int, dict[str, Any] | str]:
        self.paths.append(path)
        return super().answer(method, path, form)

    def all_endpoints(self) -> dict[str, str]:
        return {name: f"{self.origin}/{name}" for name in ("authorization", "token", "jwks")}


@pytest.fixture
def client() -> Iterator[httpx2.Client]:
    with open_client(NetworkSettings()) as opened:
        yield opened


def refused(identity: IdentitySettings, client: httpx2.Client) -> Failure:
    with pytest.raises(Failure) as caught:
        server_of(identity, identity.issuer, client)
    return caught.value


def test_metadata_that_lies_elsewhere_is_read_there_and_nowhere_else(client: httpx2.Client, tmp_path: Path) -> None:
    with Watched(metadata_paths=(ELSEWHERE,)) as idp:
        assert refused(IdentitySettings(idp.issuer, "c"), client).advice.count("`discovery_url`") == 1
        idp.paths.clear()
        identity = IdentitySettings(idp.issuer, "c", discovery_url=idp.origin + ELSEWHERE)
        cache = PublicCache(tmp_path)
        server = server_of(identity, idp.issuer, client, cache)
        assert server == server_of(identity, idp.issuer, client, cache)
        assert idp.paths == [ELSEWHERE]
        assert server.token_endpoint == f"{idp.origin}/token"
        assert server.deviations == (f"its metadata is read from {idp.origin}{ELSEWHERE}",)


@pytest.mark.parametrize("change", ["/", "?", "HTTP"])
def test_wherever_the_metadata_lies_its_issuer_is_the_configured_one_to_the_byte(
    change: str, client: httpx2.Client
) -> None:
    with Watched(metadata_paths=(ELSEWHERE,)) as idp:
        issuer = idp.issuer.replace("http", "HTTP") if change == "HTTP" else idp.issuer + change
        said = refused(IdentitySettings(issuer, "c", discovery_url=idp.origin + ELSEWHERE), client)
        assert (said.reason, "its metadata names the issuer" in said.message) == ("configuration_invalid", True)


def test_a_written_address_counts_in_place_of_the_published_one_and_the_others_stay(client: httpx2.Client) -> None:
    with Watched() as idp:
        own = {"revocation": "http://127.0.0.1:9/revoke", "end_session": "https://sso.example.com/out"}
        server = server_of(IdentitySettings(idp.issuer, "c", endpoints=own), idp.issuer, client)
        assert (server.revocation_endpoint, server.end_session_endpoint) == tuple(own.values())
        assert server.token_endpoint == f"{idp.origin}/token"
        (told,) = server.deviations
        assert told.endswith("says what these are: end_session_endpoint, revocation_endpoint")


def test_where_all_that_a_sign_in_needs_is_written_nothing_is_fetched(client: httpx2.Client) -> None:
    with Watched() as idp:
        identity = IdentitySettings(idp.issuer, "c", endpoints=idp.all_endpoints(), allow_unadvertised_pkce=True)
        server = server_of(identity, idp.issuer, client)
        assert idp.paths == []
        assert (server.jwks_uri, server.issuer) == (f"{idp.origin}/jwks", idp.issuer)
        assert server.device_authorization_endpoint is None


def test_keys_are_needed_where_somebody_is_to_be_known_and_only_there(client: httpx2.Client) -> None:
    with Watched() as idp:
        two = {name: url for name, url in idp.all_endpoints().items() if name != "jwks"}
        known = IdentitySettings(idp.issuer, "c", endpoints=two, allow_unadvertised_pkce=True)
        assert server_of(known, idp.issuer, client).jwks_uri == f"{idp.origin}/keys"
        asked = len(idp.paths)
        nobody = IdentitySettings(idp.issuer, "c", scopes=("read",), endpoints=two, allow_unadvertised_pkce=True)
        assert server_of(nobody, idp.issuer, client).jwks_uri == ""
        assert len(idp.paths) == asked


@pytest.mark.parametrize("methods", [None, [], ["plain"], ["S256"]])
@pytest.mark.parametrize("openid", [False, True])
def test_pkce_that_nobody_advertises_is_used_only_where_the_configuration_says_so(
    methods: Any, openid: bool, client: httpx2.Client
) -> None:
    """MCP, authorization code protection: also OpenID Connect discovery must name the methods."""

    class Silent(Watched):
        def metadata(self) -> dict[str, Any]:
            document = {**super().metadata(), "code_challenge_methods_supported": methods}
            return {name: value for name, value in document.items() if value is not None}

    name = "openid-configuration" if openid else "oauth-authorization-server"
    with Silent(metadata_paths=(f"/.well-known/{name}",)) as idp:
        careful = IdentitySettings(idp.issuer, "c")
        bold = IdentitySettings(idp.issuer, "c", allow_unadvertised_pkce=True)
        if methods == ["S256"]:
            assert server_of(bold, idp.issuer, client) == server_of(careful, idp.issuer, client)
            return
        said = refused(careful, client)
        assert said.reason == "configuration_invalid"
        assert "does not offer PKCE" in said.message
        if methods:  # it says that it has another method: then it has not this one
            assert "does not offer PKCE" in refused(bold, client).message
            assert "allow_unadvertised_pkce" not in said.advice
            return
        assert "allow_unadvertised_pkce = true" in said.advice
        assert any("PKCE" in each for each in server_of(bold, idp.issuer, client).deviations)


def test_addresses_alone_do_not_say_that_pkce_works(client: httpx2.Client) -> None:
    with Watched() as idp:
        said = refused(IdentitySettings(idp.issuer, "c", endpoints=idp.all_endpoints()), client)
        assert "nothing says that it takes PKCE" in said.message
        assert "allow_unadvertised_pkce = true" in said.advice


def test_what_is_written_about_one_issuer_is_not_about_the_issuer_of_an_earlier_sign_in(client: httpx2.Client) -> None:
    """A logout after a change of the configuration talks to whoever issued the grant."""
    with Watched() as earlier:
        identity = IdentitySettings(
            "https://new.example.com",
            "c",
            discovery_url="https://new.example.com/metadata",
            endpoints={"token": "https://new.example.com/token", "revocation": "https://new.example.com/revoke"},
        )
        server = server_of(identity, earlier.issuer, client)
        assert (server.token_endpoint, server.revocation_endpoint) == (
            f"{earlier.origin}/token",
            f"{earlier.origin}/revoke",
        )
        assert server.deviations == ()
