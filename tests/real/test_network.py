"""A company's network around the whole program: its own authority, its proxy, and both of them wrong.

Only the proxy can resolve the company's names, so whoever arrives there came through it.
"""

import json
import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.kit import leaks
from tests.kit.connect_proxy import ConnectProxy, connect_proxy
from tests.kit.fault_upstream import FaultUpstream, fault_upstream
from tests.kit.host import RawHost, reason_of, text_of
from tests.kit.scripted_idp import ScriptedIdp
from tests.kit.signing_in import Machine
from tests.kit.tls import Authority

pytestmark = pytest.mark.real

SENT = "Nothing was sent."
LOGIN, FINANCE = "login.company.invalid", "finance.company.invalid"
PASSWORD = "proxy-s3cret:pass/word"
ENCODED = "proxy-s3cret%3Apass%2Fword"
BROWSER = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1]).read()"


@dataclass
class SecureIdp(ScriptedIdp):
    """A provider on https. It has a name of the company's too."""

    authority: Authority = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        context = self.authority.server("localhost", LOGIN)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self.origin = f"https://localhost:{self.port}"


@dataclass
class Company:
    """What stands in the company; tests come to it in different ways."""

    authority: Authority
    other: Authority
    idp: SecureIdp
    server: FaultUpstream
    foreign: FaultUpstream
    """Its certificate is of the other authority."""

    def named(self, server: FaultUpstream) -> str:
        return f"https://{FINANCE}:{server.port}/mcp"


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    folder = tmp_path_factory.mktemp("authorities")
    authority, other = Authority(folder, "company"), Authority(folder, "other")
    with ExitStack() as stack:
        idp = stack.enter_context(SecureIdp(authority=authority))
        server = stack.enter_context(fault_upstream(authority.server("localhost", FINANCE), "localhost"))
        foreign = stack.enter_context(fault_upstream(other.server("localhost", FINANCE), "localhost"))
        yield Company(authority, other, idp, server, foreign)
        leaks.remember(*idp.issued)


@pytest.fixture
def idp(company: Company) -> Iterator[SecureIdp]:
    """By the name that needs no proxy."""
    company.idp.origin = f"https://localhost:{company.idp.port}"
    yield company.idp
    leaks.remember(*company.idp.issued)


class Desk:
    """Alice's machine with a network configuration; her browser always finds its way."""

    def __init__(self, home: Path, company: Company, url: str, *network: str, **environment: str) -> None:
        self.machine = Machine(home, company.idp.issuer, url, extra_environment=environment)
        self.company, self.home = company, home
        self.network(*network)
        self.browser()

    def network(self, *lines: str) -> None:
        """Writes `[network]`."""
        self.machine.upstream_lines = "\n[network]\n" + "\n".join(lines)
        self.machine.configure()

    def browser(self, proxy: str = "") -> None:
        """A browser that trusts the company, and uses its proxy."""
        self.machine.browser.write_text(
            f'#!/bin/sh\nhttps_proxy="{proxy}" no_proxy=localhost SSL_CERT_FILE="{self.company.authority.bundle}" '
            f'exec "{sys.executable}" -c \'{BROWSER}\' "$1"\n'
        )

    def login(self) -> None:
        done = self.machine.run("login")
        leaks.remember(*self.company.idp.issued)
        assert done.returncode == 0, done.stderr

    @contextmanager
    def host(self, **environment: str) -> Generator[RawHost]:
        """A host; `environment` is added to its `env` block, and an empty value removes a variable."""
        added = {**self.machine.environment, **environment}
        with RawHost({k: v for k, v in added.items() if v}, self.home) as host:
            host.shake_hands()
            yield host
        leaks.remember(*self.company.idp.issued)

    def works(self, text: str, **environment: str) -> None:
        """A host finds its way to the provider and to the server."""
        with self.host(**environment) as host:
            assert text_of(host.call("echo", text=text)) == text

    def refusal(self, text: str, **environment: str) -> tuple[str, str]:
        """Why a host's call is refused, with nothing sent, and in which words."""
        with self.host(**environment) as host:
            refused = host.call("echo", text=text)
            assert text_of(refused).startswith(f"{SENT} ")
            assert refused["result"]["isError"]
        for server in (self.company.server, self.company.foreign):
            assert server.seen("tools/call", text) == []
        return reason_of(refused), text_of(refused).removeprefix(f"{SENT} ")


