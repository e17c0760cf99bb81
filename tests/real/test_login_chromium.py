"""What a person sees at the end of a real sign-in, in a real browser: the words, in light and in dark."""

import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.kit import leaks
from tests.kit.chromium import Chromium, Tab, chromium
from tests.kit.scripted_idp import Form, ScriptedIdp
from tests.kit.secret_service import secret_service
from tests.kit.signing_in import PATIENCE, Machine, bare_upstream, printed_link

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with chromium(tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with bare_upstream() as url:
        yield url


@pytest.fixture
def idp() -> Iterator[ScriptedIdp]:
    with ScriptedIdp() as scripted:
        yield scripted
        leaks.remember(*scripted.issued)


@pytest.fixture
def machine(tmp_path: Path, idp: ScriptedIdp, upstream: str) -> Machine:
    return Machine(tmp_path / "home", idp.issuer, upstream)


class Signing:
    """`acp-stdio login` at work, and the tab that the person follows its link in."""

    def __init__(self, machine: Machine, browser: Chromium) -> None:
        self.tab = browser.tab()
        self.command = machine.start("login", "--no-browser")
        self.link = ""

    def __enter__(self) -> "Signing":
        try:
            self.link = printed_link(self.command)
        except AssertionError:
            self.command.communicate(timeout=PATIENCE)
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        if exc[0] is not None:
            self.command.kill()
        self.command.communicate(timeout=PATIENCE)
        self.tab.close()

    def follow(self) -> Tab:
        self.tab.go(self.link)
        return self.tab


def when_code_comes(idp: ScriptedIdp, then: Callable[[Form], None]) -> None:
    """Does something while the code is exchanged, when the browser already waits for its page."""

    def check(form: Form) -> None:
        if form.get("grant_type") == "authorization_code":
            then(form)

    idp.check_request = check  # pyright: ignore[reportAttributeAccessIssue]  # a hook that personalities override


def looks_right(tab: Tab, idp: ScriptedIdp, folder: Path, *words: str) -> str:
    """The page has the words, two faces and no secret; it loads nothing, and nothing on it is refused."""
    text = tab.reads(words[0])
    assert [each for each in words if each not in text] == [], text
    light = tab.screenshot(folder / "light.png", "light")
    dark = tab.screenshot(folder / "dark.png", "dark")
    assert light != dark
    assert min(len(light), len(dark)) > 10_000  # an empty page has 2.5 kB, ours 17 and more
    # What it may say is that a page came with a status of 400.
    assert [each for each in tab.console if not re.match("network: .* status of 4", each)] == []
    addresses = [entry["url"] for entry in tab.ask("Page.getNavigationHistory")["entries"]]
    assert not leaks_of(idp, text, *addresses)
    assert tab.value("location.search + location.hash") == ""
    assert tab.value("document.documentElement.scrollWidth <= innerWidth")
    assert tab.value("performance.getEntriesByType('resource').length") == 0
    return text


def leaks_of(idp: ScriptedIdp, *texts: str) -> int:
    """How many of its secrets are in the texts."""
    return sum(secret in text for text in texts for secret in idp.issued)


def test_success_is_shown_and_the_code_leaves_the_address_bar(
    machine: Machine, browser: Chromium, idp: ScriptedIdp, tmp_path: Path
) -> None:
    with Signing(machine, browser) as signing:
        tab = signing.follow()
        words = ("Signed in as alice@example.com.", "You can close this tab.", "Go back to Claude and ask again.")
        looks_right(tab, idp, tmp_path, *words)
        status, address = tab.documents[-1]
        assert status == 200
        assert leaks_of(idp, address)  # it had come by the address with the code


def test_the_page_lets_no_script_or_picture_in(machine: Machine, browser: Chromium) -> None:
    with Signing(machine, browser) as signing:
        tab = signing.follow()
        tab.reads("Signed in as")
        tab.value("document.body.appendChild(document.createElement('script')).textContent = 'document.title = 1'")
        tab.value("document.body.appendChild(new Image()).src = 'http://127.0.0.1:9/x.png'")
        assert tab.value("document.title") == "Signed in as alice@example.com."
        assert sum("Content Security Policy" in each for each in tab.console) == 2


NOT = "You are not signed in."


def _refuse(idp: ScriptedIdp, machine: Machine) -> None:
    idp.disabled.add("alice")


def _other_provider(idp: ScriptedIdp, machine: Machine) -> None:
    idp.forge_redirect = "wrong_iss"


def _bad_code(idp: ScriptedIdp, machine: Machine) -> None:
    when_code_comes(idp, lambda form: form.update(code_verifier="x" * 43))


def _other_account(idp: ScriptedIdp, machine: Machine) -> None:
    machine.identity = 'require_account = { email = "bob@example.com" }'
    machine.configure()


def _no_store(idp: ScriptedIdp, machine: Machine) -> None:
    when_code_comes(idp, lambda _: machine.key_file.unlink())


@pytest.mark.parametrize(
    ("arrange", "words"),
    [
        pytest.param(_refuse, ["the account is disabled"], id="refused at the provider"),
        pytest.param(_other_provider, ["another identity provider", "Sign in again"], id="wrong issuer"),
        pytest.param(_bad_code, ["was not accepted", "acp-stdio login"], id="code not accepted"),
        pytest.param(_other_account, ["expected bob@example.com", "your company account"], id="wrong account"),
        pytest.param(_no_store, ["store.key"], id="file does not store"),
    ],
)
def test_each_failure_is_shown_with_its_reason(
    arrange: Callable[[ScriptedIdp, Machine], None],
    words: list[str],
    machine: Machine,
    browser: Chromium,
    idp: ScriptedIdp,
    tmp_path: Path,
) -> None:
    arrange(idp, machine)
    with Signing(machine, browser) as signing:
        text = looks_right(signing.follow(), idp, tmp_path, NOT, *words)
        assert "Signed in as" not in text
        assert signing.command.wait(PATIENCE) != 0


def test_a_keyring_that_is_locked_meanwhile_is_shown(
    browser: Chromium, idp: ScriptedIdp, upstream: str, tmp_path: Path
) -> None:
    with secret_service(tmp_path / "desktop") as service:
        machine = Machine(tmp_path / "home", idp.issuer, upstream, extra_environment=service.environ)
        config = tmp_path / "home" / "config" / "config.toml"
        config.write_text(
            re.sub(r"\[storage\].*", '[storage]\nbackend = "secret-service"\n', config.read_text(), flags=re.S)
        )
        when_code_comes(idp, lambda _: service.lock())
        with Signing(machine, browser) as signing:
            looks_right(signing.follow(), idp, tmp_path, NOT, "it is locked", "Unlock it")
            assert signing.command.wait(PATIENCE) == 6


def test_an_interruption_in_the_terminal_is_shown(
    machine: Machine, browser: Chromium, idp: ScriptedIdp, tmp_path: Path
) -> None:
    with Signing(machine, browser) as signing, ExitStack() as later:
        reached, over = threading.Event(), threading.Event()
        later.callback(over.set)

        def hold(_: Form) -> None:
            signing.command.send_signal(signal.SIGINT)
            reached.set()
            over.wait(PATIENCE)

        when_code_comes(idp, hold)
        tab = signing.follow()
        looks_right(tab, idp, tmp_path, NOT, "interrupted", "Run acp-stdio login to try again.")
        assert reached.is_set()
        assert signing.command.wait(PATIENCE) == 130


def test_the_answer_to_another_sign_in_is_turned_away_and_ours_still_counts(
    machine: Machine, browser: Chromium, idp: ScriptedIdp, tmp_path: Path
) -> None:
    idp.forge_redirect = "wrong_state"
    with Signing(machine, browser) as signing:
        looks_right(signing.follow(), idp, tmp_path, "not the answer to the sign-in that is open", "Use the tab")
        idp.forge_redirect = None
        signing.follow().reads("Signed in as alice@example.com.")


def test_a_second_tab_is_told_the_truth_and_disturbs_nothing(
    machine: Machine, browser: Chromium, idp: ScriptedIdp, tmp_path: Path
) -> None:
    with Signing(machine, browser) as signing, ExitStack() as later:
        reached, over = threading.Event(), threading.Event()
        later.callback(over.set)

        def hold(_: Form) -> None:
            reached.set()
            over.wait(PATIENCE)

        when_code_comes(idp, hold)
        first = signing.follow()
        assert reached.wait(PATIENCE)
        redirect = next(form["redirect_uri"] for path, form in idp.requests if path == "/authorize")
        for number, address in enumerate((signing.link, redirect)):
            second = browser.tab()
            second.go(address)
            folder = tmp_path / f"second-{number}"
            folder.mkdir()
            text = looks_right(second, idp, folder, ("answered in another tab", "nothing at this address")[number])
            assert "Signed in as" not in text
            assert NOT not in text
            second.close()
        over.set()
        looks_right(first, idp, tmp_path, "Signed in as alice@example.com.")
    assert sum("code_verifier" in form for _, form in idp.requests) == 1


def test_idle_connections_before_and_during_hold_nothing_up(machine: Machine, browser: Chromium) -> None:
    with Signing(machine, browser) as signing, ExitStack() as idle:
        parts = urlsplit(signing.link)
        for _ in range(8):  # more than a browser opens ahead
            idle.enter_context(socket.create_connection((parts.hostname, parts.port)))
        tab = signing.follow()
        idle.enter_context(socket.create_connection((parts.hostname, parts.port)))
        tab.reads("Signed in as alice@example.com.")
        signing.command.wait(PATIENCE)  # while they are open still
