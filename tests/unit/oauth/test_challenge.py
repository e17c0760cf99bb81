"""`WWW-Authenticate` is read as RFC 9110 writes it, whatever else stands in it."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from acp_stdio.oauth.challenge import Challenge, ask, parse_challenge
from acp_stdio.oauth.http import open_client
from acp_stdio.settings.model import NetworkSettings

ADDRESS = "https://mcp.example.com/.well-known/oauth-protected-resource"


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (f'Bearer resource_metadata="{ADDRESS}", scope="a b"', Challenge(ADDRESS, ("a", "b"))),
        (f'bearer scope="a"  ,resource_metadata = "{ADDRESS}"', Challenge(ADDRESS, ("a",))),
        (f'DPoP algs="ES256", scope=a, resource_metadata="{ADDRESS}"', Challenge(ADDRESS, ("a",))),
        (f'Basic realm="x, scope=\\"no\\"", Bearer resource_metadata="{ADDRESS}"', Challenge(ADDRESS)),
        ('Negotiate abc==, Bearer scope="a"', Challenge("", ("a",))),
        ('Bearer scope="a", Basic scope="b"', Challenge("", ("a",))),
        ('Bearer scope="a", scope="b"', Challenge("", ("a",))),
        ('Bearer error_description="scope=\\"b\\"", scope="a a"', Challenge("", ("a",))),
        ('Bearer scope="fine caf\u00e9 also"', Challenge("", ("fine", "also"))),
        ("Bearer", Challenge()),
        ("", Challenge()),
        ('scope="a"', Challenge()),
        ('Bearer scope="never closed', Challenge()),
        ("Bearer " + "," * 100_000 + 'scope="a"', Challenge()),
    ],
)
def test_a_challenge_is_read_and_nothing_beside_it(header: str, found: Challenge) -> None:
    assert parse_challenge(header) == found


class Server(ThreadingHTTPServer):
    """Answers each method with its status; a 401 names a scope."""

    def __init__(self, statuses: dict[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses = statuses
        self.seen: list[tuple[str, str | None]] = []
        self.body = b""


class Handler(BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]  # the only server that uses it

    def do_POST(self) -> None:
        method = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["method"]
        self.server.seen.append((method, self.headers.get("Mcp-Method")))
        self._answer(self.server.statuses[method])

    def do_GET(self) -> None:
        self.server.seen.append(("GET", None))
        self._answer(self.server.statuses.get("GET", 405))

    def do_DELETE(self) -> None:
        self.server.seen.append(("DELETE", self.headers.get("Mcp-Session-Id")))
        self._answer(200)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Bearer scope="files"')
        if status == 200:
            self.send_header("Mcp-Session-Id", "S1")
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server({}) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def asked(server: Server, **statuses: int) -> Challenge:
    server.statuses = {name.replace("_", "/"): status for name, status in statuses.items()}
    with open_client(NetworkSettings()) as http:
        return ask(f"http://127.0.0.1:{server.server_port}/mcp", http)


def test_a_server_that_refuses_at_once_is_asked_once_with_the_headers_of_its_era(server: Server) -> None:
    assert asked(server, server_discover=401) == Challenge("", ("files",), refused=True)
    assert server.seen == [("server/discover", "server/discover")]


@pytest.mark.parametrize("status", [400, 404, 405, 406, 415, 422])
def test_a_server_of_the_legacy_era_is_asked_for_a_session(server: Server, status: int) -> None:
    assert asked(server, server_discover=status, initialize=401) == Challenge("", ("files",), refused=True)
    assert server.seen == [("server/discover", "server/discover"), ("initialize", None)]


def test_a_server_of_the_oldest_transport_is_asked_for_its_stream(server: Server) -> None:
    assert asked(server, server_discover=405, initialize=405, GET=401) == Challenge("", ("files",), refused=True)
    assert [method for method, _ in server.seen] == ["server/discover", "initialize", "GET"]


def test_a_server_that_refuses_a_version_in_the_modern_way_is_not_asked_in_the_other(server: Server) -> None:
    server.body = b'{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"no"}}'
    assert asked(server, server_discover=400) == Challenge()
    assert [method for method, _ in server.seen] == ["server/discover"]


def test_a_session_that_a_server_gives_to_anybody_is_ended(server: Server) -> None:
    assert asked(server, server_discover=400, initialize=200) == Challenge()
    assert server.seen[-1] == ("DELETE", "S1")
