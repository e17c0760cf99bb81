"""The second sign-in at an Okta org asks the person nothing where the browser is signed in there already."""

import functools
from dataclasses import dataclass, field
from typing import Any

import pytest

from acp_stdio.errors import Failure
from acp_stdio.login.each import Outcome, sign_in
from acp_stdio.login.flow import Choices
from tests.kit import human, leaks
from tests.kit.person import Person, Start
from tests.kit.scripted_presets import OktaOrg

LINES = """audience = "api://finance"
scopes = ["finance.read"]

[upstreams.crm]
url = "UPSTREAM"
audience = "api://crm"
scopes = ["finance.read"]
identity = "crm"

[identities.crm]
preset = "okta"
issuer = "ORIGIN/oauth2/crm"
client_id = "acp-stdio"
"""


@dataclass
class Browser:
    """Follows each page to its end; what is opened and what is shown is remembered."""

    org: OktaOrg
    opened: list[str] = field(default_factory=list[str])
    shown: list[str] = field(default_factory=list[str])

    def __call__(self, url: str) -> bool:
        self.opened.append(url)
        self.shown.append(human.sign_in(url, "alice").text)
        leaks.remember(*self.org.issued)
        return True


def signs_in(person: Person, browser: Browser, **choices: Any) -> list[Outcome]:
    outcomes = list(sign_in(person.settings, Choices(opener=browser, **choices), lambda _: None))
    for outcome in outcomes:
        outcome.result()
    return outcomes


def prompts(person: Person) -> list[str | None]:
    return [form.get("prompt") for form in person.asked("/authorize")]


@pytest.fixture
def org() -> Any:
    with OktaOrg() as running:
        yield running


@pytest.fixture
def person(start: Start, org: OktaOrg) -> Person:
    return start(org, "okta", lines=LINES.replace("ORIGIN", org.origin))


def test_the_second_sign_in_at_an_org_asks_nothing_where_the_browser_is_signed_in(person: Person, org: OktaOrg) -> None:
    browser = Browser(org)
    outcomes = signs_in(person, browser)
    assert prompts(person) == [None, "none"]
    assert person.asked("/authorize")[1]["login_hint"] == "alice@example.com"
    assert len(browser.opened) == 2
    assert all("Signed in as alice@example.com." in page for page in browser.shown)
    issuers = [outcome.result().issuer for outcome in outcomes]
    assert issuers == [f"{org.origin}/oauth2/default", f"{org.origin}/oauth2/crm"]
    assert person.token().claims["aud"] == "api://finance"


@pytest.mark.parametrize("error", ["login_required", "interaction_required", "consent_required"])
def test_where_it_is_not_the_same_tab_goes_on_to_the_page(
    person: Person, org: OktaOrg, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = Browser(org)
    if error == "login_required":
        monkeypatch.setattr(org, "next_refresh_token", functools.partial(_ends_the_browsers_session, org))
    else:
        org.refuses_silence = error
    signs_in(person, browser)
    assert prompts(person) == [None, "none", None]
    assert len(browser.opened) == 2, "no third tab"
    assert all("Signed in as alice@example.com." in page for page in browser.shown)
    _, silent, visible = person.asked("/authorize")
    for name in ("state", "nonce", "code_challenge"):
        assert silent[name] != visible[name], "each request has its own"
    assert silent["redirect_uri"] == visible["redirect_uri"]


def _ends_the_browsers_session(org: OktaOrg, spent: str | None) -> str:
    """As an administrator, or two hours without a request, do."""
    org.session = False
    return OktaOrg.next_refresh_token(org, spent)


def test_a_refusal_is_no_reason_to_show_a_page(person: Person, org: OktaOrg) -> None:
    browser = Browser(org)
    org.refuses_silence = "access_denied"
    with pytest.raises(Failure) as caught:
        signs_in(person, browser)
    assert caught.value.reason == "denied"
    assert prompts(person) == [None, "none"]


def test_who_wants_to_choose_again_is_shown_the_page(person: Person, org: OktaOrg) -> None:
    signs_in(person, Browser(org))
    signs_in(person, Browser(org), force=True)
    assert prompts(person)[2:] == ["login", "login"]
