"""`token` hands out a token only where the configuration says so, for its server alone, and the trail knows."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jwt
import pytest

from acp_stdio.demo.parts import Parts
from acp_stdio.demo.people import SARAH
from acp_stdio.demo.stage import Desk
from acp_stdio.errors import EXIT_DENIED
from tests.kit import leaks

pytestmark = pytest.mark.real


def command(desk: Desk, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "acp_stdio", *words],
        env=desk.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def exports(desk: Desk) -> list[dict[str, Any]]:
    lines = [line for file in desk.state.rglob("*.jsonl") for line in file.read_text().splitlines()]
    return [record for record in map(json.loads, lines) if record["event"] == "token.exported"]


def test_a_token_is_handed_out_only_where_it_is_allowed_and_the_trail_knows(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    with parts.idp() as idp:
        issuer = idp.facts()["issuer"]
        with parts.finance_with_tokens(issuer) as finance:
            url = finance.facts()["url"]
            desk = Desk(SARAH, tmp_path / "sarah")
            desk.furnish(issuer, url)
            parts.login(desk)
            refused = command(desk, "token", "finance")
            assert (refused.returncode, refused.stdout) == (EXIT_DENIED, "")
            assert "allow_token_export" in refused.stderr
            assert not exports(desk)

            config = desk.folder / "config" / "config.toml"
            config.write_text("allow_token_export = true\n" + config.read_text())
            plain = command(desk, "token", "finance")
            leaks.remember(plain.stdout.strip())
            claims = jwt.decode(plain.stdout.strip(), options={"verify_signature": False})
            assert (claims["aud"], claims["sub"]) == (url, SARAH.sub)
            headers = json.loads(command(desk, "token", "finance", "--headers").stdout)
            leaks.remember(headers["Authorization"].split()[1])
            assert headers["Authorization"].startswith("Bearer ey")
            assert len(exports(desk)) == 2
            record = exports(desk)[0]
            assert (record["upstream"], record["user"]["label"]) == ("finance", SARAH.email)
            trail = "".join(file.read_text() for file in desk.state.rglob("*.jsonl"))
            assert plain.stdout.strip() not in trail
