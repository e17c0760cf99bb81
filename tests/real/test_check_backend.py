"""`check-backend` as a developer runs it: real servers, a real sign-in, the report and the exit code."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from acp_stdio.demo.human import ACCOUNT_VARIABLE
from acp_stdio.demo.parts import Parts
from acp_stdio.demo.people import INTERN, SARAH, SERVICE_ACCOUNT
from acp_stdio.demo.processes import Child, ChildError
from acp_stdio.demo.stage import Desk, base_environment
from acp_stdio.errors import EXIT_BACKEND, EXIT_DENIED, EXIT_OK, EXIT_SIGN_IN_REQUIRED

pytestmark = pytest.mark.real

CALL = ("--tool", "quarterly_report", "--arguments", '{"quarter": "Q3"}')


@dataclass
class Acme:
    """Sarah's computer before one server of her company."""

    parts: Parts
    desk: Desk
    log: Path

    def command(self, *words: str, account: str = "sarah") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "acp_stdio", *words],
            env=self.desk.environment() | {ACCOUNT_VARIABLE: account},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def check(self, *words: str) -> tuple[int, dict[str, dict[str, Any]], dict[str, Any]]:
        """Exit code, the findings by name, and the whole report."""
        done = self.command("check-backend", "finance", "--json", *words)
        assert done.stdout, done.stderr
        report = json.loads(done.stdout)
        return done.returncode, {each["name"]: each for each in report["findings"]}, report


def before(tmp_path: Path, parts: Parts, issuer: str, url: str) -> Acme:
    desk = Desk(SARAH, tmp_path / "sarah")
    desk.furnish(issuer, url)
    return Acme(parts, desk, tmp_path / "finance.log")


def copied(server: Child, log: Path) -> None:
    """What the server prints goes into its log file, as a service manager does it."""
    log.touch()

    def copy() -> None:
        try:
            while True:
                line = server.line(300)
                with open(log, "a", encoding="utf-8") as file:
                    file.write(line + "\n")
        except ChildError:
            return

    threading.Thread(target=copy, daemon=True).start()


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return Parts(tmp_path)


@pytest.fixture
def issuer(parts: Parts) -> Iterator[str]:
    with parts.idp() as idp:
        yield idp.facts()["issuer"]


def test_a_server_that_verifies_tokens_and_names_the_person_passes(tmp_path: Path, parts: Parts, issuer: str) -> None:
    with parts.finance_with_tokens(issuer) as server:
        acme = before(tmp_path, parts, issuer, server.facts()["url"])
        copied(server, acme.log)
        signed_out = acme.command("check-backend", "finance")
        assert signed_out.returncode == EXIT_SIGN_IN_REQUIRED
        assert "acp-stdio login" in signed_out.stderr
        parts.login(acme.desk)
        code, found, report = acme.check("--log", str(acme.log), *CALL)
        assert (code, report["ok"]) == (EXIT_OK, True), report
        states = {each["state"] for each in found.values()}
        assert states == {"pass", "not tested"}
        assert [name for name, each in found.items() if each["state"] == "not tested"] == ["an expired token"]
        assert f"user={SARAH.email}" in found["the log names you"]["said"]
        assert found["a token for somebody else (the ID token)"]["said"] == "refused with 401"
        # The call is in her own trail too, under the id that the server was sent.
        (request,) = found["your own token"]["request_ids"]
        records = [
            json.loads(line) for file in acme.desk.state.rglob("*.jsonl") for line in file.read_text().splitlines()
        ]
        assert [each["event"] for each in records if each["id"] == request] == ["backend.check"]

        # The company's rules about agents hold for the check, too.
        rules = acme.desk.folder / "config" / "config.toml"
        permissive = rules.read_text()
        acme.desk.forbid("quarterly_report")
        forbidden = acme.command("check-backend", "finance", *CALL)
        assert (forbidden.returncode, forbidden.stdout) == (EXIT_DENIED, "")
        assert "do not allow quarterly_report" in forbidden.stderr
        rules.write_text(permissive)

        signed_in = acme.command("login", "finance", "--profile", "intern", account="intern")
        assert signed_in.returncode == 0, signed_in.stderr
        words = acme.command("check-backend", "finance", "--other-profile", "intern", "--log", str(acme.log), *CALL)
        assert words.returncode == EXIT_OK, words.stdout
        assert f"the log names {INTERN.email}" in words.stdout
        assert "let in: answered with isError" in words.stdout
        assert all(len(line) <= 80 for line in words.stdout.splitlines())


def test_a_shared_key_fails_and_its_line_says_why(tmp_path: Path, parts: Parts, issuer: str) -> None:
    with parts.finance_with_key() as server:
        facts = server.facts()
        acme = before(tmp_path, parts, issuer, facts["url"])
        copied(server, acme.log)
        key = tmp_path / "key"
        key.write_text(facts["api_key"])
        acme.command("login", "finance")  # signed in all the same; the server wants to hear nothing of it
        code, found, report = acme.check("--log", str(acme.log), "--api-key-file", str(key), *CALL)
        assert (code, report["ok"]) == (EXIT_BACKEND, False)
        assert {"your own token", "the shared API key"} <= {n for n, each in found.items() if each["state"] == "fail"}
        assert f"user={SERVICE_ACCOUNT}" in found["the log with the key"]["said"]
        assert facts["api_key"] not in json.dumps(report)


@pytest.mark.parametrize(
    ("careless", "failed"),
    [
        ((), {"the log names you"}),
        (("--any-audience",), {"a token for somebody else (the ID token)", "the log names you"}),
    ],
)
def test_a_server_that_verifies_and_drops_the_name_fails(
    tmp_path: Path, parts: Parts, issuer: str, careless: tuple[str, ...], failed: set[str]
) -> None:
    log = tmp_path / "finance.log"
    log.touch()
    words = ("--issuer", issuer, "--log", str(log), *careless)
    with Child("the nameless server", "tests.kit.nameless_server", *words, env=base_environment(tmp_path)) as server:
        acme = before(tmp_path, parts, issuer, server.facts()["url"])
        parts.login(acme.desk)
        code, found, _ = acme.check("--log", str(log), "--tool", "report")
        assert code == EXIT_BACKEND
        assert {name for name, each in found.items() if each["state"] == "fail"} == failed
        assert "user=service-account" in found["the log names you"]["said"]
        if not careless:
            code, found, _ = acme.check()  # without the log nothing is wrong that could be seen
            assert code == EXIT_OK
