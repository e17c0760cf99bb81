"""`token_request = "exchange"`: the person's own token against one for the server, with the client as the actor."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from acp_stdio.audit.record import token_summary
from acp_stdio.errors import Failure
from acp_stdio.login.each import sign_in
from acp_stdio.login.flow import Choices
from acp_stdio.settings import managed
from acp_stdio.settings.load import load
from acp_stdio.tokens.context import open_context
from acp_stdio.tokens.refresh import obtain_token
from tests.kit import human, leaks
from tests.kit.scripted_exchange import GRANT, ExchangingIdp
from tests.kit.signing_in import Machine, bare_upstream


@pytest.fixture(autouse=True)
def no_managed_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(managed, "PLACE", tmp_path / "none")


@pytest.fixture
def idp() -> Iterator[ExchangingIdp]:
    with ExchangingIdp() as idp:
        yield idp
        leaks.remember(*idp.issued, idp.secret)


SignedIn = Callable[[str], Machine]


@pytest.fixture
def signed_in(tmp_path: Path, idp: ExchangingIdp) -> Iterator[SignedIn]:
    """Signs alice in with these lines for the upstream, and a client that has a secret."""
    with bare_upstream() as upstream:

        def begin(lines: str) -> Machine:
            place = tmp_path / "client.secret"
            place.touch(0o600)
            place.write_text(idp.secret)
            machine = Machine(
                tmp_path / "home",
                idp.issuer,
                upstream,
                identity=f'client_secret_ref = "file:{place}"',
                upstream_lines=f'token_request = "exchange"\n{lines}',
            )
            opened: list[str] = []

            def opens(url: str) -> bool:
                opened.append(url)
                human.sign_in(url, "alice")
                return True

            (outcome,) = sign_in(load(environ=machine.environment), Choices(opener=opens), lambda _: None)
            assert outcome.result().resources == {"finance": upstream}
            return machine

        yield begin


def token(machine: Machine) -> Any:
    settings = load(environ=machine.environment)
    return obtain_token(open_context(settings, may_prompt=False), settings.upstreams["finance"])


def exchanges(idp: ExchangingIdp) -> list[dict[str, str]]:
    return [form for path, form in idp.requests if path == "/token" and form.get("grant_type") == GRANT]


def test_the_server_gets_a_token_for_itself_and_the_trail_names_who_acts(
    idp: ExchangingIdp, signed_in: SignedIn
) -> None:
    machine = signed_in('scopes = ["finance.read"]')
    idp.targets.add(machine.upstream)
    found = token(machine)
    assert (found.claims["aud"], found.claims["sub"]) == (machine.upstream, "alice")
    assert token_summary(found.claims)["act"] == {"sub": "acp-stdio"}
    (asked,) = exchanges(idp)
    assert (asked["resource"], asked["scope"]) == (machine.upstream, "finance.read")
    assert "finance.read" not in idp.requests[0][1]["scope"], "the exchanged token's scopes are not the sign-in's"
    assert token(machine).claims["aud"] == machine.upstream


def test_a_written_audience_is_asked_for_by_its_name(idp: ExchangingIdp, signed_in: SignedIn) -> None:
    machine = signed_in('audience = "finance-api"')
    idp.targets.add("finance-api")
    assert token(machine).claims["aud"] == "finance-api"
    (asked,) = exchanges(idp)
    assert asked["audience"] == "finance-api"
    assert "resource" not in asked


@pytest.mark.parametrize("why", ["not enabled", "unknown target"])
def test_a_refused_exchange_is_said_with_the_setting_and_signs_nobody_out(
    why: str, idp: ExchangingIdp, signed_in: SignedIn
) -> None:
    machine = signed_in("")
    idp.acting = why != "not enabled"
    with pytest.raises(Failure, match="could not be exchanged for one of finance") as caught:
        token(machine)
    assert caught.value.reason == "configuration_invalid"
    assert "client_secret_ref" in caught.value.advice
    idp.acting = True
    idp.targets.add(machine.upstream)
    assert token(machine).claims["aud"] == machine.upstream


def test_an_exchanged_token_is_proven_as_any_other(idp: ExchangingIdp, signed_in: SignedIn) -> None:
    machine = signed_in("")
    idp.targets.add(machine.upstream)
    idp.forge_access_token = "other_account"
    with pytest.raises(Failure) as caught:
        token(machine)
    assert caught.value.reason in ("denied", "wrong_audience")
