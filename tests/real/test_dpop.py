"""Tokens that are bound to a key (RFC 9449): a certified provider, `acp-stdio`, and a server that checks with jose."""

import contextlib
import json
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from acp_stdio.identity.model import Grant
from acp_stdio.identity.proof import ProofKey
from acp_stdio.login.possession import proof_key
from acp_stdio.oauth import endpoint, metadata, presets
from acp_stdio.oauth.endpoint import TokenError
from acp_stdio.oauth.http import open_client, send
from acp_stdio.oauth.possession import Prover
from acp_stdio.secrets import Secret
from acp_stdio.settings.load import load
from acp_stdio.settings.model import IdentitySettings, NetworkSettings
from acp_stdio.tokens.context import Context, open_context
from tests.kit import human, leaks
from tests.kit.bound_server import BoundServer, bound_server
from tests.kit.host import RawHost, reason_of, text_of
from tests.kit.oidc_provider import CLIENT_ID, OidcProvider, oidc_provider
from tests.kit.sdk_upstream import sdk_upstream
from tests.kit.signing_in import PATIENCE, Machine
from tests.real.test_backend_example import example_server

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def provider() -> Iterator[OidcProvider]:
    with oidc_provider(dpop_nonce=True) as running:
        yield running


@pytest.fixture(scope="module")
def server(provider: OidcProvider) -> Iterator[BoundServer]:
    with bound_server(provider.issuer, nonce=3) as running:
        provider.add_resource(running.url)
        yield running


def machine_for(home: Path, provider: OidcProvider, server: BoundServer, identity: str = 'dpop = "require"') -> Machine:
    return Machine(home, provider.issuer, server.url, identity=identity)


def context_of(machine: Machine) -> Context:
    """The person's sign-in, as a process of theirs has it."""
    return open_context(load(environ=machine.environment), may_prompt=False)


@contextlib.contextmanager
def signed_in(machine: Machine, provider: OidcProvider) -> Generator[Grant]:
    """Signs in; afterwards neither the tokens nor the key are anywhere in the person's files."""
    done = machine.run("login")
    leaks.remember(*provider.issued())
    assert done.returncode == 0, done.stderr
    grant = context_of(machine).vault.load()
    assert grant is not None
    assert grant.proof_key is not None
    private = json.loads(grant.proof_key.reveal())["d"]
    leaks.remember(private)
    yield grant
    leaks.remember(*provider.issued())
    assert leaks.scan([private, *provider.issued()], machine.home) == []


@pytest.fixture
def machine(tmp_path: Path, provider: OidcProvider, server: BoundServer) -> Machine:
    return machine_for(tmp_path, provider, server)


@contextlib.contextmanager
def host(machine: Machine) -> Generator[RawHost]:
    with RawHost(machine.environment, machine.home) as raw:
        raw.shake_hands()
        yield raw


def records(machine: Machine, event: str) -> list[dict[str, Any]]:
    lines = [line for path in (machine.state / "audit").glob("*.jsonl") for line in path.read_text().splitlines()]
    return [record for record in map(json.loads, lines) if record["event"] == event]


def test_each_request_proves_the_key_and_a_stale_nonce_costs_one_more(
    machine: Machine, provider: OidcProvider, server: BoundServer
) -> None:
    before = len(server.seen())
    with signed_in(machine, provider) as grant:
        assert grant.proof_key is not None
        thumbprint = ProofKey(grant.proof_key).thumbprint
        with host(machine) as raw:
            for _ in range(8):
                assert text_of(raw.call("whoami")) == "alice"
            server.wait_for(lambda: server.seen(method="GET", sub="alice"), "the session's stream is open")
        server.wait_for(lambda: server.seen(method="DELETE", sub="alice"), "the session was ended")
        outcomes = records(machine, "call.outcome")
    mine = server.seen()[before:]
    refusals = [line for line in mine if "refused" in line]
    assert {line["refused"] for line in refusals} <= {"no token", "use_dpop_nonce"}
    assert sum(line["refused"] == "use_dpop_nonce" for line in refusals) >= 3
    assert {line["authorization"] for line in mine} == {"", "DPoP"}
    assert len([line for line in mine if line.get("rpc") == "tools/call"]) == 8, "none was carried out twice"
    assert [record["outcome"] for record in outcomes if record["tool"] == "whoami"] == ["ok"] * 8
    assert {record["token"]["cnf"]["jkt"] for record in outcomes if record["tool"]} == {thumbprint}


