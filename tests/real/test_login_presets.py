"""Presets through the commands, as a person types them: what is said, shown, sent and left behind."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.kit import leaks
from tests.kit.host import LEGACY, RawHost
from tests.kit.scripted_presets import GoogleIdp, OktaIdp
from tests.kit.signing_in import Machine, bare_upstream

pytestmark = pytest.mark.real


class _Mcp(BaseHTTPRequestHandler):
    """An MCP server that takes any token and remembers it: the smallest one that a host can talk to."""

    tokens: list[str]

    def do_POST(self) -> None:
        request: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        results: dict[str, Any] = {
            "initialize": {
                "protocolVersion": LEGACY,
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "finance", "version": "1"},
            },
            "tools/list": {"tools": [{"name": "pay", "inputSchema": {"type": "object"}}]},
            "tools/call": {"content": [{"type": "text", "text": "paid"}]},
        }
        result = results.get(request["method"])
        if request["method"] == "tools/call":
            self.tokens.append(self.headers["Authorization"].removeprefix("Bearer "))
        body = json.dumps({"jsonrpc": "2.0", "id": request.get("id"), "result": result}).encode() if result else b""
        self.send_response(200 if result else 202)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.send_response(405 if self.path == "/mcp" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def upstream() -> Iterator[str]:
    with bare_upstream() as url:
        yield url


def google(home: Path, idp: GoogleIdp, upstream: str, form: str) -> Machine:
    secret = home / "client.secret"
    secret.touch(0o600)
    secret.write_text(idp.secret)
    return Machine(
        home / "home",
        idp.issuer,
        upstream,
        client_id=idp.client_id,
        identity=f'preset = "google"\nclient_secret_ref = "file:{secret}"\nrequire_account = {{ hd = "example.com" }}',
        upstream_lines=f'token_format = "{form}"',
    )


def test_okta_signs_in_and_status_tells_where_each_value_came_from(tmp_path: Path, upstream: str) -> None:
    with OktaIdp() as idp:
        machine = Machine(
            tmp_path / "home",
            idp.issuer,
            upstream,
            identity='preset = "okta"\nuser_label = ["email", "sub"]',
            upstream_lines='audience = "api://finance"\nscopes = ["finance.read"]',
        )
        done = machine.run("login", "--verbose")
        assert "Signed in as 00ualice" in done.stdout, done.stderr  # the file's user_label beats the preset's
        assert "deviates from the specifications: access tokens name the client in `cid`" in done.stderr
        shown = machine.run("status", "--verbose", "--check")
        assert shown.returncode == 0, shown.stdout + shown.stderr
        config = machine.home / "config" / "config.toml"
        of_identity, _, of_upstream = shown.stdout.partition("\nfinance\n")
        lines, its = (
            {line.split()[0]: line for line in block.splitlines() if line.endswith(")")}
            for block in (of_identity, of_upstream)
        )
        assert lines["issuer"].endswith(f"(file {config})")
        assert lines["user_label"].endswith(f"email sub  (file {config})")
        assert lines["scopes"].endswith("(preset okta)")
        assert lines["recheck_identity"].endswith("900 s  (default)")
        assert its["token_request"].endswith("scope  (preset okta)")
        assert its["token_format"].endswith("jwt  (default)")
        assert its["scopes"].endswith(f"finance.read  (file {config})")
        facts = machine.json("status", "--check")
        assert facts["upstreams"][0]["settings"]["token_request"] == {"value": "scope", "from": "preset okta"}
        assert facts["identity"]["preset"] == {"value": "okta", "from": f"file {config}"}
        assert facts["upstreams"][0]["token"]["aud"] == "api://finance"
        assert leaks.scan(idp.issued, machine.home, texts=[done.stdout, done.stderr, shown.stdout]) == []


@pytest.mark.parametrize("form", ["opaque", "id_token"])
def test_what_is_no_jwt_access_token_goes_out_and_the_trail_says_which_it_was(tmp_path: Path, form: str) -> None:
    handler = type("Handler", (_Mcp,), {"tokens": []})
    with GoogleIdp() as idp, ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        machine = google(tmp_path, idp, f"http://127.0.0.1:{server.server_port}/mcp", form)
        done = machine.run("login")
        assert done.returncode == 0, done.stderr
        with RawHost(machine.environment, machine.home) as host:
            host.shake_hands()
            assert host.call("pay")["result"]["content"][0]["text"] == "paid"
        server.shutdown()
        (sent,) = handler.tokens
        leaks.remember(*idp.issued)
        assert sent in idp.issued
        records = [
            json.loads(line)
            for path in (machine.state / "audit").glob("*.jsonl")
            for line in path.read_text().splitlines()
        ]
        (intent,) = (each for each in records if each["event"] == "call.intent")
        assert intent["user"]["label"] == "alice@example.com"
        if form == "opaque":
            assert intent["token"]["format"] == "opaque"
            assert "aud" not in intent["token"]
            assert sent.count(".") == 0
        else:
            claims = jwt.decode(sent, options={"verify_signature": False})
            assert intent["token"]["format"] == "id_token"
            assert intent["token"]["aud"] == claims["aud"] == idp.client_id


def test_googles_id_token_reaches_status_and_its_end_is_told(tmp_path: Path, upstream: str) -> None:
    with GoogleIdp(testing=True) as idp:
        machine = google(tmp_path, idp, upstream, "id_token")
        done = machine.run("login")
        assert "Signed in as alice@example.com" in done.stdout, done.stderr
        assert "while the consent screen is in Testing" in done.stderr
        facts = machine.json("status", "--check")
        day = datetime.fromisoformat(facts["until"]).astimezone().strftime("%Y-%m-%d %H:%M")
        assert 6 <= (datetime.fromisoformat(facts["until"]) - datetime.now(UTC)).days < 7
        assert f"until {day} (says your provider; a renewal may move that), or until you sign out" in done.stdout
        assert f"{day} (says your provider; a renewal may move that), or when you sign" in machine.run("status").stdout
        assert machine.json("login")["until"] == facts["until"]
        assert facts["tenant"] == "example.com"
        assert facts["upstreams"][0]["token_format"] == "id_token"
        assert facts["upstreams"][0]["token"]["aud"] == idp.client_id
        assert machine.run("logout").returncode == 0
        assert leaks.scan([*idp.issued, idp.secret], machine.home, texts=[done.stdout, done.stderr]) == []
