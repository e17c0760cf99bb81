"""`acp-stdio doctor` as a person runs it: a certified provider, a real MCP server, real processes."""

import asyncio
import json
import os
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from acp_stdio import __version__
from acp_stdio.runtime.live import LiveFile
from tests.kit import leaks
from tests.kit.oidc_provider import OidcProvider, oidc_provider
from tests.kit.secret_service import secret_service
from tests.kit.signing_in import Machine, bare_upstream, mcp_server
from tests.unit.upstream.conftest import Authority
from tests.unit.upstream.conftest import authority as authority
from tests.unit.upstream.loopback import Peer, serving

pytestmark = pytest.mark.real

NAMES = [
    "installation",
    "configuration",
    "directories",
    "lock",
    "provider/network",
    "provider/discovery",
    "provider/clock",
    "upstream/finance/network",
    "upstream/finance/access",
    "upstream/finance/metadata",
    "keyring",
    "session",
    "grant",
    "trail",
    "processes",
    "hosts",
    "host_environment",
]


@pytest.fixture(scope="module")
def provider() -> Generator[OidcProvider]:
    with oidc_provider() as running:
        yield running


@pytest.fixture(scope="module")
def finance(provider: OidcProvider) -> Generator[str]:
    with mcp_server(provider.issuer, provider.add_resource) as url:
        yield url


@pytest.fixture
def machine(provider: OidcProvider, finance: str, tmp_path: Path) -> Machine:
    return Machine(tmp_path, provider.issuer, finance, upstream_lines='scopes = ["finance.read"]')


def examined(machine: Machine) -> dict[str, Any]:
    """The checks by name, and the step under `next`."""
    data = machine.json("doctor")
    return {**{check["name"]: check for check in data["checks"]}, "next": data["next"]}


def states(found: dict[str, Any]) -> dict[str, str]:
    return {name: each["state"] for name, each in found.items() if name != "next"}


def test_a_machine_that_is_ready_has_nothing_to_do(machine: Machine, provider: OidcProvider) -> None:
    assert machine.run("login").returncode in (0, 5)
    ran = machine.run("doctor")
    assert "\nnext: Nothing to do.\n" in ran.stdout
    assert ran.returncode == 0, ran.stdout
    assert "signed in as alice@example.com" in ran.stdout
    assert ran.stderr == "", "progress is for terminals"
    assert not leaks.scan(provider.issued(), texts=[ran.stdout, machine.run("doctor", "--json").stdout])


def test_the_result_for_programs_has_stable_fields(machine: Machine) -> None:
    ran = machine.run("doctor", "--json")
    data = json.loads(ran.stdout)
    assert list(data) == ["version", "checks", "next"]
    assert data["version"] == __version__
    assert [check["name"] for check in data["checks"]] == NAMES
    assert all(list(check) == ["name", "state", "message", "next", "details"] for check in data["checks"])
    assert {check["state"] for check in data["checks"]} <= {"ok", "warning", "problem", "skipped"}
    assert all(check["next"] for check in data["checks"] if check["state"] in ("warning", "problem"))


def test_before_the_first_sign_in_that_is_the_step(machine: Machine) -> None:
    ran = machine.run("doctor")
    assert ran.returncode == 4
    assert "next: Run `acp-stdio login`" in ran.stdout
    found = examined(machine)
    assert {name for name, state in states(found).items() if state == "problem"} == {"session"}
    assert found["grant"]["message"] == "not checked: session has a problem"


def test_a_file_store_is_named_by_status_and_doctor_every_time(machine: Machine) -> None:
    def named() -> bool:
        status, doctor = machine.run("status").stdout, machine.run("doctor").stdout
        in_status = "the encrypted file store that the configuration names" in status
        return in_status and "chosen in the configuration in place of the OS keyring" in doctor

    assert named(), "before anything is in it"
    machine.run("login")
    assert named()
    assert machine.json("status")["storage"] == examined(machine)["keyring"]["details"]["backend"] == "file"
    machine.run("logout")
    assert named(), "after all of it is gone"


def test_a_sign_in_whose_record_is_gone_is_noticed(machine: Machine) -> None:
    machine.run("login")
    for record in (machine.state / "vault").iterdir():
        record.unlink()
    found = examined(machine)
    assert found["session"]["state"] == "ok"
    assert found["grant"]["state"] == "problem"
    assert found["next"] == "Run `acp-stdio login --force`."


def test_a_provider_that_is_down_leaves_the_rest_to_be_checked(finance: str, tmp_path: Path) -> None:
    with oidc_provider() as gone:
        issuer = gone.issuer
    machine = Machine(tmp_path, issuer, finance)
    ran = machine.run("doctor")
    assert ran.returncode == 5
    found = examined(machine)
    assert "connection refused" in found["provider/network"]["message"]
    assert states(found)["provider/discovery"] == states(found)["provider/clock"] == "skipped"
    assert found["upstream/finance/access"]["state"] == "ok"
    assert found["upstream/finance/metadata"]["state"] == "problem", "it takes tokens of another issuer"


def test_an_address_with_nothing_behind_it_is_told(provider: OidcProvider, tmp_path: Path) -> None:
    with bare_upstream() as url:
        found = examined(Machine(tmp_path, provider.issuer, url))
    assert "does not seem to be an MCP server" in found["upstream/finance/access"]["message"]
    assert found["upstream/finance/metadata"]["state"] == "warning"


