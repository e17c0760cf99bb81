"""What any connector promises, against a server that misbehaves in every way we could think of."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from acp_stdio.settings.origin import reachable_origin
from acp_stdio.upstream import dial
from acp_stdio.upstream.connection import Connection
from acp_stdio.upstream.http import Exchange
from acp_stdio.upstream.pool import LeanConnector, Limits
from tests.unit.upstream.loopback import PATIENCE, Answer, Peer, Script, Server, serving

pytestmark = pytest.mark.anyio

BIG = bytes(range(256)) * 40_960  # 10 MiB


class Client:
    def __init__(self, connector: LeanConnector) -> None:
        self.connector = connector
        self.exchange: Exchange | None = None

    def post(self, body: bytes = b"{}", *, method: str = "POST", head_timeout: float | None = PATIENCE) -> Answer:
        answer = Answer()
        self.exchange = self.connector.request(
            method, "/mcp?a=1", b"Accept: text/event-stream\r\n", body, answer, head_timeout=head_timeout
        )
        assert not answer.over
        return answer


@asynccontextmanager
async def talking(script: Script, limits: Limits | None = None) -> AsyncGenerator[tuple[Client, Server]]:
    async with serving(script) as server:
        connector = LeanConnector(server.origin, limits=limits or Limits(keep_idle=3600.0))
        try:
            yield Client(connector), server
        finally:
            await connector.aclose()


def once(*sends: bytes, close: bool = False) -> Script:
    """Reads a request, sends these pieces one by one, then closes or waits for the client to."""

    async def script(peer: Peer) -> None:
        await peer.request()
        for piece in sends:
            await peer.send(piece)
            await asyncio.sleep(0)
        if not close:
            await peer.gone()

    return script


async def echo(peer: Peer) -> None:
    while True:
        _, body = await peer.request()
        await peer.answer(body)


async def test_a_request_is_sent_as_it_was_given_and_nothing_is_added_but_host_and_length() -> None:
    seen: list[tuple[bytes, bytes]] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.answer()

    async with talking(script) as (client, server):
        answer = await client.post(b'{"id":1}').end()
    assert answer.status == 200
    assert answer.body == b"ok"
    assert seen == [
        (
            b"POST /mcp?a=1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: text/event-stream\r\n"
            b"Content-Length: 8\r\n\r\n" % server.port,
            b'{"id":1}',
        )
    ]


async def test_a_get_has_no_length_and_an_empty_post_has_one() -> None:
    heads: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            heads.append((await peer.request())[0])
            await peer.answer(b"")

    async with talking(script) as (client, _):
        await client.post(b"", method="GET").end()
        await client.post(b"").end()
        await client.post(b"", method="DELETE").end()
    assert [b"Content-Length: 0\r\n" in head for head in heads] == [False, True, False]


async def test_names_come_in_lower_case_and_repeated_ones_joined() -> None:
    answer_bytes = (
        b"HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer a=1 \t\r\nX: caf\xe9\r\nwww-authenticate:  Basic\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    async with talking(once(answer_bytes)) as (client, _):
        answer = await client.post().end()
    assert answer.status == 401
    assert answer.headers == {
        "www-authenticate": "Bearer a=1, Basic",
        "x": "caf\xe9",
        "content-length": "0",
    }


CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;x=y\r\nhello\r\n1\r\n,\r\n6\r\n world\r\n0\r\nTrailer: t\r\n\r\n"
)


async def test_a_chunked_answer_may_come_byte_by_byte() -> None:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            for at in range(len(CHUNKED)):
                await peer.send(CHUNKED[at : at + 1])
                await asyncio.sleep(0)

    async with talking(script) as (client, server):
        first, second = await client.post().end(), await client.post().end()
        assert (first.body, second.body) == (b"hello, world", b"hello, world")
        assert "trailer" not in first.headers
        assert server.accepted == 1


async def test_an_answer_may_last_until_the_server_closes() -> None:
    async with talking(once(b"HTTP/1.1 200 OK\r\n\r\nuntil ", b"the end", close=True)) as (client, _):
        assert (await client.post().end()).body == b"until the end"


async def test_interim_answers_are_skipped() -> None:
    pieces = (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
    final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    async with talking(once(*pieces, final)) as (client, _):
        answer = await client.post().end()
    assert (answer.status, answer.body, answer.headers) == (200, b"ok", {"content-length": "2"})


@pytest.mark.parametrize("status", [202, 204, 301, 304, 307, 404, 500])
async def test_every_final_status_is_reported_and_none_is_acted_upon(status: int) -> None:
    length = b"" if status in (204, 304) else b"Content-Length: 0\r\n"
    head = b"HTTP/1.1 %d X\r\nLocation: http://127.0.0.1:1/\r\n%b\r\n" % (status, length)

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(head)

    async with talking(script) as (client, server):
        assert (await client.post().end()).status == status
        assert (await client.post().end()).status == status
        assert server.accepted == 1


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ((), "without an answer"),
        ((b"HTTP/1.1 200 O",), "without an answer"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",), "in the middle"),
        ((CHUNKED[:70],), "in the middle"),
        ((CHUNKED[:-4],), "in the middle"),
    ],
)
async def test_a_server_that_closes_too_early_is_a_failure_after_sending(pieces: tuple[bytes, ...], words: str) -> None:
    async with talking(once(*pieces, close=True)) as (client, server):
        sent, why = await client.post().failure()
        assert sent is True
        assert words in why
        assert server.accepted == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not proper HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n", "not proper HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc", "not proper HTTP"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "not proper HTTP",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "not proper HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok", "compressed although"),
        (b"HTTP/1.1 101 Switch\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello", "switched protocols"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, "more than 64 KiB"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n", "more than 64 KiB"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 4_000, "more than 64 KiB"),
        (CHUNKED[:-4] + b"X: " + b"x" * 900_000, "more than 64 KiB"),
    ],
    ids=lambda value: value.decode()[:24] if isinstance(value, bytes) else value,
)
async def test_what_is_not_an_answer_closes_the_connection(answer: bytes, words: str) -> None:
    async with talking(once(answer)) as (client, server):
        sent, why = await client.post().failure()
        assert sent is True
        assert words in why
        await asyncio.wait_for(server.empty.wait(), PATIENCE)


async def test_an_answer_that_says_identity_is_not_compressed() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: Identity\r\nContent-Length: 2\r\n\r\nok"
    async with talking(once(head)) as (client, _):
        assert (await client.post().end()).body == b"ok"


async def test_a_head_that_does_not_come_in_time_is_a_timeout_after_sending() -> None:
    async with talking(once(b"HTTP/1.1 200 OK\r\n")) as (client, server):
        assert await client.post(head_timeout=0.05).failure() == (True, "no answer within 0.05 s")
        await asyncio.wait_for(server.empty.wait(), PATIENCE)


async def test_every_call_has_its_own_bound_in_whatever_order_they_were_made() -> None:
    async with talking(once(b"")) as (client, _):
        slow, fast, middle = (client.post(head_timeout=seconds) for seconds in (0.3, 0.05, 0.15))
        assert (await fast.failure())[1] == "no answer within 0.05 s"
        assert not middle.over
        assert (await middle.failure())[1] == "no answer within 0.15 s"
        assert not slow.over
        assert (await slow.failure())[1] == "no answer within 0.3 s"


async def test_once_the_head_is_there_the_body_may_take_its_time() -> None:
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
        await go.wait()
        await peer.send(b"k")

    async with talking(script) as (client, _):
        answer = client.post(head_timeout=0.2)
        await answer.arrived()
        await asyncio.sleep(0.25)  # past the bound, which must not count any more
        go.set()
        assert (await answer.end()).body == b"ok"


async def test_one_connection_serves_calls_that_follow_each_other() -> None:
    async with talking(echo) as (client, server):
        for number in range(50):
            assert (await client.post(b"%d" % number).end()).body == b"%d" % number
        assert server.accepted == 1


async def test_the_next_request_may_be_made_from_within_the_end_of_the_last() -> None:
    async with talking(echo) as (client, server):
        answers: list[Answer] = []

        class Chain(Answer):
            def on_end(self) -> None:
                super().on_end()
                if len(answers) < 5:
                    answers.append(chain := Chain())
                    client.connector.request("POST", "/", b"", b"x", chain, head_timeout=PATIENCE)

        answers.append(first := Chain())
        client.connector.request("POST", "/", b"", b"x", first, head_timeout=PATIENCE)
        await first.end()
        while len(answers) < 5 or not answers[-1].over:
            await answers[-1].end()
        assert server.accepted == 1


async def test_bytes_after_an_answer_are_never_taken_for_the_next_one() -> None:
    forged = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"
    honest = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhonest"
    async with talking(once(honest + forged)) as (client, server):
        assert (await client.post().end()).body == b"honest"
        assert (await client.post().end()).body == b"honest"
        assert server.accepted == 2


async def test_an_answer_nobody_asked_for_closes_the_connection() -> None:
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer()
        await go.wait()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")
        await peer.gone()

    async with talking(script) as (client, server):
        await client.post().end()
        go.set()
        await asyncio.wait_for(server.empty.wait(), PATIENCE)
        assert (await client.post().end()).body == b"ok"
        assert server.accepted == 2


async def test_a_goodbye_that_the_loop_has_not_seen_yet_is_seen_before_writing() -> None:
    peers: list[Peer] = []

    async def script(peer: Peer) -> None:
        peers.append(peer)
        await echo(peer)

    async with talking(script) as (client, server):
        await client.post(b"1").end()
        with socket.socket(fileno=os.dup(peers[0].writer.get_extra_info("socket").fileno())) as theirs:
            theirs.shutdown(socket.SHUT_RDWR)
        assert (await client.post(b"2").end()).body == b"2"
        assert server.accepted == 2


async def test_a_connection_that_the_server_wants_closed_is_closed_by_us() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(extra=b"Connection: close\r\n")
        await peer.gone()

    async with talking(script) as (client, server):
        await client.post().end()
        await asyncio.wait_for(server.empty.wait(), PATIENCE)


async def test_localhost_that_leads_elsewhere_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with talking(echo) as (client, server):

        def elsewhere(address: str) -> bool:
            return False

        monkeypatch.setattr(dial, "is_loopback", elsewhere)
        sent, why = await client.post().failure()
        await asyncio.wait_for(server.empty.wait(), PATIENCE)
    assert sent is False
    assert "is not this machine" in why


@pytest.mark.parametrize("extra", [b"Connection: close\r\n", b""], ids=["announced", "unannounced"])
async def test_a_connection_that_the_server_closed_is_not_used_again(extra: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(extra=extra)

    async with talking(script) as (client, server):
        for number in range(1, 6):
            await client.post().end()
            await asyncio.wait_for(server.empty.wait(), PATIENCE)  # its goodbye is in our socket, unread
            assert server.accepted == number


async def test_a_connection_is_left_before_the_server_says_it_will_close_it() -> None:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.answer(extra=b"Keep-Alive: timeout=1, max=9\r\n")

    async with talking(script) as (client, server):
        await client.post().end()
        await client.post().end()
        assert server.accepted == 2


async def test_a_connection_that_the_machine_slept_over_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with talking(echo, Limits(keep_idle=20.0)) as (client, server):
        await client.post(b"before").end()
        asleep = time.time() + 3600
        monkeypatch.setattr("acp_stdio.upstream.connection.time.time", lambda: asleep)
        assert (await client.post(b"after").end()).body == b"after"
        assert server.accepted == 2


async def test_the_system_asks_whether_a_silent_server_is_still_there(monkeypatch: pytest.MonkeyPatch) -> None:
    sockets: list[socket.socket] = []
    made = Connection.connection_made

    def note(self: Connection, transport: asyncio.BaseTransport) -> None:
        made(self, transport)
        sockets.append(transport.get_extra_info("socket"))

    monkeypatch.setattr(Connection, "connection_made", note)
    async with talking(echo) as (client, _):
        await client.post().end()
        assert sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert sockets[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30


async def test_connections_unused_for_long_are_closed() -> None:
    async with talking(echo, Limits(keep_idle=0.05)) as (client, server):
        await client.post().end()
        await asyncio.wait_for(server.empty.wait(), PATIENCE)


async def test_a_kept_connection_that_breaks_after_writing_is_reported_and_never_repeated() -> None:
    requests: list[bytes] = []

    async def script(peer: Peer) -> None:
        requests.append((await peer.request())[1])
        await peer.answer()
        requests.append((await peer.request())[1])

    async with talking(script) as (client, _):
        await client.post(b"first").end()
        sent, why = await client.post(b"second").failure()
    assert (sent, why) == (True, "the server closed the kept connection without an answer")
    assert requests == [b"first", b"second"]


async def test_ten_megabytes_go_up_and_come_down() -> None:
    async with talking(echo) as (client, server):
        assert (await client.post(BIG).end()).body == BIG
        assert (await client.post(b"small").end()).body == b"small"
        assert server.accepted == 1


async def test_a_server_that_reads_slowly_makes_the_client_wait_and_not_hoard() -> None:
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await go.wait()
        _, body = await peer.request()
        await peer.answer(b"%d" % len(body))

    async with talking(script) as (client, _):
        answer = client.post(BIG)
        await asyncio.sleep(0.05)
        transport = next(iter(client.connector._open))._transport  # pyright: ignore[reportPrivateUsage]  # the promise is about memory
        assert transport is not None
        assert transport.get_write_buffer_size() < 1024 * 1024
        go.set()
        assert (await answer.end()).body == b"%d" % len(BIG)


async def test_an_answer_that_comes_before_the_body_was_sent_is_given_and_ends_the_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await peer.gone()

    async with talking(script) as (client, server):
        assert (await client.post(BIG).end()).status == 413
        await asyncio.wait_for(server.empty.wait(), PATIENCE)


async def test_sixty_four_calls_at_once_each_get_their_own_answer() -> None:
    together = asyncio.Event()
    waiting = 0

    async def script(peer: Peer) -> None:
        nonlocal waiting
        while True:
            _, body = await peer.request()
            waiting += 1
            if waiting == 64:
                together.set()
            await together.wait()
            await peer.answer(body)

    async with talking(script) as (client, server):
        answers = [client.post(b"%d" % n) for n in range(64)]
        for number, answer in enumerate(answers):
            assert (await answer.end()).body == b"%d" % number
        assert server.accepted == 64


async def test_calls_wait_for_a_connection_where_there_may_be_no_more() -> None:
    async with talking(echo, Limits(connections=2)) as (client, server):
        answers = [client.post(b"%d" % n) for n in range(20)]
        assert [(await answer.end()).body for answer in answers] == [b"%d" % n for n in range(20)]
        assert server.accepted == 2


async def test_overload_is_answered_at_once_and_nothing_was_sent() -> None:
    hold = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await hold.wait()
            await peer.answer()

    async with talking(script, Limits(connections=1, waiting=2)) as (client, _):
        taken = [client.post(), client.post()]
        assert await client.post().failure() == (False, "overloaded: 2 requests are waiting already")
        hold.set()
        for answer in taken:
            await answer.end()


async def test_a_call_that_never_gets_a_connection_fails_in_time_and_unsent() -> None:
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        asked.set()
        await peer.gone()

    async with talking(script, Limits(connections=1, connect_timeout=0.1)) as (client, _):
        holder = client.post(head_timeout=None)
        await asyncio.wait_for(asked.wait(), PATIENCE)
        assert await client.post(head_timeout=None).failure() == (
            False,
            "no connection became free within 0.1 s",
        )
        assert await client.post(head_timeout=0.05).failure() == (False, "no answer within 0.05 s")
        assert not holder.over


async def test_aborting_closes_the_connection_and_nothing_more_is_heard() -> None:
    async with talking(once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")) as (client, server):
        answer = client.post()
        await answer.arrived(1)
        assert client.exchange
        client.exchange.abort()
        client.exchange.abort()
        await asyncio.wait_for(server.empty.wait(), PATIENCE)
        assert not answer.over


async def test_aborting_from_within_a_callback_works() -> None:
    body = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    async with talking(once(body)) as (client, server):

        class Impatient(Answer):
            def on_head(self, status: int, headers: dict[str, str]) -> None:
                super().on_head(status, headers)
                assert client.exchange
                client.exchange.abort()

        answer = Impatient()
        client.exchange = client.connector.request("POST", "/", b"", b"", answer, head_timeout=PATIENCE)
        await answer.arrived()
        await asyncio.wait_for(server.empty.wait(), PATIENCE)
        assert not answer.over
        assert answer.body == b""


async def test_aborting_a_finished_exchange_leaves_its_connection_to_others() -> None:
    hold = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer()
        await peer.request()
        await hold.wait()
        await peer.answer(b"second")

    async with talking(script) as (client, server):
        await client.post().end()
        first = client.exchange
        second = client.post()
        assert first
        first.abort()
        hold.set()
        assert (await second.end()).body == b"second"
        assert server.accepted == 1


async def test_aborting_a_waiting_call_lets_the_others_go_on() -> None:
    async with talking(echo, Limits(connections=1)) as (client, _):
        first = client.post(b"1")
        dropped = client.post(b"2")
        assert client.exchange
        client.exchange.abort()
        third = client.post(b"3")
        assert ((await first.end()).body, (await third.end()).body) == (b"1", b"3")
        assert not dropped.over


async def test_closing_the_connector_fails_what_is_under_way_and_leaves_nothing_open() -> None:
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        asked.set()
        await peer.gone()

    async with talking(script, Limits(connections=1)) as (client, server):
        running, waiting = client.post(), client.post()
        await asyncio.wait_for(asked.wait(), PATIENCE)
        await client.connector.aclose()
        assert await running.failure() == (True, "acp-stdio is shutting down")
        assert await waiting.failure() == (False, "acp-stdio is shutting down")
        assert await client.post().failure() == (False, "acp-stdio is shutting down")
        await asyncio.wait_for(server.empty.wait(), PATIENCE)


async def test_closing_while_connecting_fails_the_call_unsent() -> None:
    async with talking(echo) as (client, _):
        answer = client.post()
        await client.connector.aclose()
        assert await answer.failure() == (False, "acp-stdio is shutting down")


async def test_a_refused_connection_names_the_server() -> None:
    async with serving(echo) as server:
        port = server.port
    for host in ("127.0.0.1", "localhost"):
        connector = LeanConnector(f"http://{host}:{port}")
        assert await Client(connector).post().failure() == (False, f"connection refused by {host}:{port}")
        await connector.aclose()


async def test_more_calls_than_places_all_hear_of_a_refusal() -> None:
    async with serving(echo) as server:
        port = server.port
    connector = LeanConnector(f"http://127.0.0.1:{port}", limits=Limits(connections=2))
    client = Client(connector)
    for answer in [client.post() for _ in range(7)]:
        assert (await answer.failure())[0] is False
    await connector.aclose()


@pytest.mark.parametrize(
    "origin",
    [
        "http://example.com",
        "http://10.0.0.1",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "https://user:password@example.com",
        "ftp://localhost",
        "localhost",
        "http://",
        "http://[::2]",
    ],
)
def test_plain_http_to_another_machine_is_refused_before_anything_is_sent(origin: str) -> None:
    with pytest.raises(ValueError, match=r"https|TLS") as error:
        LeanConnector(origin)
    assert "password" not in str(error.value)


def test_an_origin_with_credentials_is_refused() -> None:
    with pytest.raises(ValueError, match="URL is https"):
        reachable_origin("https://user:password@example.com")


@pytest.mark.parametrize("origin", ["http://localhost", "http://127.8.9.1:80", "http://[::1]:3000"])
def test_plain_http_to_this_machine_is_fine(origin: str) -> None:
    LeanConnector(origin)


@pytest.mark.parametrize(
    ("method", "target", "block"),
    [
        ("POST", "/a b", b""),
        ("POST", "/a\r\nEvil: 1", b""),
        ("POST", "mcp", b""),
        ("POST", "/\xe9", b""),
        ("P OST", "/", b""),
        ("CONNECT", "/", b""),
        ("POST", "/", b"A: b"),
        ("POST", "/", b"A: b\r\n\r\nGET / HTTP/1.1\r\n"),
    ],
)
async def test_a_request_that_would_not_be_one_request_is_refused(method: str, target: str, block: bytes) -> None:
    connector = LeanConnector("http://127.0.0.1:1")
    with pytest.raises(ValueError, match=r"request|whole lines"):
        connector.request(method, target, block, b"", Answer(), head_timeout=None)
