"""Whom a connector believes, and how it gets through a company's proxy."""

import asyncio
import base64
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from acp_stdio.errors import Failure
from acp_stdio.upstream import tls
from acp_stdio.upstream.pool import LeanConnector, Limits
from acp_stdio.upstream.proxy import Proxy, parse_proxy
from acp_stdio.upstream.tls import client_context
from tests.unit.upstream.conftest import Authority
from tests.unit.upstream.loopback import PATIENCE, Answer, Peer, Script, serving

pytestmark = pytest.mark.anyio

PASSWORD = "s3cret:pass/wörd"
ENCODED = "s3cret%3Apass%2Fw%C3%B6rd"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)


async def echo(peer: Peer) -> None:
    while True:
        _, body = await peer.request()
        await peer.answer(body)


@asynccontextmanager
async def connector(
    origin: str, context: ssl.SSLContext | None, proxy: Proxy | None = None, limits: Limits | None = None
) -> AsyncGenerator[LeanConnector]:
    lean = LeanConnector(origin, tls=context, proxy=proxy, limits=limits)
    try:
        yield lean
    finally:
        await lean.aclose()


def post(lean: LeanConnector, body: bytes = b"{}") -> Answer:
    answer = Answer()
    lean.request("POST", "/mcp", b"", body, answer, head_timeout=PATIENCE)
    return answer


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_server_of_the_named_authority_is_believed(authority: Authority, host: str) -> None:
    async with serving(echo, authority.good) as server:
        async with connector(f"https://{host}:{server.port}", client_context(str(authority.bundle))) as lean:
            big = b"x" * 10_000_000
            assert (await post(lean, big).end()).body == big
            assert (await post(lean, b"again").end()).body == b"again"
        assert server.accepted == 1


@pytest.mark.parametrize(
    ("which", "words"),
    [("elsewhere", "not valid for '127.0.0.1'"), ("expired", "expired"), ("unknown", "unable to get local issuer")],
)
async def test_a_certificate_that_proves_nothing_is_refused_before_anything_is_sent(
    authority: Authority, which: str, words: str
) -> None:
    served = {"elsewhere": authority.elsewhere, "expired": authority.expired, "unknown": authority.good}[which]
    trusted = "" if which == "unknown" else str(authority.bundle)
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.reader.read(1))

    async with serving(script, served) as server, connector(server.origin, client_context(trusted)) as lean:
        sent, why = await post(lean).failure()
    assert sent is False
    assert why.startswith("TLS: certificate verify failed: ")
    assert words in why
    assert seen in ([], [b""])


async def test_a_server_that_does_not_speak_tls_is_named_so(authority: Authority) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.gone()

    async with serving(script) as server:
        origin = server.origin.replace("http:", "https:")
        async with connector(origin, client_context(str(authority.bundle))) as lean:
            sent, why = await post(lean).failure()
    assert sent is False
    assert why == "TLS: wrong version number"


def test_nothing_older_than_tls_1_2_is_spoken(authority: Authority) -> None:
    assert client_context(str(authority.bundle)).minimum_version == ssl.TLSVersion.TLSv1_2


async def test_a_server_that_never_finishes_the_handshake_is_left_in_time(authority: Authority) -> None:
    async def mute(peer: Peer) -> None:
        await peer.gone()

    async with serving(mute) as server:
        origin = server.origin.replace("http:", "https:")
        context = client_context(str(authority.bundle))
        async with connector(origin, context, limits=Limits(connect_timeout=0.1)) as lean:
            where = f"127.0.0.1:{server.port}"
            assert await post(lean).failure() == (False, f"no connection to {where} within 0.1 s")
            await asyncio.wait_for(server.empty.wait(), PATIENCE)


async def test_an_answer_until_close_counts_only_with_tls_goodbye(authority: Authority) -> None:
    cut = False

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        await (peer.cut() if cut else peer.close())

    context = client_context(str(authority.bundle))
    async with serving(script, authority.good) as server, connector(server.origin, context) as lean:
        assert (await post(lean).end()).body == b"all of it"
        cut = True
        assert await post(lean).failure() == (True, "the connection broke in the middle of the answer")


async def test_closing_the_connector_leaves_no_tls_connection_open(authority: Authority) -> None:
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        asked.set()
        await peer.gone()

    async with serving(script, authority.good) as server:
        async with connector(server.origin, client_context(str(authority.bundle))) as lean:
            answer = post(lean)
            await asyncio.wait_for(asked.wait(), PATIENCE)
        assert await answer.failure() == (True, "acp-stdio is shutting down")


# Trust


async def test_the_certificate_file_of_the_environment_is_honoured_and_the_configured_one_outranks_it(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))
    async with serving(echo, authority.good) as server:
        async with connector(server.origin, client_context("")) as lean:
            await post(lean).end()
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "absent.pem"))
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "absent"))
        async with connector(server.origin, client_context(str(authority.bundle))) as lean:
            await post(lean).end()


def test_a_bundle_that_cannot_be_read_is_a_configuration_error(tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("no certificate")
    for path in (tmp_path / "absent.pem", nonsense):
        with pytest.raises(Failure) as failure:
            client_context(str(path))
        assert failure.value.reason == "configuration_invalid"
        assert str(path) in failure.value.message


def test_the_systems_authorities_are_trusted_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    context = client_context("")
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    monkeypatch.setattr(tls, "_is_hashed", lambda folder: False)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]  # a system without hashed folder
    assert client_context("").cert_store_stats()["x509_ca"] > 50


# Proxies


