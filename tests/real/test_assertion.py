"""`assertion = true`: each request brings a statement that this computer's key signed, and the server can check it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from acp_stdio.demo.parts import Parts
from acp_stdio.demo.people import SARAH
from acp_stdio.demo.processes import Child
from acp_stdio.demo.stage import Desk, base_environment

pytestmark = pytest.mark.real

LARGE = 9_007_199_254_740_993


def command(desk: Desk, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "acp_stdio", *words],
        env=desk.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def records(desk: Desk) -> list[dict[str, Any]]:
    lines = [line for file in desk.state.rglob("audit/*.jsonl") for line in file.read_text().splitlines()]
    return [record for record in map(json.loads, lines) if record["event"].startswith("call.")]


def test_each_request_brings_a_statement_that_only_an_enrolled_computer_can_sign(tmp_path: Path) -> None:
    parts, enrolled = Parts(tmp_path), tmp_path / "enrolled"
    enrolled.mkdir()
    with parts.idp() as idp:
        issuer = idp.facts()["issuer"]
        words = ("--issuer", issuer, "--enrolled", str(enrolled))
        with Child("the witness", "tests.kit.witness_server", *words, env=base_environment(tmp_path)) as server:
            desk = Desk(SARAH, tmp_path / "sarah")
            desk.furnish(issuer, server.facts()["url"])
            config = desk.folder / "config" / "config.toml"
            config.write_text(
                config.read_text().replace("[upstreams.finance]", "[upstreams.finance]\nassertion = true")
            )
            # IT collects the key before anybody has signed in; it is the same one ever after.
            key = command(desk, "status", "--device-key")
            assert "d" not in json.loads(key)
            assert json.loads(command(desk, "status", "--device-key")) == json.loads(key)
            (enrolled / "sarah.json").write_text(key)
            parts.login(desk)
            with parts.agent(desk) as agent:
                agent.start()
                answer = agent.call("pay", to=LARGE, note="thanks – 谢谢")  # pyright: ignore[reportArgumentType]  # numbers too
                assert answer.text == f"paid {LARGE}"
                told = json.loads(server.line(60))
                checked = json.loads(command(desk, "check-backend", "finance", "--json"))
                assert checked["ok"], checked
                (enrolled / "sarah.json").unlink()
                refused = agent.call("pay", to=1, note="")  # pyright: ignore[reportArgumentType]  # numbers too
                assert refused.refused
    said, (intent, *_) = told["statement"], records(desk)
    assert f"user={SARAH.email} sub={SARAH.sub} agent=claude-ai/0.1.0 tool=pay" in told["line"]
    assert (said["iss"], said["token_iss"], said["sub"]) == (json.loads(key)["kid"], issuer, SARAH.sub)
    assert said["act"] == {"name": "claude-ai", "version": "0.1.0", "evidence": "self_reported"}
    assert said["exp"] - said["iat"] <= 60
    # What the server got pins the very record in the person's own trail.
    assert said["jti"] == intent["id"]
    assert said["log"]["seq"] == intent["seq"]
    assert said["log"]["hash"] == intent["hash"]