def test_the_provider_gets_its_nonce_and_each_renewal_rotates(machine: Machine, provider: OidcProvider) -> None:
    before = len(provider.log())
    with signed_in(machine, provider) as grant:
        for _ in range(2):
            checked = machine.json("status", "--check")
            assert checked["upstreams"][0]["token"]["aud"] == machine.upstream
        renewed = context_of(machine).vault.load()
        assert renewed is not None
        assert renewed.rotation >= grant.rotation + 2
        assert renewed.proof_key == grant.proof_key
    asked = [entry["status"] for entry in provider.log()[before:] if entry["path"] == "/token"]
    assert asked == [400, 200] * (len(asked) // 2), "each process is refused once for want of a nonce"
    (page,) = machine.seen.read_text().splitlines()
    assert page, "the browser was opened once, and never for a renewal"


def test_status_and_doctor_say_so(machine: Machine, provider: OidcProvider) -> None:
    with signed_in(machine, provider) as grant:
        assert grant.proof_key is not None
        thumbprint = ProofKey(grant.proof_key).thumbprint
        told = machine.json("status")
        assert (told["token_type"], told["jkt"]) == ("DPoP", thumbprint)
        assert f"bound to this sign-in's key ({thumbprint})" in machine.run("status", "--verbose").stdout
        assert "tokens that are bound to its key" in machine.run("doctor").stdout


def test_a_stolen_refresh_token_is_of_no_use_without_the_key(machine: Machine, provider: OidcProvider) -> None:
    def steal(grant: Grant, prover: Prover | None) -> str:
        with open_client(NetworkSettings()) as http:
            found = metadata.discover(provider.issuer, presets.GENERIC, http)
            with pytest.raises(TokenError) as caught:
                endpoint.refresh(
                    found,
                    http,
                    client_id=CLIENT_ID,
                    refresh_token=grant.refresh_token,
                    params={"resource": machine.upstream},
                    prover=prover,
                )
        return caught.value.kind

    with signed_in(machine, provider):
        grant = context_of(machine).vault.load()
        assert grant is not None
        assert steal(grant, None) == "invalid_grant"
        assert steal(grant, Prover(another_key())) == "invalid_grant"
        assert machine.run("status", "--check").returncode == 0, "who has the key goes on"


def another_key() -> Secret:
    server = metadata.AuthorizationServer("https://x.example", "https://x.example/a", "https://x.example/t")
    key = proof_key(IdentitySettings("", "", dpop="require"), server)
    assert key is not None
    return key


def test_a_stolen_access_token_is_of_no_use_without_the_key(
    machine: Machine, provider: OidcProvider, server: BoundServer
) -> None:
    with signed_in(machine, provider):
        with host(machine) as raw:
            text_of(raw.call("whoami"))
        token = [each for each in provider.issued() if each.count(".") == 2][-1]
        frame = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "whoami"}}
        forged = Prover(another_key()).headers("POST", server.url)
        with open_client(NetworkSettings()) as http:
            for headers in (
                {"Authorization": f"Bearer {token}"},
                {"Authorization": f"DPoP {token}"},
                {"Authorization": f"DPoP {token}", **forged},
            ):
                assert send(http, "POST", server.url, document=frame, headers=headers).status == 401


def test_it_is_not_printed_since_it_would_be_of_no_use(machine: Machine, provider: OidcProvider) -> None:
    with signed_in(machine, provider):
        config = machine.home / "config" / "config.toml"
        config.write_text(config.read_text().replace("version = 1", "version = 1\nallow_token_export = true"))
        done = machine.run("token", "finance")
        assert (done.returncode, done.stdout) == (7, "")
        assert "bound to a key" in done.stderr


def test_a_logout_forgets_the_key_and_a_change_of_the_configuration_asks_for_another_sign_in(
    machine: Machine, provider: OidcProvider
) -> None:
    with signed_in(machine, provider) as first:
        machine.identity = 'dpop = "off"'
        machine.configure()
        refused = machine.run("status", "--check")
        assert refused.returncode == 4
        assert 'the configuration now says dpop = "off"' in refused.stderr + refused.stdout
        assert machine.json("login")["already"] is False
        bearer = context_of(machine).vault.load()
        assert bearer is not None
        assert bearer.proof_key is None
        machine.identity = 'dpop = "auto"'
        machine.configure()
        assert machine.json("login")["already"] is True, "auto takes what is there"
        machine.identity = 'dpop = "require"'
        machine.configure()
        assert machine.json("login")["already"] is False
        bound = context_of(machine).vault.load()
        assert bound is not None
        assert bound.proof_key not in (None, first.proof_key), "each sign-in has a key of its own"
        assert machine.run("logout").returncode == 0
        assert context_of(machine).vault.load() is None


