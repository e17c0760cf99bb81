"""`preset = "entra"` works as it comes: no `resource`, no bare scopes, PKCE not advertised, `http://localhost`."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.kit import human, leaks
from tests.kit.scripted_entra import APP, TENANT, EntraIdp
from tests.kit.signing_in import PATIENCE, Machine, bare_upstream, printed_link

pytestmark = pytest.mark.real

SCOPE = f"api://{APP}/finance.read"


@pytest.fixture(params=[1, 2], ids=["v1-tokens", "v2-tokens"])
def entra(request: pytest.FixtureRequest) -> Iterator[EntraIdp]:
    with EntraIdp(token_version=request.param) as idp:
        yield idp
        leaks.remember(*idp.issued)


@pytest.fixture
def machine(tmp_path: Path, entra: EntraIdp) -> Iterator[Machine]:
    with bare_upstream() as upstream:
        yield Machine(
            tmp_path / "home",
            entra.issuer,
            upstream,
            client_id=entra.client_id,
            identity=f'preset = "entra"\nrequire_account = {{ tid = "{TENANT}" }}',
            upstream_lines=f'scopes = ["{SCOPE}"]',
        )


def test_entra_signs_in_and_issues_a_token_for_the_upstream(machine: Machine, entra: EntraIdp) -> None:
    done = machine.run("login", "--verbose")
    assert "Signed in as alice@example.com" in done.stdout, done.stderr
    assert "deviates from the specifications: `resource` (RFC 8707) is not sent" in done.stderr
    facts = machine.json("status", "--check")
    assert facts["tenant"] == TENANT
    assert facts["upstreams"][0]["token"]["aud"] in (APP, f"api://{APP}")
    assert all("resource" not in form for _, form in entra.requests)
    authorize = next(form for path, form in entra.requests if path == "/authorize")
    redirect = urlsplit(authorize["redirect_uri"])
    assert (redirect.scheme, redirect.hostname) == ("http", "localhost")
    assert redirect.path in ("", "/")
    assert authorize["code_challenge_method"] == "S256"
    assert "prompt" not in authorize  # Entra would ask an administrator
    assert {"openid", "offline_access", SCOPE} <= set(authorize["scope"].split())
    assert leaks.scan(entra.issued, machine.home, texts=[done.stdout, done.stderr]) == []


def test_force_lets_the_person_choose_another_account(machine: Machine, entra: EntraIdp) -> None:
    machine.run("login")
    machine.run("login", "--force", "--account", "bob@example.com")
    again = [form for path, form in entra.requests if path == "/authorize"][-1]
    assert (again["prompt"], again["login_hint"]) == ("select_account", "bob@example.com")


def test_entra_signs_in_with_a_device_code(machine: Machine) -> None:
    done = machine.run("login", "--device")
    assert "Signed in as alice@example.com" in done.stdout, done.stderr
    assert "ABCD-EFGH" in done.stderr
    assert not machine.seen.exists()


def test_another_tenant_is_refused(machine: Machine) -> None:
    machine.identity = machine.identity.replace(TENANT, "00000000-0000-0000-0000-000000000000")
    machine.configure()
    with machine.start("login", "--no-browser") as process:
        page = human.sign_in(printed_link(process), "alice")
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 7
    assert "This account may not be used here" in page.text


def test_logout_says_that_entra_cannot_be_told_and_is_no_failure(machine: Machine) -> None:
    machine.run("login")
    done = machine.run("logout")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "revocation: unsupported" in done.stdout


def test_a_bare_scope_is_refused_before_entra_takes_it_for_microsoft_graph(machine: Machine) -> None:
    machine.upstream_lines = 'scopes = ["finance.read"]'
    machine.configure()
    done = machine.run("login")
    assert done.returncode == 3
    assert "Graph" in done.stderr
    assert not machine.seen.exists()
