"""What a server answers to a registration counts, and what makes no sense is refused."""

import contextlib
import json
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from acp_stdio.errors import Failure
from acp_stdio.oauth.client import Client, Credential, method_with_secret
from acp_stdio.oauth.http import open_client
from acp_stdio.oauth.metadata import AuthorizationServer
from acp_stdio.oauth.registration import Registration, is_known, register
from acp_stdio.secrets import Secret
from acp_stdio.settings.model import NetworkSettings

REDIRECT = "http://127.0.0.1:8400/callback"


@contextlib.contextmanager
def server(status: int, document: object, **changes: Any) -> Generator[tuple[AuthorizationServer, list[bytes]]]:
    """An authorization server that has one answer to everything."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        base = f"http://127.0.0.1:{http.server_port}"
        urls: dict[str, Any] = {"registration_endpoint": f"{base}/register", **changes}
        yield AuthorizationServer(base, f"{base}/authorize", f"{base}/token", **urls), bodies
        http.shutdown()
        thread.join()


def registered(answer: dict[str, Any], **changes: Any) -> Registration:
    with server(201, {"client_id": "c", **answer}, **changes) as (there, _), open_client(NetworkSettings()) as http:
        return register(there, http, REDIRECT)


def refused(status: int, answer: object, **changes: Any) -> Failure:
    with server(status, answer, **changes) as (there, _), open_client(NetworkSettings()) as http:
        with pytest.raises(Failure) as caught:
            register(there, http, REDIRECT)
        return caught.value


@pytest.mark.parametrize(
    ("answer", "method"),
    [
        ({}, None),
        ({"token_endpoint_auth_method": "none", "client_secret": "left-over"}, None),
        ({"client_secret": "s"}, "client_secret_basic"),
        ({"client_secret": "s", "token_endpoint_auth_method": "client_secret_post"}, "client_secret_post"),
    ],
)
def test_the_answer_says_how_to_prove_ourselves(answer: dict[str, Any], method: str | None) -> None:
    found = registered(answer)
    assert (found.credential.method if found.credential else None) == method
    assert found.redirect_uris == (REDIRECT,)


@pytest.mark.parametrize(
    ("methods", "asked"),
    [
        ((), "none"),
        (("private_key_jwt", "none"), "none"),
        (("client_secret_post", "client_secret_basic"), "client_secret_basic"),
        (("client_secret_post",), "client_secret_post"),
    ],
)
def test_a_secret_is_asked_for_only_where_the_server_takes_nothing_else(methods: tuple[str, ...], asked: str) -> None:
    answer = {"client_id": "c", "client_secret": "s"}
    with server(201, answer, auth_methods=methods) as (there, bodies), open_client(NetworkSettings()) as http:
        register(there, http, REDIRECT)
    assert json.loads(bodies[0])["token_endpoint_auth_method"] == asked


def test_a_server_that_wants_a_key_of_ours_is_refused_before_it_is_asked() -> None:
    assert "private_key_jwt" in refused(201, {"client_id": "c"}, auth_methods=("private_key_jwt",)).message
    with pytest.raises(Failure):
        method_with_secret("https://a.example", ("none",))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({}, "no client id"),
        ({"client_id": ""}, "no client id"),
        ({"client_id": 7}, "no client id"),
        ({"client_id": "c", "token_endpoint_auth_method": "private_key_jwt"}, "private_key_jwt"),
        ({"client_id": "c", "token_endpoint_auth_method": "client_secret_basic"}, "issued none"),
        ([], "no client id"),
    ],
)
def test_an_answer_that_cannot_be_used_is_said(answer: object, why: str) -> None:
    assert why in refused(201, answer).message


def test_a_refusal_says_what_to_change() -> None:
    failure = refused(400, {"error": "invalid_redirect_uri", "error_description": "use\nlocalhost"})
    assert failure.reason == "configuration_invalid"
    assert "(invalid_redirect_uri: use localhost)" in failure.message
    assert "`redirect`" in failure.advice
    assert "`client_id`" in refused(403, {"error": "access_denied"}).advice
    assert refused(503, {}).reason == "idp_unreachable"


def test_a_registration_whose_secret_has_ended_is_of_no_use() -> None:
    assert registered({"client_secret": "s", "client_secret_expires_at": 500}).expires_at == 500
    for never in (0, None, "soon", True, -5):
        assert registered({"client_secret": "s", "client_secret_expires_at": never}).expires_at == 0
    ends = Registration("https://a.example", "c", (REDIRECT,), expires_at=500)
    assert ends.serves(REDIRECT, now=499)
    assert not ends.serves(REDIRECT, now=500)
    assert not ends.serves(REDIRECT.replace("8400", "8401"), now=1)
    assert not ends.serves(None, now=1), "it was not registered for the device flow"


@pytest.mark.parametrize(
    ("status", "answer", "known"),
    [
        (401, {"error": "invalid_client"}, False),
        (400, {"error": "invalid_client"}, False),
        (400, {"error": "invalid_grant"}, True),
        (400, {"error": "unauthorized_client"}, True),
        (503, {}, True),
        (401, {}, True),
    ],
)
def test_only_a_clear_no_makes_a_client_unknown(status: int, answer: dict[str, Any], known: bool) -> None:
    with server(status, answer) as (there, _), open_client(NetworkSettings()) as http:
        assert is_known(there, http, Client("c", "registered")) is known


def test_a_client_secret_is_not_printed() -> None:
    credential = Credential(Secret("of-the-company"), "client_secret_basic")
    assert "of-the-company" not in repr(Client("c", "configured", credential))
    form, basic = credential.attach({"client_id": "a b", "code": "x"})
    assert form == {"code": "x"}
    assert basic == ("a+b", "of-the-company")