def test_a_server_that_lets_everybody_in_is_told_and_left_tidy(provider: OidcProvider, tmp_path: Path) -> None:
    methods: list[tuple[str, str | None]] = []

    class Open(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["Authorization"] is None
            self.rfile.read(int(self.headers["Content-Length"]))
            methods.append(("POST", None))
            self.answer(b'{"jsonrpc":"2.0","id":1,"result":{}}', 200)

        def do_DELETE(self) -> None:
            methods.append(("DELETE", self.headers["Mcp-Session-Id"]))
            self.answer(b"", 200)

        def do_GET(self) -> None:
            self.answer(b"", 404)

        def answer(self, body: bytes, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Mcp-Session-Id", "left-open")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Open) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        machine = Machine(tmp_path, provider.issuer, f"http://127.0.0.1:{server.server_port}/mcp?key=hidden")
        ran = machine.run("doctor", "--json")
        server.shutdown()
        thread.join()
    access = next(check for check in json.loads(ran.stdout)["checks"] if check["name"].endswith("/access"))
    assert access["state"] == "warning"
    assert "does not check who is asking" in access["message"]
    assert methods == [("POST", None), ("DELETE", "left-open")]
    assert "hidden" not in ran.stdout, "a query may hold a key"


def test_a_configuration_with_problems_shows_all_of_them_and_checks_what_it_can(machine: Machine) -> None:
    config = machine.home / "config" / "config.toml"
    config.write_text(config.read_text() + "\n[network]\nproxi = 1\n[audit]\nretentio = 2\n")
    ran = machine.run("doctor")
    assert ran.returncode == 3
    assert "proxi" in ran.stdout
    assert "retentio" in ran.stdout
    found = examined(machine)
    assert states(found)["installation"] == "ok"
    assert found["keyring"]["message"] == "not checked: configuration has a problem"
    assert states(found)["lock"] == states(found)["hosts"] == "ok"


def test_an_upstream_that_is_not_configured_is_a_problem_of_the_configuration(machine: Machine) -> None:
    assert machine.run("doctor", "finanze").returncode == 3
    assert machine.run("doctor", "finance").returncode == 4


@pytest.mark.anyio
async def test_certificates_that_only_the_shell_knows_are_missed_where_a_host_starts_us(
    provider: OidcProvider, authority: Authority, tmp_path: Path
) -> None:
    async def challenge(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(b"HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer\r\nContent-Length: 0\r\n\r\n")

    async with serving(challenge, authority.good) as server:
        shell = {"SSL_CERT_FILE": str(authority.bundle)}
        machine = Machine(tmp_path, provider.issuer, f"{server.origin}/mcp", extra_environment=shell)
        found = await asyncio.to_thread(examined, machine)
        assert found["upstream/finance/access"]["state"] == "ok"
        assert found["host_environment"]["state"] == "problem"
        assert "upstream/finance/network fails" in found["host_environment"]["message"]
        assert f'ca_bundle = "{authority.bundle}"' in found["host_environment"]["next"]
        machine.extra_environment.clear()
        config = tmp_path / "config" / "config.toml"
        config.write_text(f'{config.read_text()}\n[network]\nca_bundle = "{authority.bundle}"\n')
        found = await asyncio.to_thread(examined, machine)
        assert found["host_environment"]["state"] == "ok"


def test_a_home_that_only_the_shell_knows_is_missed_where_a_host_starts_us(machine: Machine) -> None:
    host = machine.home / ".config" / "Claude" / "claude_desktop_config.json"
    host.parent.mkdir(parents=True)

    def entry(env: dict[str, str]) -> dict[str, Any]:
        value = {"command": str(machine.home / "acp-stdio"), "args": ["run", "finance"], "env": env}
        host.write_text(json.dumps({"mcpServers": {"finance": value}}))
        return examined(machine)["host_environment"]

    (machine.home / "acp-stdio").touch(0o755)
    missed = entry({})
    assert missed["state"] == "problem"
    assert missed["next"] == (
        "ACP_STDIO_HOME is set in this shell only: run `acp-stdio install` again, which tells the host."
    )
    assert entry({"ACP_STDIO_HOME": str(machine.home)})["state"] == "ok"


def test_a_keyring_that_a_host_does_not_find_is_put_down_to_the_bus(machine: Machine) -> None:
    with secret_service() as service:
        config = machine.home / "config" / "config.toml"
        config.write_text(config.read_text().partition("[storage]")[0])
        machine.extra_environment.update(DBUS_SESSION_BUS_ADDRESS=service.environ["DBUS_SESSION_BUS_ADDRESS"])
        found = examined(machine)
        assert found["keyring"]["state"] == "ok", found["keyring"]
        assert found["keyring"]["details"] == {"backend": "secret-service"}
        assert found["host_environment"]["state"] == "problem"
        assert found["host_environment"]["next"].startswith("DBUS_SESSION_BUS_ADDRESS is set in this shell only")
        assert service.secrets() == {}


def test_a_running_process_is_told_with_its_host(machine: Machine) -> None:
    live = LiveFile(machine.state, "finance")
    live.begin()
    live.name_client("claude-ai")
    try:
        assert examined(machine)["processes"]["message"] == f"1 running: claude-ai (process {os.getpid()})"
    finally:
        live.end()
    assert examined(machine)["processes"]["message"] == "none runs now"


def test_looking_changes_nothing(machine: Machine) -> None:
    machine.run("login")
    before = machine.files()
    machine.run("doctor")
    assert machine.files() == before


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