# -- authorities -----------------------------------------------------------------------------------------


def test_the_companys_authority_is_believed_where_the_configuration_names_it(
    company: Company, idp: SecureIdp, tmp_path: Path
) -> None:
    asked = len(idp.requests)
    desk = Desk(tmp_path, company, company.server.url, f'ca_bundle = "{company.authority.bundle}"')
    desk.login()
    desk.works("named in the configuration")
    assert {path for path, _ in idp.requests[asked:]} >= {"/authorize", "/token"}


def test_the_companys_authority_is_believed_where_the_environment_names_it(
    company: Company, idp: SecureIdp, tmp_path: Path
) -> None:
    desk = Desk(tmp_path, company, company.server.url, SSL_CERT_FILE=str(company.authority.bundle))
    desk.login()
    desk.works("named in the environment")


def test_a_provider_that_nobody_vouches_for_is_refused_in_clear_words(
    company: Company, idp: SecureIdp, tmp_path: Path
) -> None:
    desk = Desk(tmp_path, company, company.server.url, f'ca_bundle = "{company.authority.bundle}"')
    desk.login()
    desk.network(f'ca_bundle = "{company.other.bundle}"')
    for path in (tmp_path / "cache" / "default").glob("public-*"):
        path.unlink()  # what the provider published is not known yet
    asked = len(idp.requests)
    reason, words = desk.refusal("nobody vouches")
    assert reason == "idp_unreachable"
    assert "certificate verify failed" in words.lower()
    assert "set [network] ca_bundle" in words
    assert len(idp.requests) == asked


