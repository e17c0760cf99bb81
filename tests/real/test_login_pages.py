"""What the person sees in the browser: success only after storing, and the truth about every failure."""

import threading
from collections.abc import Callable, Iterator

import httpx2
import pytest

from acp_stdio.errors import Failure
from acp_stdio.login.browser import BrowserChoices, Granted, browser_grant
from acp_stdio.login.client import InteractiveClient
from acp_stdio.login.wanted import Wanted
from acp_stdio.oauth.client import Client
from acp_stdio.oauth.http import open_client
from acp_stdio.oauth.metadata import AuthorizationServer, discover
from acp_stdio.oauth.presets import GENERIC
from acp_stdio.settings.model import NetworkSettings
from tests.kit import human, leaks
from tests.kit.oidc_provider import oidc_provider
from tests.kit.scripted_idp import ScriptedIdp

pytestmark = pytest.mark.real

WANTED = Wanted(("openid", "offline_access"), {}, {}, {})
PATIENCE = 60.0


@pytest.fixture
def idp() -> Iterator[ScriptedIdp]:
    with ScriptedIdp() as scripted:
        yield scripted
        leaks.remember(*scripted.issued)


@pytest.fixture
def client() -> Iterator[httpx2.Client]:
    with open_client(NetworkSettings()) as http:
        yield http


class Person:
    """Follows the page that is opened, on a thread of their own."""

    def __init__(self) -> None:
        self.page: human.Page | None = None
        self._thread: threading.Thread | None = None

    def opener(self, url: str) -> bool:
        self._thread = threading.Thread(target=self._look, args=(url,), daemon=True)
        self._thread.start()
        return True

    def saw(self) -> human.Page:
        assert self._thread is not None
        self._thread.join(PATIENCE)
        assert self.page is not None
        return self.page

    def _look(self, url: str) -> None:
        self.page = human.sign_in(url, "alice")


def _nothing(_: str) -> None:
    pass


def _client(server: AuthorizationServer, http: httpx2.Client) -> Callable[[str], InteractiveClient]:
    return lambda _: InteractiveClient(server, http, Client("acp-stdio", "configured"))


def _sign_in(
    idp: ScriptedIdp,
    http: httpx2.Client,
    body: Callable[[Granted, Callable[[str], None]], None],
    *,
    timeout: float = PATIENCE,
) -> human.Page:
    """The flow with `body` in place of proving and storing; returns what the person saw. Raises `Failure`."""
    person = Person()
    server = discover(idp.issuer, GENERIC, http)
    choices = BrowserChoices("http://127.0.0.1:0/callback", timeout, person.opener)
    try:
        with browser_grant(server, _client(server, http), WANTED, choices, _nothing) as got:
            body(*got)
    except Failure as failure:
        failure.__notes__ = [person.saw().text]
        raise
    return person.saw()


def _store(granted: Granted, succeed: Callable[[str], None]) -> None:
    succeed("alice@example.com")


def _fails(idp: ScriptedIdp, http: httpx2.Client, body: Callable[..., None] = _store) -> tuple[Failure, str]:
    with pytest.raises(Failure) as caught:
        _sign_in(idp, http, body)
    page = caught.value.__notes__[0]
    assert "You are not signed in." in page
    return caught.value, page


def test_success_names_the_person_and_the_next_step(idp: ScriptedIdp, client: httpx2.Client) -> None:
    page = _sign_in(idp, client, _store)
    assert page.status == 200
    assert "Signed in as alice@example.com." in page.text
    assert "Go back to Claude and ask again." in page.text
    assert not any(secret in page.text for secret in idp.issued)


def test_a_refusal_at_the_provider_is_called_one(idp: ScriptedIdp, client: httpx2.Client) -> None:
    idp.disabled.add("alice")
    failure, page = _fails(idp, client)
    assert failure.reason == "denied"
    assert "the account is disabled" in page


@pytest.mark.parametrize("lie", ["wrong_iss", "missing_iss", "wrong_iss_error"])
def test_an_answer_of_another_provider_is_not_used_and_its_words_not_shown(
    lie: str, idp: ScriptedIdp, client: httpx2.Client
) -> None:
    idp.forge_redirect = lie  # pyright: ignore[reportAttributeAccessIssue]  # one of the literals, from the table above
    failure, page = _fails(idp, client)
    assert failure.reason == "denied"
    assert "555" not in page
    assert "/token" not in [path for path, _ in idp.requests]


