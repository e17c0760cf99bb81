"""A whole life, and then a search for every token it used: nowhere but on its way."""

import contextlib
import json
import re
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.kit.host import reason_of, text_of
from tests.kit.leaks import scan
from tests.kit.oidc_provider import oidc_provider
from tests.kit.scene import Scene, eventually, processes_below
from tests.kit.sdk_upstream import sdk_upstream

pytestmark = pytest.mark.real

MEMBERS = {
    "prev",
    "hash",
    *("schema", "id", "seq", "time", "event", "call", "user", "agent", "device", "upstream"),
    *("method", "tool", "arguments", "token", "trace"),
}
ENDING = {"outcome", "reason"}
MEASURED = {"duration_ms", "bytes_in", "bytes_out"}


class Watch:
    """Looks again and again at the command lines and environments of everything that runs in one home."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.seen: set[str] = set()
        self.commands: set[str] = set()

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)

    def _look(self) -> None:
        while not self._over.wait(0.02):
            for folder in processes_below(self._home):
                with contextlib.suppress(OSError):
                    command = (folder / "cmdline").read_bytes().decode(errors="replace")
                    self.seen |= {command, (folder / "environ").read_bytes().decode(errors="replace")}
                    words = command.split("\0")
                    self.commands.add(words[words.index("acp_stdio") + 1] if "acp_stdio" in words else words[0])


class Life:
    """What one person did, and everything that it left."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.texts: list[str] = []
        self.secrets: list[str] = []
        self.trail: list[dict[str, Any]] = []
        self.running: set[str] = set()
        self.commands: set[str] = set()


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    home = tmp_path_factory.mktemp("life")
    life = Life(home)
    with oidc_provider() as provider, sdk_upstream(provider.issuer) as upstream, Watch(home) as watch:
        scene = Scene(home, provider, upstream, identity='recheck_identity = "2s"')

        def command(*words: str) -> None:
            done = scene.machine.run(*words)
            life.texts += [done.stdout, done.stderr]

        command("login", "--verbose")
        for modern in (False, True):
            with scene.host(modern=modern) as host:
                host.tools()
                assert text_of(host.call("echo", text="hello")) == "hello"
                for tool in ("fail", "rpc_error", "no-such-tool"):
                    host.call(tool)
                host.ask("resources/read", {"uri": "no-such://thing"})
                upstream.steer("refuse 2")
                assert reason_of(host.call("echo", text="x")) == "login_required"
                slow = host.begin("slow")
                upstream.wait_for("tool=slow", "begun", since=0)
                host.tell("notifications/cancelled", {"requestId": slow})
                provider.fault("/token", "503", times=1)
                eventually(lambda: reason_of(host.call("whoami")) == "idp_unreachable", "the provider failed")
                eventually(lambda: not reason_of(host.call("whoami")), "and came back")
                host.send_raw(b"no JSON at all")
                life.texts += [line.decode() for line in host.lines]
        command("status")
        command("status", "--json")
        command("login")
        with scene.host() as host:
            assert text_of(host.call("whoami")) == "alice"
            command("logout")
            assert reason_of(host.call("whoami")) == "login_required"
            life.texts += [line.decode() for line in host.lines]
        command("status")
        life.secrets = provider.issued()
        life.trail = scene.trail()
    life.texts += upstream.lines()
    life.running, life.commands = watch.seen, watch.commands
    return life


def test_the_life_was_a_full_one(life: Life) -> None:
    assert len(life.secrets) >= 8
    assert {"login", "run", "token-helper", "status", "logout"} <= life.commands
    assert {r["event"] for r in life.trail} >= {"login", "logout", "call.intent", "call.outcome", "call.denied"}
    outcomes = {r["outcome"] for r in life.trail if r["event"] == "call.outcome"}
    assert outcomes >= {"ok", "tool_error", "error", "cancelled", "denied"}


def test_no_token_is_in_any_file_of_the_person(life: Life) -> None:
    assert scan(life.secrets, life.home) == []


def test_no_token_was_said_to_anybody(life: Life) -> None:
    assert scan(life.secrets, texts=life.texts) == []


def test_no_token_was_in_a_command_line_or_an_environment(life: Life) -> None:
    assert life.running
    assert scan(life.secrets, texts=sorted(life.running)) == []


def test_a_planted_token_is_found(life: Life, tmp_path: Path) -> None:
    """Or the searches above would prove nothing."""
    secret = max(life.secrets, key=len)
    (tmp_path / "planted.log").write_text(f"Authorization: Bearer {secret}\n")
    assert scan(life.secrets, tmp_path)
    assert scan(life.secrets, texts=[*life.texts, f"--token={secret[-40:]}"])


def calls(life: Life, event: str) -> list[dict[str, Any]]:
    return [record for record in life.trail if record["event"] == event]


def test_each_intent_comes_before_its_one_outcome(life: Life) -> None:
    intents = {record["call"]: record for record in calls(life, "call.intent")}
    outcomes = [record["call"] for record in calls(life, "call.outcome")]
    assert len(outcomes) == len(set(outcomes))
    assert set(outcomes) == set(intents)
    for place, record in enumerate(life.trail):
        if record["event"] == "call.outcome":
            assert intents[record["call"]] in life.trail[:place]
            assert record["seq"] > intents[record["call"]]["seq"]
    assert not {record["call"] for record in calls(life, "call.denied")} & set(intents)


def test_each_record_says_who_through_which_agent_did_what_when(life: Life) -> None:
    for record in [r for r in life.trail if r["event"].startswith("call.")]:
        ending = set[str]() if record["event"] == "call.intent" else ENDING
        measured = MEASURED if record["event"] == "call.outcome" else set[str]()
        assert set(record) - {"policy"} == MEMBERS | ending | measured  # what no rule saw has no policy
        assert record["schema"] == "acp.audit/1"
        assert uuid.UUID(record["id"]).version == 7
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["time"])
        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", record["trace"])
        assert (record["agent"]["name"], record["agent"]["version"]) == ("claude-ai", "0.1.0")
        assert record["upstream"] == "finance"
        assert record["arguments"]["bytes"] >= 0
        assert re.fullmatch(r"hmac-sha256:[0-9a-f]{8}:[0-9a-f]{64}", record["arguments"]["digest"])
        if record["event"] == "call.denied":
            assert record["token"] is None
            assert record["outcome"] in ("denied", "cancelled")
        else:
            assert (record["user"]["sub"], record["user"]["label"]) == ("alice", "alice@example.com")
            assert {"jti", "aud", "exp"} <= set(record["token"])


def test_lists_and_handshakes_are_no_calls(life: Life) -> None:
    methods = {record["method"] for record in life.trail if record["event"].startswith("call.")}
    assert methods == {"tools/call", "resources/read"}


def test_no_arguments_value_is_in_the_trail(life: Life) -> None:
    assert "hello" not in json.dumps(life.trail)
