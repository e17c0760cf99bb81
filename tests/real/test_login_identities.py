"""Two identities in one configuration, at two real providers: commands go through both and say what is open."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from acp_stdio.errors import EXIT_NETWORK, EXIT_SIGN_IN_REQUIRED
from tests.kit import leaks
from tests.kit.oidc_provider import OidcProvider, oidc_provider
from tests.kit.scene import Scene
from tests.kit.sdk_upstream import SdkUpstream, sdk_upstream
from tests.kit.signing_in import revocations

pytestmark = pytest.mark.real


@pytest.fixture
def parts() -> Iterator[tuple[OidcProvider, SdkUpstream, OidcProvider, SdkUpstream]]:
    with contextlib.ExitStack() as stack:
        company = stack.enter_context(oidc_provider())
        finance = stack.enter_context(sdk_upstream(company.issuer))
        customers = stack.enter_context(oidc_provider())
        crm = stack.enter_context(sdk_upstream(customers.issuer))
        customers.add_resource(crm.url)
        yield company, finance, customers, crm
        for provider in (company, customers):
            if provider.process.poll() is None:
                leaks.remember(*provider.issued())


def test_login_goes_through_both_and_keeps_what_succeeded_and_logout_ends_both(
    parts: tuple[OidcProvider, SdkUpstream, OidcProvider, SdkUpstream], tmp_path: Path
) -> None:
    company, finance, customers, crm = parts
    scene = Scene(tmp_path, company, finance)
    machine = scene.machine
    config = tmp_path / "config" / "config.toml"
    two = config.read_text() + (
        f'\n[identities.customers]\nissuer = "{customers.issuer}"\nclient_id = "acp-stdio"\n'
        f'\n[upstreams.crm]\nurl = "{crm.url}"\nidentity = "customers"\n'
    )
    unreachable = "http://127.0.0.1:1"
    config.write_text(two.replace(customers.issuer, unreachable))
    partly = machine.run("login", "--json")
    assert partly.returncode == EXIT_NETWORK
    assert json.loads(partly.stdout)["open"] == ["crm"]
    assert machine.run("status", "finance").returncode == 0
    assert machine.run("status").returncode == EXIT_SIGN_IN_REQUIRED

    config.write_text(two)
    done = machine.json("login")
    assert [(each["identity"], each["already"]) for each in done["sign_ins"]] == [
        ("default", True),
        ("customers", False),
    ]
    assert (done["open"], done["upstreams"]["crm"]["accepted"]) == ([], True)
    status = machine.json("status", "--check")
    assert [each["issuer"] for each in status["sign_ins"]] == [company.issuer, customers.issuer]
    assert all(each["token"]["aud"] for one in status["sign_ins"] for each in one["upstreams"])

    out = machine.json("logout")
    assert [(each["identity"], each["revocation"]) for each in out["profiles"]] == [
        ("default", "revoked"),
        ("customers", "revoked"),
    ]
    assert revocations(company.log()) == revocations(customers.log()) == 1
    assert machine.run("status").returncode == EXIT_SIGN_IN_REQUIRED
