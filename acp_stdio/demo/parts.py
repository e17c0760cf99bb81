"""The real parts of the story. A test replaces one by a broken one to see the story fail."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.request import ProxyHandler, Request, build_opener

from acp_stdio.demo.agent import Agent, Answer
from acp_stdio.demo.people import SARAH
from acp_stdio.demo.processes import Child, ChildError
from acp_stdio.demo.stage import Desk, base_environment
from acp_stdio.errors import EXIT_AUDIT, EXIT_BACKEND, EXIT_NETWORK, EXIT_OK

COMMAND_SECONDS: Final = 30.0


class Parts:
    """Starts servers, agents and commands as processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._environment = base_environment(folder)

    def idp(self) -> Child:
        return Child("the identity provider", "acp_stdio.demo.idp", "--until-eof", env=self._environment)

    def finance_with_key(self) -> Child:
        return self._finance(self.log_with_key, "--api-key")

    def finance_with_tokens(self, issuer: str) -> Child:
        return self._finance(self.log_with_tokens, "--issuer", issuer)

    @property
    def log_with_key(self) -> Path:
        return self.folder / "finance-with-key.log"

    @property
    def log_with_tokens(self) -> Path:
        return self.folder / "finance.log"

    def _finance(self, log: Path, *mode: str) -> Child:
        words = (*mode, "--log", str(log), "--until-eof")
        return Child("the finance server", "acp_stdio.demo.finance", *words, env=self._environment)

    def agent_with_key(self) -> Child:
        """An agent that everybody gives the same API key; one process, since its libraries take a second to load."""
        return Child("an agent", "acp_stdio.demo.direct", env=self._environment)

    def ask_with_key(self, agent: Child, finance: Mapping[str, Any], tool: str, **arguments: str) -> Answer:
        """A tool call by an agent that has the API key in its configuration."""
        order = {"url": finance["url"], "api_key": finance["api_key"], "tool": tool, "arguments": arguments}
        agent.send(json.dumps(order))
        return Answer(**json.loads(agent.line(COMMAND_SECONDS)))

    def login(self, desk: Desk) -> str:
        return self.command(desk, "login", "finance")

    def logout(self, desk: Desk) -> str:
        return self.command(desk, "logout")

    def agent(self, desk: Desk) -> Agent:
        return Agent(desk.person.account, desk.environment())

    def check_backend(self, desk: Desk, log: Path, *more: str) -> dict[str, Any]:
        """The report on the desk's finance server, good or bad."""
        call = ("--tool", "quarterly_report", "--arguments", '{"quarter": "Q3"}')
        words = ("check-backend", "finance", "--json", "--log", str(log), *call, *more)
        return json.loads(self.command(desk, *words, codes=(EXIT_OK, EXIT_BACKEND)))

    def check_backend_with_key(self, issuer: str, finance: Mapping[str, Any]) -> dict[str, Any]:
        """The same by a developer, who looks at the server that everybody has the key of."""
        desk = Desk(SARAH, self.folder / "developer")
        desk.furnish(issuer, finance["url"])
        self.command(desk, "login", codes=(EXIT_NETWORK,))  # signed in; the server does not want to know
        key = desk.folder / "old.key"
        with open(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(finance["api_key"])
        return self.check_backend(desk, self.log_with_key, "--api-key-file", str(key))

    def verify(self, desk: Desk) -> dict[str, Any]:
        """What `audit verify` says of the desk's trail, good or bad."""
        return json.loads(self.command(desk, "audit", "verify", "--json", codes=(EXIT_OK, EXIT_AUDIT)))

    def command(self, desk: Desk, *words: str, codes: tuple[int, ...] = (EXIT_OK,)) -> str:
        """One of the product's commands on that desk; its result. Raises `ChildError` if it ends with another code."""
        name = f"acp-stdio {words[0]}"
        try:
            done = subprocess.run(
                [sys.executable, "-m", "acp_stdio", *words],
                env=desk.environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                encoding="utf-8",
                timeout=COMMAND_SECONDS,
                start_new_session=True,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            said = b"".join(part for part in (late.stderr, late.stdout) if part).decode(errors="replace")
            raise ChildError(f"{name} did not end within {COMMAND_SECONDS:.0f} s: {said.strip()}") from None
        if done.returncode not in codes:
            said = " ".join((done.stderr + done.stdout).split())
            raise ChildError(f"{name} ended with exit code {done.returncode}: {said}")
        return done.stdout.strip()

    def disable(self, idp: Mapping[str, Any], account: str) -> None:
        """What the administrator does when somebody leaves."""
        self._admin(idp, "disable", account)

    def live_sign_ins(self, idp: Mapping[str, Any], account: str) -> int:
        """How many sign-ins of this person the identity provider would still refresh."""
        return int(self._admin(idp, "sign-ins", account)["live"])

    @staticmethod
    def _admin(idp: Mapping[str, Any], door: str, account: str) -> dict[str, Any]:
        request = Request(  # noqa: S310  # the demo's own server
            f"{idp['issuer']}/admin/{door}",
            f"account={account}".encode(),
            {"Authorization": f"Bearer {idp['admin_key']}"},
        )
        with build_opener(ProxyHandler({})).open(request, timeout=10) as answer:
            return json.load(answer)
