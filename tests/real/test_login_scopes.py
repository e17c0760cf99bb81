"""What a provider made of the scopes that were asked for is said by `login` and `status`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit import leaks
from tests.kit.oidc_provider import oidc_provider
from tests.kit.scripted_idp import Form, ScriptedIdp
from tests.kit.signing_in import Machine, bare_upstream

pytestmark = pytest.mark.real


@pytest.fixture
def upstream() -> Iterator[str]:
    with bare_upstream() as url:
        yield url


class SelectiveIdp(ScriptedIdp):
    """Decides about scopes; whoever signed in has a refresh token and an ID token all the same."""

    def keeps(self, scopes: tuple[str, ...], form: Form) -> bool:
        return True

    def identifies(self, scopes: tuple[str, ...], form: Form) -> bool:
        return True


@pytest.fixture
def idp() -> Iterator[ScriptedIdp]:
    with SelectiveIdp() as idp:
        yield idp


@pytest.fixture
def machine(tmp_path: Path, idp: ScriptedIdp, upstream: str) -> Iterator[Machine]:
    machine = Machine(tmp_path, idp.issuer, upstream, upstream_lines='scopes = ["finance.read", "finance.write"]')
    yield machine
    leaks.remember(*idp.issued)


def test_more_and_less_than_asked_for_are_said_at_once_and_later(machine: Machine, idp: ScriptedIdp) -> None:
    idp.grants = lambda asked: (*(each for each in asked if each != "finance.write"), "payroll.admin")
    done = machine.run("login")
    assert "Granted, although not asked for: payroll.admin." in done.stdout, done.stderr
    assert "Asked for, and not granted: finance.write." in done.stdout
    shown = machine.run("status").stdout
    assert "payroll.admin (granted, although not asked for)" in shown
    assert "finance.write (asked for, and not granted)" in shown
    for command in ("login", "status"):
        facts = machine.json(command)
        assert facts["scopes_not_asked_for"] == ["payroll.admin"], command
        assert facts["scopes_not_granted"] == ["finance.write"], command
        assert facts["scopes"] == ["openid", "offline_access", "finance.read", "payroll.admin"], command
    assert machine.json("status", "--check")["upstreams"][0]["token"]["expires_at"], "its calls go on"


def test_an_answer_without_scope_is_what_was_asked_for(machine: Machine, idp: ScriptedIdp) -> None:
    idp.grants = lambda _asked: None
    done = machine.run("login")
    assert "Signed in as alice@example.com" in done.stdout, done.stderr
    assert "asked for" not in done.stdout.lower()
    facts = machine.json("status")
    assert facts["scopes"] == ["openid", "offline_access", "finance.read", "finance.write"]
    assert (facts["scopes_not_asked_for"], facts["scopes_not_granted"]) == ([], [])


def test_a_renewal_asks_for_no_scope_that_was_denied(machine: Machine, idp: ScriptedIdp) -> None:
    """RFC 6749 section 6. This provider refuses such a request, as oidc-provider does."""
    machine.upstream_lines += '\ntoken_request = "scope"\naudience = "default-audience"'
    machine.configure()
    idp.grants = lambda asked: tuple(each for each in asked if each != "finance.write")
    machine.run("login")
    before = len(idp.requests)
    shown = machine.run("status", "--check")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert [form["scope"] for path, form in idp.requests[before:] if path == "/token"] == ["finance.read"]


def test_a_server_that_was_denied_all_it_needs_is_said_and_the_sign_in_stands(
    machine: Machine, idp: ScriptedIdp
) -> None:
    machine.upstream_lines += '\ntoken_request = "scope"\naudience = "default-audience"'
    machine.configure()
    idp.grants = lambda asked: tuple(each for each in asked if not each.startswith("finance."))
    machine.run("login")
    before = len(idp.requests)
    shown = machine.json("status", "--check")
    token = shown["upstreams"][0]["token"]
    assert token["reason"] == "insufficient_scope"
    assert "did not grant finance.read finance.write" in token["message"]
    assert shown["signed_in"] is True
    assert idp.requests[before:] == [], "the refresh token is not spent on it"


def test_a_right_that_was_denied_is_asked_for_again_and_one_that_was_granted_is_not(
    machine: Machine, idp: ScriptedIdp
) -> None:
    idp.grants = lambda asked: tuple(each for each in asked if each != "finance.delete")
    machine.run("login")
    assert "not granted: finance.delete" in machine.run("login", "--add-scope", "finance.delete").stdout
    idp.grants = lambda asked: asked  # the administrator allows it
    assert machine.run("login", "--add-scope", "finance.delete").stdout.startswith("Signed in")
    assert machine.run("login", "--add-scope", "finance.delete").stdout.startswith("Already signed in")


def test_the_real_provider_leaves_out_what_it_does_not_know_and_that_is_said(tmp_path: Path, upstream: str) -> None:
    with oidc_provider(resources=[upstream]) as provider:
        machine = Machine(
            tmp_path, provider.issuer, upstream, upstream_lines='scopes = ["finance.read", "finance.audit"]'
        )
        machine.run("login")
        facts = machine.json("status", "--check")
        leaks.remember(*provider.issued())
        assert facts["upstreams"][0]["token"]["scope"] == "finance.read"
        assert facts["scopes_not_granted"] == ["finance.audit"]
        assert facts["scopes_not_asked_for"] == []