def test_an_issuer_given_twice_is_refused(idp: ScriptedIdp, client: httpx2.Client) -> None:
    idp.forge_redirect = "iss_twice"
    _, page = _fails(idp, client)
    assert "twice" in page


def test_the_answer_of_another_sign_in_is_turned_away_and_ours_still_counts(
    idp: ScriptedIdp, client: httpx2.Client
) -> None:
    idp.forge_redirect = "wrong_state"
    with pytest.raises(Failure) as caught:
        _sign_in(idp, client, _store, timeout=1.0)
    assert caught.value.reason == "timeout"
    assert "not the answer to the sign-in that is open" in caught.value.__notes__[0]


def test_a_code_that_is_not_accepted_is_said(idp: ScriptedIdp, client: httpx2.Client) -> None:
    def tamper(form: dict[str, str]) -> None:
        if "code" in form:
            form["code_verifier"] = "x" * 43

    idp.check_request = tamper  # pyright: ignore[reportAttributeAccessIssue]  # what a broken provider does
    failure, page = _fails(idp, client)
    assert failure.reason == "denied"
    assert "was not accepted" in page


def test_a_keyring_that_refuses_is_said_in_the_browser_too(idp: ScriptedIdp, client: httpx2.Client) -> None:
    def refuse(*_: object) -> None:
        raise Failure("keyring_locked", "The keyring is locked.", "Unlock it and sign in again.")

    _, page = _fails(idp, client, refuse)
    assert "The keyring is locked." in page
    assert "Unlock it and sign in again." in page
    assert "Signed in as" not in page


def test_a_real_provider_that_cannot_go_on_in_silence_leads_the_same_tab_to_its_page(client: httpx2.Client) -> None:
    with oidc_provider() as provider:
        person = Person()
        server = discover(provider.issuer, GENERIC, client)
        opened: list[str] = []

        def opener(url: str) -> bool:
            opened.append(url)
            return person.opener(url)

        choices = BrowserChoices("http://127.0.0.1:0/callback", PATIENCE, opener, prompt="consent", silent=True)
        with browser_grant(server, _client(server, client), WANTED, choices, _nothing) as (granted, succeed):
            leaks.remember(*provider.issued())
            assert granted.response.refresh_token is not None
            succeed("alice@example.com")
        assert "Signed in as alice@example.com." in person.saw().text
        assert len(opened) == 1
        asked = [entry for entry in provider.log() if entry["path"] == "/auth"]
        assert len(asked) >= 2, "in silence, then with its page"


def test_an_interruption_is_said(idp: ScriptedIdp, client: httpx2.Client) -> None:
    person = Person()
    server = discover(idp.issuer, GENERIC, client)
    choices = BrowserChoices("http://127.0.0.1:0/callback", PATIENCE, person.opener)

    def interrupted() -> None:
        with browser_grant(server, _client(server, client), WANTED, choices, _nothing):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert "interrupted" in person.saw().text


HOSTILE = ["file:///etc/passwd", "javascript:alert(1)", "http://evil.example/auth", "https://a$(id)/", "https://u:p@h/"]


@pytest.mark.parametrize("endpoint", HOSTILE)
def test_a_hostile_address_from_discovery_reaches_neither_browser_nor_terminal(
    endpoint: str, idp: ScriptedIdp, client: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = idp.metadata()
    monkeypatch.setattr(idp, "metadata", lambda: {**honest, "authorization_endpoint": endpoint})
    said: list[str] = []
    opened: list[str] = []

    def opener(url: str) -> bool:
        opened.append(url)
        return True

    def attempt() -> None:
        server = discover(idp.issuer, GENERIC, client)
        choices = BrowserChoices("http://127.0.0.1:0/callback", 1.0, opener)
        with browser_grant(server, _client(server, client), WANTED, choices, said.append):
            pass

    with pytest.raises(Failure) as caught:
        attempt()
    assert caught.value.reason == "configuration_invalid"
    assert (opened, said) == ([], [])