def tunnel(answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n") -> tuple[Script, list[bytes]]:
    """A CONNECT proxy, and what it was asked."""
    heads: list[bytes] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        writer.close()

    async def script(peer: Peer) -> None:
        head, _ = await peer.request()
        heads.append(head)
        if b" 200 " not in answer:
            await peer.send(answer)
            await peer.gone()
            return
        host, _, port = head.split(b" ")[1].decode().rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        await peer.send(answer)
        await asyncio.gather(pump(peer.reader, writer), pump(reader, peer.writer))

    return script, heads


async def test_through_a_proxy_the_tls_is_still_with_the_server(authority: Authority) -> None:
    script, heads = tunnel()
    async with serving(echo, authority.good) as server, serving(script) as middle:
        proxy = parse_proxy(f"http://127.0.0.1:{middle.port}")
        async with connector(server.origin, client_context(str(authority.bundle)), proxy) as lean:
            big = b"x" * 1_000_000
            assert (await post(lean, big).end()).body == big
            assert (await post(lean, b"2").end()).body == b"2"
        target = b"127.0.0.1:%d" % server.port
        assert heads == [b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, target)]


async def test_a_proxy_gets_its_credentials_and_the_server_does_not(authority: Authority) -> None:
    script, heads = tunnel()
    async with serving(echo, authority.good) as server, serving(script) as middle:
        proxy = parse_proxy(f"http://sarah:{ENCODED}@127.0.0.1:{middle.port}/")
        assert PASSWORD not in repr(proxy)
        async with connector(server.origin, client_context(str(authority.bundle)), proxy) as lean:
            await post(lean).end()
    basic = base64.b64encode(f"sarah:{PASSWORD}".encode())
    assert b"Proxy-Authorization: Basic " + basic + b"\r\n" in heads[0]


@pytest.mark.parametrize(
    ("answer", "credentials", "words"),
    [
        (b"HTTP/1.1 407 Auth\r\nContent-Length: 0\r\n\r\n", "", "asks for a user name and password (407)"),
        (b"HTTP/1.1 407 Auth\r\nContent-Length: 0\r\n\r\n", f"sarah:{ENCODED}@", "rejects our credentials (407)"),
        (b"HTTP/1.0 503 Busy\r\n\r\n", f"sarah:{ENCODED}@", "refused the connection (503)"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "", "does not answer in HTTP/1.1"),
        (b"HTTP/1.1 403 " + b"x" * 20_000, "", "a head of more than 16 KiB"),
    ],
)
async def test_a_proxy_that_refuses_is_named_without_its_credentials(
    authority: Authority, answer: bytes, credentials: str, words: str
) -> None:
    script, _ = tunnel(answer)
    async with serving(script) as middle:
        proxy = parse_proxy(f"http://{credentials}127.0.0.1:{middle.port}")
        context = client_context(str(authority.bundle))
        async with connector("https://finance.example.com", context, proxy) as lean:
            sent, why = await post(lean).failure()
            await asyncio.wait_for(middle.empty.wait(), PATIENCE)
    assert sent is False
    assert words in why
    assert "s3cret" not in why


async def test_a_proxy_cannot_speak_for_the_server(authority: Authority) -> None:
    """Bytes behind the proxy's 200 would come before the TLS of which they would be part."""
    answer = b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"
    script, _ = tunnel(answer)
    async with serving(echo, authority.good) as server, serving(script) as middle:
        proxy = parse_proxy(f"http://127.0.0.1:{middle.port}")
        async with connector(server.origin, client_context(str(authority.bundle)), proxy) as lean:
            assert await post(lean).failure() == (False, "the proxy sent bytes of its own into the tunnel")


async def test_behind_a_proxy_the_servers_certificate_is_checked_for_the_servers_name(
    authority: Authority,
) -> None:
    script, _ = tunnel()
    async with serving(echo, authority.elsewhere) as server, serving(script) as middle:
        proxy = parse_proxy(f"http://127.0.0.1:{middle.port}")
        async with connector(server.origin, client_context(str(authority.bundle)), proxy) as lean:
            sent, why = await post(lean).failure()
    assert sent is False
    assert "not valid for '127.0.0.1'" in why


async def test_a_proxy_that_is_not_there_or_says_nothing_is_named(authority: Authority) -> None:
    async def mute(peer: Peer) -> None:
        await peer.gone()

    context = client_context(str(authority.bundle))
    limits = Limits(connect_timeout=0.1)
    async with serving(mute) as middle:
        proxy = parse_proxy(f"127.0.0.1:{middle.port}")
        where = f"the proxy 127.0.0.1:{middle.port}"
        async with connector("https://finance.example.com", context, proxy, limits) as lean:
            assert await post(lean).failure() == (False, f"no connection to {where} within 0.1 s")
            await asyncio.wait_for(middle.empty.wait(), PATIENCE)
    async with connector("https://finance.example.com", context, proxy) as lean:
        assert await post(lean).failure() == (False, f"connection refused by {where}")


@pytest.mark.parametrize("url", ["https://proxy:1", "socks5://u:s3cret@proxy", "http://u:s3cret@proxy:port", "http://"])
def test_a_proxy_url_that_we_cannot_use_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ValueError, match="prox") as error:
        parse_proxy(url)
    assert "s3cret" not in str(error.value)
    assert error.value.__cause__ is None


def test_this_machine_is_not_reached_through_a_proxy() -> None:
    with pytest.raises(ValueError, match="this machine"):
        LeanConnector("http://localhost", proxy=Proxy("proxy", 1))
