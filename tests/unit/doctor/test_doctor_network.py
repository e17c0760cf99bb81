"""Each way in which a server is not reached has its cause and its step, told by real servers."""

import asyncio
import socket
from pathlib import Path

import pytest

from acp_stdio.doctor import network
from acp_stdio.doctor.check import Case
from acp_stdio.doctor.finding import Finding
from acp_stdio.errors import EXIT_CONFIGURATION, EXIT_NETWORK
from acp_stdio.settings.model import NetworkSettings
from tests.unit.doctor.conftest import MakeCase
from tests.unit.upstream.conftest import Authority
from tests.unit.upstream.loopback import Peer, serving

pytestmark = pytest.mark.anyio


async def silent(peer: Peer) -> None:
    await peer.gone()


async def look(case: Case, url: str, *, provider: bool = False) -> Finding:
    """The probe brings an event loop of its own."""
    return await asyncio.to_thread(network.probe, case, url, provider=provider)


@pytest.mark.parametrize("provider", [False, True])
async def test_a_trusted_server_is_named_with_its_issuer_and_the_end_of_its_certificate(
    authority: Authority, make_case: MakeCase, provider: bool
) -> None:
    case = make_case(NetworkSettings(ca_bundle=str(authority.bundle)))
    async with serving(silent, authority.good) as server:
        found = await look(case, f"{server.origin}/mcp", provider=provider)
    assert found.details["certificate_issuer"] == "a private authority"
    assert found.details["trust"] == str(authority.bundle)
    assert found.state == "warning", "the fixture's certificate lives for a day"
    assert "ends in 0 days" in found.message


@pytest.mark.parametrize(
    ("which", "message", "step"),
    [
        ("expired", "expired on ", "clock"),
        ("elsewhere", "is for elsewhere.example", "Correct the host"),
        (
            "unknown",
            "issued by a private authority, which is not trusted here (the system's certificates)",
            "ca_bundle",
        ),
    ],
)
@pytest.mark.parametrize("provider", [False, True])
async def test_a_certificate_that_proves_nothing_is_named_with_what_is_wrong_with_it(
    authority: Authority, make_case: MakeCase, which: str, message: str, step: str, provider: bool
) -> None:
    served = {"elsewhere": authority.elsewhere, "expired": authority.expired, "unknown": authority.good}[which]
    case = make_case(NetworkSettings(ca_bundle="" if which == "unknown" else str(authority.bundle)))
    async with serving(silent, served) as server:
        found = await look(case, server.origin, provider=provider)
    assert (found.state, found.exit_code) == ("problem", EXIT_NETWORK)
    assert message in found.message
    assert step in found.next


async def test_a_server_without_tls_is_a_problem_of_tls(make_case: MakeCase) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.gone()

    async with serving(script) as server:
        found = await look(make_case(), server.origin.replace("http:", "https:"))
    assert found.state == "problem"
    assert "TLS" in found.message


async def test_a_server_that_says_nothing_is_not_waited_for_longer_than_said(
    make_case: MakeCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "_WITHIN", 0.2)
    async with serving(silent) as server:
        found = await look(make_case(), server.origin.replace("http:", "https:"))
    assert found.state == "problem"
    assert "within 0.2 s" in found.message


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_closed_port_is_a_refused_connection(make_case: MakeCase, scheme: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        found = await look(make_case(), f"{scheme}://127.0.0.1:{taken.getsockname()[1]}/mcp")
    assert (found.state, found.exit_code) == ("problem", EXIT_NETWORK)
    assert "connection refused" in found.message
    assert "[network] proxy" in found.next


async def test_a_name_that_nobody_knows_is_a_problem_of_the_name(make_case: MakeCase) -> None:
    found = await look(make_case(), "https://nowhere.invalid/mcp")
    assert found.state == "problem"
    assert "resolve" in found.message
    assert "name" in found.next


async def test_a_bundle_that_cannot_be_read_is_a_problem_of_the_configuration(
    make_case: MakeCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", f"{tmp_path}/none.pem")
    found = await look(make_case(), "https://127.0.0.1:1/mcp")
    assert (found.state, found.exit_code) == ("problem", EXIT_CONFIGURATION)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()


async def tunnel(peer: Peer) -> None:
    head, _ = await peer.request()
    host, _, port = head.split(b" ")[1].decode().rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    await peer.send(b"HTTP/1.1 200 Connected\r\n\r\n")
    await asyncio.gather(pump(peer.reader, writer), pump(reader, peer.writer))


async def test_the_proxy_in_use_and_where_it_comes_from_are_told_without_its_password(
    authority: Authority, make_case: MakeCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = make_case(NetworkSettings(ca_bundle=str(authority.bundle)))
    async with serving(silent, authority.good) as server, serving(tunnel) as proxy:
        monkeypatch.setenv("https_proxy", f"http://sarah:hidden@127.0.0.1:{proxy.port}")
        found = await look(case, server.origin)
        assert proxy.accepted == 1
    assert found.details["proxy"] == f"127.0.0.1:{proxy.port}"
    assert found.details["route"] == "the environment or the system's settings"
    assert found.details["certificate_issuer"] == "a private authority"
    assert "hidden" not in str(found)


async def test_a_host_that_no_proxy_names_is_reached_directly(
    authority: Authority, make_case: MakeCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    async with serving(silent, authority.good) as server:
        found = await look(make_case(NetworkSettings(ca_bundle=str(authority.bundle))), server.origin)
    assert found.passed
    assert found.details["route"] == "directly: NO_PROXY names it"


async def test_a_proxy_that_refuses_is_named_and_not_the_server(make_case: MakeCase) -> None:
    async def refuse(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 407 Auth\r\nContent-Length: 0\r\n\r\n")
        await peer.gone()

    async with serving(refuse) as proxy:
        case = make_case(NetworkSettings(proxy=f"http://127.0.0.1:{proxy.port}"))
        found = await look(case, "https://finance.example.com/mcp")
    assert found.state == "problem"
    assert "asks for a user name and password (407)" in found.message
    assert found.next == "Check the proxy; it comes from [network] proxy."


async def test_a_proxy_that_is_none_is_a_problem_of_the_configuration(
    make_case: MakeCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "socks5://sarah:hidden@127.0.0.1:1080")
    found = await look(make_case(), "https://finance.example.com/mcp")
    assert (found.state, found.exit_code) == ("problem", EXIT_CONFIGURATION)
    assert "hidden" not in str(found)
