"""`preset = "github"`: no OpenID Connect, no audience, and a renewal that ends what was issued before."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from acp_stdio.errors import Failure
from acp_stdio.identity.model import Account
from acp_stdio.login.each import sign_in
from acp_stdio.login.flow import Choices
from acp_stdio.settings import managed
from acp_stdio.settings.load import load
from acp_stdio.settings.model import Settings
from acp_stdio.tokens.context import open_context
from acp_stdio.tokens.logout import sign_out
from acp_stdio.tokens.refresh import obtain_token
from acp_stdio.tokens.session_file import SessionFile
from tests.kit import human, leaks
from tests.kit.scripted_github import GithubIdp
from tests.kit.signing_in import Machine, bare_upstream


@pytest.fixture(autouse=True)
def no_managed_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(managed, "PLACE", tmp_path / "none")


@pytest.fixture
def github() -> Iterator[GithubIdp]:
    with GithubIdp() as idp:
        yield idp
        leaks.remember(*idp.issued, idp.secret)


Configured = Callable[..., Settings]


@pytest.fixture
def settings(tmp_path: Path, github: GithubIdp) -> Iterator[Configured]:
    with bare_upstream() as upstream:

        def configured(*, lines: str = "", secret: str = "", identity: str = "") -> Settings:
            place = tmp_path / "client.secret"
            place.touch(0o600)
            place.write_text(secret or github.secret)
            machine = Machine(
                tmp_path / "home",
                github.issuer,
                upstream,
                client_id=github.client_id,
                identity=f'preset = "github"\nclient_secret_ref = "file:{place}"\n{identity}',
                upstream_lines=lines,
            )
            return load(environ=machine.environment)

        yield configured


def signs_in(settings: Settings, **choices: Any) -> Account:
    def opens(url: str) -> bool:
        human.sign_in(url, "alice")
        return True

    (outcome,) = sign_in(settings, Choices(opener=opens, **choices), lambda _: None)
    account = outcome.result().account
    assert account is not None
    return account


def token(settings: Settings) -> Any:
    return obtain_token(open_context(settings, may_prompt=False), settings.upstreams["finance"])


@pytest.mark.parametrize("flow", ["browser", "device"])
def test_who_it_is_comes_from_github_itself_and_a_token_is_asked_about_before_it_goes_out(
    flow: Any, github: GithubIdp, settings: Configured
) -> None:
    mine = settings()
    account = signs_in(mine, flow=flow)
    assert (account.key, account.label, account.issuer) == ("1001", "alice", github.issuer)
    found = token(mine)
    session = SessionFile(mine.state_dir).read()
    assert session is not None
    assert session.refresh_expires_at - session.confirmed_at == 15897600, "six months from the last renewal"
    assert found.claims == {"format": "opaque"}
    assert github.living == {found.value.reveal(): "alice"}, "the ones before ended with the renewal"
    assert [path for path, _ in github.requests].count("/user") == 2
    assert not any(form.get("scope") or "resource" in form for _, form in github.requests)
    report = sign_out(open_context(mine, may_prompt=False))
    assert (report.revocation, report.deleted) == ("unsupported", True)


def test_a_renewed_token_of_somebody_else_is_not_sent(github: GithubIdp, settings: Configured) -> None:
    mine = settings()
    signs_in(mine)
    github.ids["alice"] = 4711  # the name was given up, and somebody else took it
    with pytest.raises(Failure) as caught:
        token(mine)
    assert caught.value.reason in ("denied", "wrong_audience")


def test_a_refresh_token_that_is_spent_or_expired_ends_the_sign_in(github: GithubIdp, settings: Configured) -> None:
    mine = settings()
    signs_in(mine)
    github.disabled.add("alice")
    with pytest.raises(Failure, match="ended your sign-in"):
        token(mine)


def test_a_wrong_secret_is_said_with_the_setting(settings: Configured) -> None:
    with pytest.raises(Failure, match="does not accept this client and its secret") as caught:
        signs_in(settings(secret="another"))
    assert "client_secret_ref" in caught.value.advice


def test_another_account_is_refused(settings: Configured) -> None:
    with pytest.raises(Failure) as caught:
        signs_in(settings(identity='require_account = { preferred_username = "bob" }'))
    assert caught.value.reason == "denied"


def test_one_token_is_not_for_two_origins(settings: Configured) -> None:
    other = '[upstreams.other]\nurl = "https://mcp.example.com/mcp"'
    with pytest.raises(Failure, match="finance, other are on several origins"):
        settings(lines=other)