def test_a_server_that_nobody_vouches_for_gets_no_token(company: Company, idp: SecureIdp, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(company.authority.bundle.read_bytes() + company.other.bundle.read_bytes())
    desk = Desk(tmp_path / "home", company, company.foreign.url, f'ca_bundle = "{both}"')
    desk.login()
    desk.network(f'ca_bundle = "{company.authority.bundle}"')
    known = len(company.foreign.requests)
    reason, words = desk.refusal("no token for strangers")
    assert reason == "upstream_unreachable"
    assert "TLS: certificate verify failed" in words
    assert "set [network] ca_bundle" in words
    assert len(company.foreign.requests) == known


# -- proxies -----------------------------------------------------------------------------------------------


@pytest.fixture
def behind(company: Company, tmp_path: Path) -> Iterator[tuple[Desk, ConnectProxy]]:
    """A desk from which the company's names are reached through its proxy only."""
    with connect_proxy() as proxy:
        company.idp.origin = f"https://{LOGIN}:{company.idp.port}"
        bundle = f'ca_bundle = "{company.authority.bundle}"'
        desk = Desk(tmp_path, company, company.named(company.server), bundle, https_proxy=proxy.url)
        desk.browser(proxy.url)
        desk.login()
        yield desk, proxy
    leaks.remember(*company.idp.issued)


def test_provider_and_server_are_reached_through_the_environments_proxy(behind: tuple[Desk, ConnectProxy]) -> None:
    desk, proxy = behind
    proxy.asked.clear()
    desk.works("through the proxy")
    names = {target.rpartition(":")[0] for target in proxy.asked}
    assert names == {LOGIN, FINANCE}
    assert proxy.credentials == set()
    assert "proxy-authorization" not in desk.company.server.seen("tools/call", "through the proxy")[0].headers


def test_provider_and_server_are_reached_through_the_configured_proxy(behind: tuple[Desk, ConnectProxy]) -> None:
    desk, proxy = behind
    proxy.asked.clear()
    desk.network(f'ca_bundle = "{desk.company.authority.bundle}"', f'proxy = "{proxy.url}"')
    desk.works("through the configured proxy", https_proxy="")
    assert {target.rpartition(":")[0] for target in proxy.asked} == {LOGIN, FINANCE}


def test_a_proxy_that_wants_a_password_gets_it_from_the_environment_and_nobody_else_does(
    behind: tuple[Desk, ConnectProxy],
) -> None:
    desk, _ = behind
    leaks.remember(PASSWORD, ENCODED)
    with connect_proxy("sarah", PASSWORD) as strict:
        way = strict.url.replace("//", f"//sarah:{ENCODED}@")
        desk.works("with a password", https_proxy=way)
        assert len(strict.credentials) == 1
        (call,) = desk.company.server.seen("tools/call", "with a password")
        assert "proxy-authorization" not in call.headers
        assert leaks.scan([PASSWORD, ENCODED], *(desk.home / name for name in ("state", "cache", "log"))) == []


def test_a_configured_proxy_with_a_password_is_a_problem_of_the_configuration(
    behind: tuple[Desk, ConnectProxy],
) -> None:
    desk, proxy = behind
    desk.network(f'proxy = "{proxy.url.replace("//", f"//sarah:{ENCODED}@")}"')
    done = desk.machine.run("status")
    assert done.returncode == 3
    assert "no secret belongs in this file" in done.stderr


@pytest.mark.parametrize("credentials", ["", "sarah:wrong@"], ids=["none", "wrong"])
def test_a_proxy_that_refuses_us_is_named(behind: tuple[Desk, ConnectProxy], credentials: str) -> None:
    desk, _ = behind
    with connect_proxy("sarah", PASSWORD) as strict:
        reason, said = desk.refusal("refused by the proxy", https_proxy=strict.url.replace("//", f"//{credentials}"))
    assert reason == "idp_unreachable"
    assert "407" in said
    assert "wrong" not in said


def test_a_proxy_that_refuses_the_way_to_the_server_is_named(company: Company, idp: SecureIdp, tmp_path: Path) -> None:
    """This machine is reached without a proxy, so the provider is found here and the server is not."""
    bundle = f'ca_bundle = "{company.authority.bundle}"'
    with connect_proxy() as proxy, connect_proxy("sarah", PASSWORD) as strict:
        desk = Desk(tmp_path, company, company.named(company.server), bundle, https_proxy=proxy.url)
        desk.login()
        assert all(target.startswith(FINANCE) for target in proxy.asked)
        reason, words = desk.refusal("no password", https_proxy=strict.url)
        assert reason == "upstream_unreachable"
        assert f"127.0.0.1:{strict.port} asks for a user name and password (407)" in words
        reason, words = desk.refusal("a wrong one", https_proxy=strict.url.replace("//", "//sarah:wrong@"))
        assert "rejects our credentials (407)" in words
    reason, words = desk.refusal("nobody there", https_proxy=strict.url)
    assert reason == "upstream_unreachable"
    assert f"connection refused by the proxy 127.0.0.1:{strict.port}" in words


def test_whom_no_proxy_names_is_not_reached_through_the_proxy(company: Company, idp: SecureIdp, tmp_path: Path) -> None:
    """And only the proxy can resolve the name: so it is not found."""
    bundle = f'ca_bundle = "{company.authority.bundle}"'
    with connect_proxy() as proxy:
        desk = Desk(tmp_path, company, company.named(company.server), bundle, https_proxy=proxy.url)
        desk.login()
        proxy.asked.clear()
        reason, words = desk.refusal("directly", no_proxy=f"elsewhere.invalid,{FINANCE}")
        assert reason == "upstream_unreachable"
        assert f"could not resolve host {FINANCE}" in words
        assert proxy.asked == []


def test_this_machine_is_never_reached_through_a_proxy(company: Company, idp: SecureIdp, tmp_path: Path) -> None:
    """For a proxy, `localhost` is another machine."""
    bundle = f'ca_bundle = "{company.authority.bundle}"'
    with connect_proxy() as proxy:
        desk = Desk(tmp_path, company, company.server.url, bundle, https_proxy=proxy.url)
        desk.login()
        desk.works("next door")
        desk.network(bundle, f'proxy = "{proxy.url}"')
        desk.works("next door still", https_proxy="")
        assert proxy.asked == []


def test_what_run_writes_names_no_token_and_no_password(behind: tuple[Desk, ConnectProxy]) -> None:
    desk, _ = behind
    desk.works("and nothing of it stays")
    secrets = [*desk.company.idp.issued, PASSWORD]
    assert leaks.scan(secrets, *(desk.home / name for name in ("state/default/audit", "cache", "log"))) == []
    outcomes = [
        json.loads(line)["outcome"]
        for path in (desk.machine.state / "audit").glob("*.jsonl")
        for line in path.read_text().splitlines()
        if "call.outcome" in line
    ]
    assert outcomes == ["ok"]
