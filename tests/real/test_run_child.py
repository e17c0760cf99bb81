"""`run` before a child server on the official SDK's stdio transport: without a sign-in, and with the person's token."""

import base64
import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.kit.child_server import KEY
from tests.kit.host import RawHost, reason_of, text_of
from tests.kit.oidc_provider import OidcProvider, oidc_provider
from tests.kit.scene import PATIENCE, Scene
from tests.kit.signing_in import ROOT
from tests.protocol.stage import read_trail

pytestmark = pytest.mark.real

ERAS = pytest.mark.parametrize("modern", [False, True], ids=["legacy", "modern"])
TABLE = f"""
[upstreams.child]
transport = "stdio"
command = "{sys.executable}"
args = ["-m", "tests.kit.child_server"]
env = {{ PYTHONPATH = "{ROOT}" }}
"""


def machine(home: Path, configuration: str) -> dict[str, str]:
    """A host's environment before this configuration."""
    (home / "config").mkdir()
    (home / "config" / "config.toml").write_text(configuration)
    ours = {"ACP_STDIO_HOME": str(home), "SECRET_OF_OURS": "x"}
    return {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT), **ours}


def about(host: RawHost) -> dict[str, str]:
    found: dict[str, str] = json.loads(text_of(host.call("about")))
    return found


def lives(pid: str) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        os.kill(int(pid), 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@ERAS
def test_a_child_needs_no_sign_in_gets_nothing_of_ours_and_leaves_a_trail(tmp_path: Path, modern: bool) -> None:
    with RawHost(machine(tmp_path, TABLE), tmp_path, modern=modern) as host:
        host.shake_hands()
        assert {"echo", "about", "crash"} <= set(host.tools())
        assert text_of(host.call("echo", text="hello")) == "hello"
        child = about(host)
        assert lives(child["pid"])
        assert child["token"] == ""
        assert "ACP_STDIO_HOME" not in child["variables"]
        assert "SECRET_OF_OURS" not in child["variables"]
    assert not lives(child["pid"]), "it ends with us"
    trail = [r for r in read_trail(tmp_path / "state" / "default" / "audit") if r.get("tool") == "echo"]
    assert [(r["event"], r["upstream"], r["user"]) for r in trail] == [
        ("call.intent", "child", None),
        ("call.outcome", "child", None),
    ]


@ERAS
def test_a_child_that_crashes_is_started_again_and_the_call_that_it_took_along_is_not_repeated(
    tmp_path: Path, modern: bool
) -> None:
    with RawHost(machine(tmp_path, TABLE), tmp_path, modern=modern) as host:
        host.shake_hands()
        before = about(host)["pid"]
        lost = host.call("crash")
        assert reason_of(lost) == "upstream_unreachable"
        assert text_of(lost).startswith("This may have been carried out: check before repeating.")
        assert text_of(host.call("echo", text="again")) == "again"
        assert about(host)["pid"] != before


def test_a_host_that_is_killed_leaves_no_child_behind(tmp_path: Path) -> None:
    with RawHost(machine(tmp_path, TABLE), tmp_path) as host:
        host.shake_hands()
        child = about(host)["pid"]
        host.kill()
        assert host.process.stdin is not None
    descriptor = os.pidfd_open(int(child)) if lives(child) else -1  # its own stdin ended: it exits by itself
    if descriptor >= 0:
        import select

        assert select.select([descriptor], [], [], PATIENCE)[0]
        os.close(descriptor)


@pytest.fixture
def provider() -> Iterator[OidcProvider]:
    with oidc_provider() as provider:
        yield provider


def test_where_it_is_configured_each_call_carries_the_persons_own_token(tmp_path: Path, provider: OidcProvider) -> None:
    class Place:
        url = "https://child.example.com/api"
        """What the child's tokens are for; nothing is there."""

    scene = Scene(tmp_path, provider, Place())  # type: ignore[arg-type]  # only its address is used
    config = tmp_path / "config" / "config.toml"
    head = config.read_text().partition("[upstreams.")[0]
    table = f'{TABLE}token_meta = "{KEY}"\naudience = "{Place.url}"\n'
    rest = "[storage]" + config.read_text().partition("[storage]")[2]
    config.write_text(head + table + rest)
    with scene.host() as host:
        assert reason_of(host.call("about")) == "login_required"
    scene.login()
    with scene.host() as host:
        token = about(host)["token"]
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        assert (claims["sub"], claims["aud"]) == ("alice", Place.url)
        scene.logout()
        assert reason_of(host.call("about")) == "login_required"
    log = "".join(path.read_text() for path in (tmp_path / "log").glob("*.log*"))
    assert token not in log