def test_check_backend_proves_the_key_and_tries_without(machine: Machine, provider: OidcProvider) -> None:
    with signed_in(machine, provider):
        findings = {each["name"]: each["said"] for each in machine.json("check-backend", "finance")["findings"]}
    assert findings["your own token"] == "let in: answered"
    assert findings["says how to sign in"] == "401 with a DPoP challenge"
    assert findings["your own token, without a proof of its key"] == "refused with 401"
    assert findings["forged: signed with another key"] == "refused with 401"


def test_over_http_and_sse_the_stream_and_each_message_have_a_proof(tmp_path: Path, provider: OidcProvider) -> None:
    with bound_server(provider.issuer, nonce=2, sse=True) as server:
        provider.add_resource(server.url)
        machine = machine_for(tmp_path, provider, server)
        with signed_in(machine, provider), host(machine) as raw:
            for _ in range(4):
                assert text_of(raw.call("whoami")) == "alice"
        assert {(line["method"], line["path"]) for line in server.seen(sub="alice")} >= {
            ("GET", "/sse"),
            ("POST", "/messages"),
        }
        assert server.seen(refused="use_dpop_nonce", path="/messages")


def test_a_sign_in_without_a_refresh_token_has_its_key_in_that_one_process(
    tmp_path: Path, provider: OidcProvider, server: BoundServer
) -> None:
    machine = machine_for(tmp_path, provider, server, 'dpop = "auto"\nscopes = ["openid", "email"]')
    with host(machine) as raw:
        assert "in this process only" in text_of(raw.call("acp_login"))
        leaks.remember(*provider.issued())
        assert text_of(raw.call("whoami")) == "alice"
    assert context_of(machine).vault.load() is None
    assert leaks.scan(provider.issued(), machine.home) == []


def test_the_device_flow_brings_bound_tokens_as_well(machine: Machine, provider: OidcProvider) -> None:
    with machine.start("login", "--device") as process:
        assert process.stderr is not None
        told = ""
        while "whoever started it" not in told:
            line = process.stderr.readline()
            assert line, told
            told += line
        code, address = re.search(r"^\s+([A-Z]{4}-[A-Z]{4})$", told, re.MULTILINE), re.search(r"https?://\S+", told)
        assert code is not None
        assert address is not None
        human.sign_in(address[0], "alice", user_code=code[1])
        _, err = process.communicate(timeout=PATIENCE)
    leaks.remember(*provider.issued())
    assert process.returncode == 0, err
    grant = context_of(machine).vault.load()
    assert grant is not None
    assert grant.proof_key is not None
    assert machine.json("status")["token_type"] == "DPoP"
    with host(machine) as raw:
        assert text_of(raw.call("whoami")) == "alice"


def test_the_kit_for_servers_takes_a_bound_token_with_its_proof_and_not_without(
    tmp_path: Path, provider: OidcProvider
) -> None:
    with example_server(provider.issuer) as (url, process):
        provider.add_resource(url)
        machine = Machine(tmp_path, provider.issuer, url, identity='dpop = "require"')
        with signed_in(machine, provider):
            with host(machine) as raw:
                assert "alice may not read salaries" in text_of(raw.call("salary", person="ceo"))
            assert process.stdout is not None
            line = next(each for each in process.stdout if " tool=salary " in each)
            assert line.startswith("user=alice sub=alice agent=claude-ai/0.1.0 tool=salary request=")
            findings = {each["name"]: each["said"] for each in machine.json("check-backend", "finance")["findings"]}
    assert findings["your own token"] == "let in: answered"
    assert findings["your own token, without a proof of its key"] == "refused with 401"


def test_a_server_that_reads_only_bearer_tokens_refuses_bound_ones(tmp_path: Path, provider: OidcProvider) -> None:
    """Why `dpop` is off unless somebody chooses it."""
    with sdk_upstream(provider.issuer) as upstream:
        provider.add_resource(upstream.url)
        machine = Machine(tmp_path, provider.issuer, upstream.url, identity='dpop = "auto"')
        machine.run("login")
        leaks.remember(*provider.issued())
        with host(machine) as raw:
            assert reason_of(raw.call("echo", text="x")) == "login_required"
        assert not upstream.lines("tool=echo")
