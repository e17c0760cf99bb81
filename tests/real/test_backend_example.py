"""The guide's example server as a process: through acp-stdio its log says who asked, and it lets in nobody else."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from acp_stdio.demo.parts import Parts
from acp_stdio.demo.people import INTERN, SARAH
from acp_stdio.demo.stage import Desk
from tests.architecture.walk import ROOT

pytestmark = pytest.mark.real

EXAMPLE = ROOT / "configs" / "guides" / "example_server.py"
PATIENCE = 60.0


@dataclass
class Acme:
    """A company with the example server."""

    parts: Parts
    url: str
    issuer: str
    server: "subprocess.Popen[str]"

    def desk(self, person: Any) -> Desk:
        desk = Desk(person, self.parts.folder / person.account)
        desk.furnish(self.issuer, self.url)
        self.parts.login(desk)
        return desk

    def next_line(self, tool: str) -> str:
        """The next line of the server's log about `tool`."""
        log: IO[str] = self.server.stdout  # pyright: ignore[reportAssignmentType]  # opened as a pipe
        for line in log:
            if f" tool={tool} " in line:
                return line.rstrip("\n")
        raise AssertionError("the server has ended")


def get(url: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    try:
        with build_opener(ProxyHandler({})).open(Request(url, headers=headers), timeout=30) as answer:  # noqa: S310  # our own server
            return answer.status, dict(answer.headers), answer.read()
    except HTTPError as answer:
        with answer:
            return answer.code, dict(answer.headers), answer.read()


@contextlib.contextmanager
def example_server(issuer: str) -> Generator[tuple[str, "subprocess.Popen[str]"]]:
    """The example, as a person would start it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/mcp"
    process = subprocess.Popen(
        [sys.executable, str(EXAMPLE), issuer, url],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            assert process.poll() is None, "the example has ended"
            assert time.monotonic() < deadline, "the example does not answer"
            with contextlib.suppress(URLError):
                get(url)
                break
            time.sleep(0.05)
        yield url, process
    finally:
        process.terminate()
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def acme(tmp_path: Path) -> Iterator[Acme]:
    parts = Parts(tmp_path)
    with parts.idp() as idp:
        issuer = idp.facts()["issuer"]
        with example_server(issuer) as (url, server):
            yield Acme(parts, url, issuer, server)


def test_the_example_knows_who_asks_and_its_log_says_so(acme: Acme) -> None:
    with acme.parts.agent(acme.desk(SARAH)) as agent:
        agent.start()
        assert "612,000" in agent.call("salary", person="ceo").text
    line = acme.next_line("salary")
    assert line.startswith(f"user={SARAH.email} sub={SARAH.sub} agent=claude-ai/0.1.0 tool=salary request=")
    assert line.endswith(" outcome=ok")
    with acme.parts.agent(acme.desk(INTERN)) as agent:
        agent.start()
        answer = agent.call("salary", person="ceo")
    assert answer.refused
    assert f"{INTERN.email} may not read salaries" in answer.text
    line = acme.next_line("salary")
    assert line.startswith(f"user={INTERN.email} sub={INTERN.sub} ")
    assert line.endswith(" outcome=tool_error")


def test_the_example_says_where_its_tokens_come_from(acme: Acme) -> None:
    status, headers, _ = get(acme.url)
    assert status == 401
    where = headers["www-authenticate"].partition('resource_metadata="')[2].partition('"')[0]
    assert json.loads(get(where)[2])["authorization_servers"] == [acme.issuer]
    assert get(acme.url, Authorization="Bearer sk-live-123")[0] == 401


def test_the_example_is_short() -> None:
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 40
