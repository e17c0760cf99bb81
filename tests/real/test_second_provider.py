"""The same promises at a provider that shares no line with the first: django-oauth-toolkit."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit import leaks
from tests.kit.fault_upstream import FaultUpstream, fault_upstream
from tests.kit.host import RawHost, reason_of
from tests.kit.second_idp import SecondIdp, second_idp
from tests.kit.signing_in import Machine

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecondIdp]:
    with second_idp(tmp_path_factory.mktemp("second")) as provider:
        yield provider


@pytest.fixture
def upstream() -> Iterator[FaultUpstream]:
    with fault_upstream() as upstream:
        yield upstream


@pytest.fixture
def machine(tmp_path: Path, provider: SecondIdp, upstream: FaultUpstream) -> Machine:
    return Machine(
        tmp_path,
        provider.issuer,
        upstream.url,
        client_id=provider.client_id,
        identity='scopes = ["openid", "email", "offline_access"]',
        upstream_lines='token_format = "opaque"',
    )


def bearer(upstream: FaultUpstream) -> str:
    """The token of the last call that reached the server."""
    sent = next(each.headers["authorization"] for each in reversed(upstream.requests) if each.name == "tools/call")
    leaks.remember(sent.removeprefix("Bearer "))
    return sent.removeprefix("Bearer ")


def test_a_person_signs_in_calls_renews_and_signs_out(
    machine: Machine, provider: SecondIdp, upstream: FaultUpstream
) -> None:
    done = machine.run("login")
    assert done.returncode == 0, done.stderr
    assert "alice@example.com" in done.stdout
    before = len(provider.asked("token"))
    for _ in range(2):  # a process each, so a renewal each: the refresh token has rotated in between
        with RawHost(machine.environment, machine.home) as host:
            host.shake_hands()
            assert reason_of(host.call("echo", text="hello")) == ""
        known = provider.about(bearer(upstream))
        assert (known["active"], known["username"], known["aud"]) == (True, "alice", [upstream.url])
    assert provider.asked("token")[before:] == [200, 200]
    last = bearer(upstream)
    with RawHost(machine.environment, machine.home) as host:
        host.shake_hands()
        out = machine.json("logout")
        assert out["profiles"][0]["revocation"] == "revoked"
        assert reason_of(host.call("echo", text="too late")) == "login_required"
    assert set(provider.asked("revoke_token")) == {200}
    assert provider.about(last)["active"] is False


def test_another_copy_of_a_spent_refresh_token_ends_the_family_and_is_said(
    machine: Machine, provider: SecondIdp
) -> None:
    assert machine.run("login").returncode == 0
    vault = machine.state / "vault"
    spent = {path.name: path.read_bytes() for path in vault.glob("*.sealed")}
    assert machine.run("status", "--check").returncode == 0
    for name, content in spent.items():  # as a restored backup
        (vault / name).write_bytes(content)
    refused = machine.run("status", "--check")
    assert refused.returncode == 4
    assert "Your identity provider ended your sign-in" in refused.stdout + refused.stderr
