"""No configuration at all: an address, a sign-in, calls; everything else is discovered and registered."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from acp_stdio.errors import Failure
from acp_stdio.secrets import Secret
from acp_stdio.tokens.clients import read_secret
from tests.kit import leaks
from tests.kit.oidc_provider import OidcProvider, oidc_provider
from tests.kit.secret_service import SecretService, secret_service
from tests.kit.signing_in import PATIENCE, Machine, mcp_server

pytestmark = pytest.mark.real


class BareMachine(Machine):
    """A machine that nobody has configured; its keyring is the desktop's."""

    def configure(self) -> None:
        """There is no file."""


@dataclass
class Scene:
    """A desktop with a keyring, an unconfigured `acp-stdio`, a company on the network."""

    machine: BareMachine
    idp: OidcProvider
    desktop: SecretService
    told: list[str] = field(default_factory=list[str])

    @property
    def url(self) -> str:
        return self.machine.upstream

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        done = self.machine.run(*words)
        self.told += [done.stdout, done.stderr]
        return done

    def doctor(self) -> dict[str, str]:
        """What it found, by the name of the check."""
        return {check["name"]: check["state"] for check in self.machine.json("doctor", self.url)["checks"]}

    def call(self) -> str:
        """What a tool says through `run URL`, called as a host does it: the server names whom it refuses."""
        frames: list[dict[str, Any]] = [
            {"id": 1, "method": "initialize", "params": _HELLO},
            {"method": "notifications/initialized"},
            {"id": 2, "method": "tools/call", "params": {"name": "salary", "arguments": {"person": "ceo"}}},
        ]
        with subprocess.Popen(
            [sys.executable, "-m", "acp_stdio", "run", self.url],
            env=self.machine.environment,
            cwd=self.machine.home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for frame in frames:
                process.stdin.write(json.dumps({"jsonrpc": "2.0", **frame}) + "\n")
                process.stdin.flush()
            answer: Any = {}
            for line in process.stdout:
                answer = json.loads(line)
                if answer.get("id") == 2:
                    break
            process.stdin.close()
            process.wait(PATIENCE)
        return str(answer["result"]["content"][0]["text"])


_HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "claude-ai", "version": "0.1.0"},
}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with (
        secret_service(tmp_path / "desktop") as desktop,
        oidc_provider(registration=True) as idp,
        mcp_server(idp.issuer, idp.add_resource) as url,
    ):
        runtime = {"XDG_RUNTIME_DIR": desktop.environ["XDG_RUNTIME_DIR"]}
        yield Scene(BareMachine(tmp_path / "home", "", url, extra_environment=runtime), idp, desktop)
        leaks.remember(*idp.issued())


def test_an_address_is_all_it_takes_to_sign_in_and_to_call(scene: Scene) -> None:
    assert scene.doctor()["provider/network"] == "skipped"
    done = scene.run("login", scene.url)
    assert done.returncode == 0, done.stderr
    assert "Signed in as alice@example.com" in done.stdout
    assert not (scene.machine.home / "config").exists()

    assert scene.call().startswith("alice"), "the server knows who asks"

    facts = scene.machine.json("status", "--check", scene.url)
    assert (facts["issuer"], facts["client_source"]) == (scene.idp.issuer, "registered")
    assert facts["upstreams"][0]["token"]["aud"] == scene.url
    assert "finance.read" in facts["scopes"], "the server asked for it"
    assert "(registered)" in scene.run("status").stdout

    found = scene.doctor()
    assert (found["session"], found["grant"]) == ("ok", "ok")
    assert found["provider/discovery"] in ("ok", "warning")
    again = scene.run("login", scene.url)
    assert again.stdout.startswith("Already signed in as alice@example.com")
    assert scene.run("logout").returncode == 0
    assert scene.desktop.sign_ins() == []
    assert "You signed out." in scene.call()
    assert leaks.scan(scene.idp.issued(), scene.machine.home, texts=scene.told) == []


def test_a_provider_that_forgot_us_is_registered_at_anew_with_one_sign_in(scene: Scene) -> None:
    scene.run("login", scene.url)
    old = scene.machine.json("status", scene.url)["client_id"]
    scene.idp.forget(old)
    assert "does not know this program any more" in scene.call()
    opened = len(scene.machine.seen.read_text().split())
    assert scene.run("login", scene.url).returncode == 0
    assert len(scene.machine.seen.read_text().split()) == opened + 1
    assert scene.machine.json("status", scene.url)["client_id"] != old
    assert scene.call().startswith("alice")


def test_a_client_secret_is_read_from_the_keyring_where_an_administrator_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaks.remember("of-the-company-and-nobody-else")
    with secret_service(tmp_path / "desktop") as desktop:
        desktop.exported(monkeypatch)
        ring: Any = import_module("keyring.backends.SecretService").Keyring()
        ring.set_password("acp-stdio/client-secret/finance", "oauth", "of-the-company-and-nobody-else")
        found = read_secret("keyring:finance", may_prompt=False)
        assert found == Secret("of-the-company-and-nobody-else")
        with pytest.raises(Failure, match="the keyring has no entry acp-stdio/client-secret/other"):
            read_secret("keyring:other", may_prompt=False)
