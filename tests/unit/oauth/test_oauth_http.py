"""The OAuth client goes where it was sent, and nowhere else, and does not wait or read for ever."""

import socket
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest

from acp_stdio import __version__
from acp_stdio.errors import Failure
from acp_stdio.oauth import http
from acp_stdio.oauth.http import ConnectionFailed, get_json, open_client, send
from acp_stdio.settings.model import NetworkSettings


class Site(ThreadingHTTPServer):
    """Answers every request with `status` and `body`, and remembers who asked for what."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), SiteHandler)
        self.status, self.headers, self.body = 200, dict[str, str](), b"{}"
        self.seen: list[tuple[str, str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class SiteHandler(BaseHTTPRequestHandler):
    server: Site  # pyright: ignore[reportIncompatibleVariableOverride]  # the only server that uses it

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.server.seen.append((self.command, self.path, self.headers.get("User-Agent", "")))
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.server.body)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def running() -> Generator[Site]:
    site = Site()
    threading.Thread(target=site.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield site
    finally:
        site.shutdown()
        site.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    with running() as started:
        yield started


@pytest.fixture
def client() -> Iterator[httpx2.Client]:
    with open_client(NetworkSettings()) as opened:
        yield opened


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed_with_a_form(site: Site, client: httpx2.Client, status: int) -> None:
    with running() as thief:
        site.status, site.headers = status, {"Location": f"{thief.url}/steal"}
        assert send(client, "POST", f"{site.url}/token", {"refresh_token": "secret"}).status == status
        assert get_json(client, f"{site.url}/keys") is None
        assert thief.seen == []


def test_we_say_who_we_are(site: Site, client: httpx2.Client) -> None:
    assert get_json(client, f"{site.url}/x") == {}
    assert site.seen == [("GET", "/x", f"acp-stdio/{__version__}")]


@pytest.mark.parametrize(
    "url",
    [
        "http://login.example.com/token",
        "http://10.0.0.1/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "//x",
        "",
        "https://",
    ],
)
def test_nothing_is_sent_in_the_clear_or_to_what_is_no_address(client: httpx2.Client, url: str) -> None:
    with pytest.raises(ConnectionFailed) as caught:
        send(client, "GET", url)
    assert not caught.value.sent


def test_an_answer_that_does_not_end_is_cut_off(site: Site, client: httpx2.Client) -> None:
    site.body = b" " * (http.BODY_LIMIT + 1)
    with pytest.raises(ConnectionFailed) as caught:
        send(client, "GET", site.url)
    assert caught.value.sent
    site.body = b"{}" + b" " * (http.BODY_LIMIT - 2)
    assert get_json(client, site.url) == {}


@pytest.mark.parametrize(("status", "body"), [(404, b"{}"), (200, b"<html>"), (200, b"[]"), (200, b"\xff"), (401, b"")])
def test_what_is_no_json_object_is_nothing(site: Site, client: httpx2.Client, status: int, body: bytes) -> None:
    site.status, site.body = status, body
    assert get_json(client, site.url) is None


def test_a_stream_in_place_of_a_document_is_not_waited_for(site: Site, client: httpx2.Client) -> None:
    site.headers, site.body = {"Content-Type": "text/event-stream", "Content-Length": "1000"}, b"data: \n\n"
    assert get_json(client, f"{site.url}/.well-known/oauth-protected-resource") is None


def test_a_server_in_trouble_is_unreachable_under_the_callers_word(site: Site, client: httpx2.Client) -> None:
    site.status = 503
    with pytest.raises(Failure) as caught:
        get_json(client, site.url, reason="upstream_unreachable")
    assert caught.value.reason == "upstream_unreachable"


def test_a_refused_connection_was_not_sent_and_a_dropped_one_may_have_been(client: httpx2.Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

        def drop() -> None:
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.close()

        thread = threading.Thread(target=drop)
        thread.start()
        with pytest.raises(ConnectionFailed) as dropped:
            send(client, "POST", url, {"a": "b"})
        thread.join(30)
        assert dropped.value.sent
    with pytest.raises(ConnectionFailed) as refused:
        send(client, "POST", url, {"a": "b"})
    assert not refused.value.sent
    assert refused.value.failure().reason == "idp_unreachable"


def test_the_configured_proxy_is_used_but_never_for_loopback(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with running() as proxy:
        proxy.status = 403
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        for network in (NetworkSettings(), NetworkSettings(proxy=proxy.url)):
            with open_client(network) as client:
                assert get_json(client, site.url) == {}
                assert get_json(client, f"http://localhost:{site.server_port}") == {}
                with pytest.raises(ConnectionFailed) as caught:
                    send(client, "POST", "https://login.example.com/token", {"refresh_token": "secret"})
            assert not caught.value.sent
        assert proxy.seen == []  # it was asked to CONNECT, which it does not know, and for nothing else


@pytest.mark.parametrize("network", [NetworkSettings(ca_bundle="/nowhere.pem"), NetworkSettings(proxy="gopher://x")])
def test_a_network_setting_that_cannot_work_is_said_at_once(network: NetworkSettings) -> None:
    with pytest.raises(Failure) as caught:
        open_client(network)
    assert caught.value.reason == "configuration_invalid"


def test_a_ca_bundle_that_is_none_is_said_at_once(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("no certificate")
    with pytest.raises(Failure) as caught:
        open_client(NetworkSettings(ca_bundle=str(bundle)))
    assert caught.value.reason == "configuration_invalid"
