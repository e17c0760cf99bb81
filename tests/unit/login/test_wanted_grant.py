"""One sign-in asks for what every upstream needs, in each provider's own way."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx2
import pytest

from acp_stdio.errors import Failure
from acp_stdio.login.client import InteractiveClient, random_token
from acp_stdio.login.wanted import Wanted, plan, prompt_for, survey
from acp_stdio.oauth.client import Client
from acp_stdio.oauth.http import open_client
from acp_stdio.oauth.metadata import AuthorizationServer
from acp_stdio.oauth.presets import ENTRA, GENERIC, Preset
from acp_stdio.secrets import Secret
from acp_stdio.settings.model import IdentitySettings, NetworkSettings, Settings, UpstreamSettings
from acp_stdio.settings.paths import user_paths

ISSUER = "https://idp.example.com"
APP = "api://11111111-2222-3333-4444-555555555555"


class _Resource(http.server.BaseHTTPRequestHandler):
    """An MCP server's metadata: `/finance` names itself with a slash at its end, `/plain` has none."""

    def do_GET(self) -> None:
        found = self.path == "/.well-known/oauth-protected-resource/finance"
        host = f"http://{self.headers['Host']}"
        body = json.dumps({"resource": f"{host}/finance/", "authorization_servers": [ISSUER]}).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Resource) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def client() -> Iterator[httpx2.Client]:
    with open_client(NetworkSettings()) as http:
        yield http


def _settings(*upstreams: UpstreamSettings, issuer: str = ISSUER, **identity: Any) -> Settings:
    return Settings(
        IdentitySettings(issuer, "acp-stdio", **identity),
        {upstream.name: upstream for upstream in upstreams},
        user_paths({"ACP_STDIO_HOME": str(Path.cwd())}),
    )


def _silent(_: str) -> None:
    pass


def _plan(
    settings: Settings,
    client: httpx2.Client,
    *,
    preset: Preset = GENERIC,
    extra: tuple[str, ...] = (),
    talk: Callable[[str], None] = _silent,
) -> Wanted:
    described = survey(settings.upstreams.values(), client, talk)
    server = AuthorizationServer(settings.identity.issuer, f"{ISSUER}/authorize", f"{ISSUER}/token")
    return plan(settings, preset, server, described, extra)


def test_every_upstream_is_asked_for_by_the_name_it_gives_itself(base: str, client: httpx2.Client) -> None:
    settings = _settings(
        UpstreamSettings("finance", f"{base}/finance", scopes=("finance.read",)),
        UpstreamSettings("plain", f"{base}/plain"),
        UpstreamSettings("other", f"{base}/other", token_request="audience", audience=("urn:other",)),
        UpstreamSettings("none", f"{base}/none", token_request="omit"),
    )
    wanted = _plan(settings, client, extra=("extra",))
    assert wanted.scopes == ("openid", "offline_access", "finance.read", "extra")
    assert wanted.audiences == {"resource": (f"{base}/finance/", f"{base}/plain"), "audience": ("urn:other",)}
    assert wanted.first_token == {"resource": f"{base}/finance/"}
    assert wanted.resources["finance"] == f"{base}/finance/"
    assert wanted.resources.keys() == settings.upstreams.keys()


def test_entra_is_asked_by_scope_and_never_by_resource(base: str, client: httpx2.Client) -> None:
    settings = _settings(
        UpstreamSettings("finance", f"{base}/plain", token_request="scope", scopes=(f"{APP}/read",)), preset="entra"
    )
    wanted = _plan(settings, client, preset=ENTRA)
    assert not wanted.audiences
    assert "resource" not in wanted.first_token
    assert wanted.first_token["scope"].split()[0] == f"{APP}/read"
    assert f"{APP}/read" in wanted.scopes


def test_an_upstream_that_trusts_another_issuer_is_refused(base: str, client: httpx2.Client) -> None:
    settings = _settings(UpstreamSettings("finance", f"{base}/finance"), issuer="https://other.example.com")
    with pytest.raises(Failure) as caught:
        _plan(settings, client)
    assert caught.value.reason == "configuration_invalid"


def test_an_upstream_that_is_down_spares_the_others_and_is_said(base: str, client: httpx2.Client) -> None:
    down = UpstreamSettings("down", "http://127.0.0.1:1/mcp")
    said: list[str] = []
    wanted = _plan(_settings(UpstreamSettings("plain", f"{base}/plain"), down), client, talk=said.append)
    assert wanted.resources == {"plain": f"{base}/plain"}
    assert said
    assert said[0].startswith("down is left out")
    with pytest.raises(Failure) as caught:
        _plan(_settings(down), client)
    assert caught.value.reason == "upstream_unreachable"


def _wanted(*scopes: str) -> Wanted:
    return Wanted(scopes, {}, {}, {})


def test_offline_access_is_asked_with_consent_as_openid_connect_wants_it() -> None:
    assert prompt_for(_wanted("openid", "offline_access"), GENERIC, force=False) == "consent"
    assert prompt_for(_wanted("openid"), GENERIC, force=False) is None
    assert prompt_for(_wanted("openid", "offline_access"), GENERIC, force=True) == "login consent"
    assert prompt_for(_wanted("openid", "offline_access"), ENTRA, force=False) is None
    assert prompt_for(_wanted("openid", "offline_access"), ENTRA, force=True) == "select_account"


def test_the_authorization_url_repeats_resource_and_hides_the_verifier(client: httpx2.Client) -> None:
    server = AuthorizationServer(ISSUER, f"{ISSUER}/authorize?tenant=1", f"{ISSUER}/token", f"{ISSUER}/jwks")
    url = InteractiveClient(server, client, Client("acp-stdio", "configured")).authorization_url(
        redirect_uri="http://127.0.0.1:8400/callback",
        state="the-state",
        verifier=Secret("v" * 64),
        parameters={"scope": "openid a", "nonce": "n", "resource": ("https://a.example/x?y=1&z", "https://b.example")},
    )
    query = parse_qs(urlsplit(url).query)
    assert query["resource"] == ["https://a.example/x?y=1&z", "https://b.example"]
    assert query["tenant"] == ["1"]
    assert query["code_challenge_method"] == ["S256"]
    assert len(query["code_challenge"][0]) == 43
    assert (query["response_type"], query["state"], query["nonce"]) == (["code"], ["the-state"], ["n"])
    assert query["redirect_uri"] == ["http://127.0.0.1:8400/callback"]
    assert "v" * 64 not in url
    assert len(parse_qsl(urlsplit(url).query)) == 11


@pytest.mark.parametrize(("bits", "length"), [(256, 43), (380, 63)])
def test_random_words_hold_the_entropy_they_promise(bits: int, length: int) -> None:
    words = {random_token(bits) for _ in range(50)}
    assert len(words) == 50
    assert all(len(word) >= length and word.isalnum() for word in words)
