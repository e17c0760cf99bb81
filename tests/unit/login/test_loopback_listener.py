"""The listener takes one answer, turns everything else away, and never hangs on an idle connection."""

import http.client
import socket
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest

from acp_stdio.errors import Failure
from acp_stdio.login import pages
from acp_stdio.login.loopback import Loopback, Redirect
from acp_stdio.login.pages import Page

STATE = "the-state-of-this-sign-in"
PATIENCE = 30.0


def get(url: str, *, host: str | None = None, method: str = "GET") -> tuple[int, dict[str, str], str]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
    try:
        connection.putrequest(
            method, parts._replace(scheme="", netloc="", path=parts.path or "/").geturl(), skip_host=True
        )
        connection.putheader("Host", host or parts.netloc)
        connection.endheaders()
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read().decode()
    finally:
        connection.close()


@pytest.fixture
def listener() -> Iterator[Loopback]:
    with Loopback("http://127.0.0.1:0/callback", STATE) as loopback:
        yield loopback


class Browser(threading.Thread):
    """Fetches one page in the background."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        self.status, self.text = 0, ""
        self.start()

    def run(self) -> None:
        self.status, _, self.text = get(self._url)


def _complete(listener: Loopback, page: Page | None = None) -> Browser:
    """The right answer still goes through."""
    browser = Browser(f"{listener.redirect_uri}?state={STATE}&code=c")
    taken = listener.wait(PATIENCE)
    assert taken is not None
    assert ("code", "c") in taken.parameters
    assert browser.is_alive()  # the page is owed until the sign-in is over
    taken.show(page or pages.signed_in("sarah@example.com"))
    browser.join(PATIENCE)
    return browser


def test_the_page_comes_after_the_sign_in_is_over(listener: Loopback) -> None:
    browser = _complete(listener)
    assert browser.status == 200
    assert "Signed in as sarah@example.com." in browser.text


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/favicon.ico", 404),
        ("/", 404),
        ("/callback", 404),
        ("/callback/extra?state=" + STATE + "&code=evil", 404),
        ("/callback?code=evil", 400),
        ("/callback?state=wrong&code=evil", 400),
        (f"/callback?state={STATE}&state=other&code=evil", 400),
        ("/callback?" + "&".join(f"a{n}=1" for n in range(60)), 400),
        ("/callback?state=%ff", 400),
    ],
)
def test_what_is_not_our_answer_is_turned_away_and_the_sign_in_goes_on(
    target: str, status: int, listener: Loopback
) -> None:
    base = listener.redirect_uri.removesuffix("/callback")
    assert get(base + target)[0] == status
    assert _complete(listener).status == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost", "127.0.0.1", "127.0.0.1:1"])
def test_another_host_name_is_turned_away(host: str, listener: Loopback) -> None:
    assert get(f"{listener.redirect_uri}?state={STATE}&code=evil", host=host)[0] == 403
    assert _complete(listener).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS", "DELETE", "HEAD"])
def test_only_get_is_spoken(method: str, listener: Loopback) -> None:
    assert get(f"{listener.redirect_uri}?state={STATE}&code=evil", method=method)[0] == 405
    assert _complete(listener).status == 200


def test_the_answer_is_taken_once(listener: Loopback) -> None:
    assert _complete(listener).status == 200
    assert get(f"{listener.redirect_uri}?state={STATE}&code=c")[0] == 410
    assert listener.wait(0) is None


def test_the_tab_can_be_sent_on_and_only_the_answer_to_that_counts_then(listener: Loopback) -> None:
    sent: list[tuple[int, dict[str, str], str]] = []
    silent = f"{listener.redirect_uri}?state={STATE}&error=login_required"
    browser = threading.Thread(target=lambda: sent.append(get(silent)), daemon=True)
    browser.start()
    taken = listener.wait(PATIENCE)
    assert taken is not None
    listener.again("another-state")
    taken.send_on("https://idp.example.com/authorize?state=another-state")
    browser.join(PATIENCE)
    ((status, headers, text),) = sent
    assert (status, headers["Location"]) == (302, "https://idp.example.com/authorize?state=another-state")
    assert headers["Cache-Control"] == "no-store"
    assert "login_required" not in text
    assert get(f"{listener.redirect_uri}?state={STATE}&code=c")[0] == 400
    answer = Browser(f"{listener.redirect_uri}?state=another-state&code=d")
    last = listener.wait(PATIENCE)
    assert last is not None
    assert ("code", "d") in last.parameters
    last.show(pages.signed_in("sarah@example.com"))
    answer.join(PATIENCE)
    assert answer.status == 200


def test_an_idle_connection_hangs_nothing(listener: Loopback) -> None:
    parts = urlsplit(listener.redirect_uri)
    with socket.create_connection((parts.hostname, parts.port)) as idle:
        assert _complete(listener).status == 200
        idle.settimeout(PATIENCE)
        assert idle.recv(1) == b""  # and it is closed in the end


def test_every_page_is_kept_out_of_caches_and_loads_nothing(listener: Loopback) -> None:
    _, headers, text = get(listener.redirect_uri)
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Connection"] == "close"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "http" not in text.replace("http-equiv", "")
    assert not any(name.startswith("Access-Control") for name in headers)


def test_the_short_address_leads_to_the_sign_in_page(listener: Loopback) -> None:
    assert get(listener.start_url)[0] == 404
    listener.lead_to("https://idp.example.com/authorize?state=x")
    status, headers, _ = get(listener.start_url)
    assert (status, headers["Location"]) == (302, "https://idp.example.com/authorize?state=x")
    assert STATE not in listener.start_url
    assert get(listener.start_url)[0] == 302  # the person may come back to it


def test_no_answer_is_no_answer(listener: Loopback) -> None:
    assert listener.wait(0) is None


def test_leaving_closes_the_port() -> None:
    with Loopback("http://127.0.0.1:0/callback", STATE) as loopback:
        parts = urlsplit(loopback.redirect_uri)
    with pytest.raises(ConnectionRefusedError), socket.create_connection((parts.hostname, parts.port)):
        pass


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_fixed_port_is_used_and_can_be_used_again_at_once() -> None:
    address = f"http://127.0.0.1:{_free_port()}/callback"
    for _ in range(2):
        with Loopback(address, STATE) as loopback:
            assert loopback.redirect_uri == address
            assert _complete(loopback).status == 200


def test_a_port_that_is_taken_is_said_and_never_shared() -> None:
    with Loopback("http://127.0.0.1:0/callback", STATE) as first:
        with pytest.raises(Failure, match="is in use") as caught:
            Loopback(first.redirect_uri, STATE)
        assert "redirect" in caught.value.advice
        assert _complete(first).status == 200


def test_the_next_of_several_ports_is_used() -> None:
    free = _free_port()
    with Loopback("http://127.0.0.1:0/callback", STATE) as first:
        taken = urlsplit(first.redirect_uri).port
        with Loopback(f"http://127.0.0.1:{taken},{free}/callback", STATE) as second:
            assert urlsplit(second.redirect_uri).port == free


@pytest.mark.parametrize("redirect", ["http://localhost", "http://localhost:0/"])
def test_localhost_answers_under_its_name(redirect: str) -> None:
    with Loopback(redirect, STATE) as loopback:
        assert loopback.redirect_uri.startswith("http://localhost:")
        assert loopback.redirect_uri.endswith("/") == redirect.endswith("/")
        assert _complete(loopback).status == 200


@pytest.mark.parametrize(
    "address",
    [
        "https://127.0.0.1:0/callback",
        "http://0.0.0.0:0/callback",
        "http://example.com/callback",
        "http://127.0.0.1:70000/callback",
        "http://127.0.0.1:x/callback",
        "http://127.0.0.1:0/callback?x=1",
        "callback",
    ],
)
def test_a_redirect_that_is_not_this_computer_is_refused(address: str) -> None:
    with pytest.raises(Failure) as caught:
        Redirect.parse(address)
    assert caught.value.reason == "configuration_invalid"


def test_the_ipv6_loopback_can_be_named() -> None:
    assert Redirect.parse("http://[::1]:8400/cb") == Redirect("::1", (8400,), "/cb")


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)


def test_a_page_shows_hostile_text_as_text() -> None:
    honest, hostile = _Tags(), _Tags()
    honest.feed(pages.failed("a", "b").render().decode())
    hostile.feed(pages.failed("<script>alert(1)</script>", "<img src=x onerror=y>\"'").render().decode())
    assert hostile.tags == honest.tags
