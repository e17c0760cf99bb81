"""The whole shell in one process: real pipes, real files, an upstream and a token helper that the test plays."""

import asyncio
import functools
import json
import os
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from acp_stdio.audit.trail import Trail
from acp_stdio.catalogue.file import CatalogueFile
from acp_stdio.downstream.stdio import Host
from acp_stdio.errors import Failure
from acp_stdio.identity.model import AccessToken, Account, Held, Session
from acp_stdio.relay.relay import Relay
from acp_stdio.runtime import keeper as keeper_module
from acp_stdio.runtime.demands import Demands
from acp_stdio.runtime.gate import Gate
from acp_stdio.runtime.helper_process import HelperProcess
from acp_stdio.runtime.helper_tools import HelperTools
from acp_stdio.runtime.holding import Holding
from acp_stdio.runtime.keeper import Keeper
from acp_stdio.runtime.lane import HostEnd, Lane, LaneParts
from acp_stdio.runtime.live import LiveFile
from acp_stdio.runtime.memory import Memory
from acp_stdio.runtime.observed import executable_of
from acp_stdio.runtime.pins import Pins
from acp_stdio.runtime.shell import Front, Parts, Shell
from acp_stdio.runtime.turn import Turn
from acp_stdio.runtime.who import Who
from acp_stdio.secrets import Secret
from acp_stdio.settings.policy_files import PolicyFiles
from acp_stdio.settings.revocations import Revocations
from acp_stdio.tokens.endings import ended
from acp_stdio.tokens.handover import LoginRequest
from acp_stdio.tokens.messages import Request
from acp_stdio.tokens.session_file import SessionFile
from acp_stdio.upstream.attach import AuthorizedConnector
from acp_stdio.upstream.http import Receiver
from acp_stdio.upstream.possession import ProvingConnector

ORIGIN = "https://finance.example.com:443"
PATIENCE = 30.0
"""Seconds for what is bound to happen."""
RECHECK = 900.0
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "claude-code", "version": "3"},
}


class Sent:
    """One request that reached the wire, and the pen to answer it with."""

    def __init__(self, method: str, head: str, body: bytes, receiver: Receiver, intents: list[str]) -> None:
        self.method, self.body, self.receiver = method, body, receiver
        self.headers = dict(line.split(": ", 1) for line in head.split("\r\n") if line)
        self.intents = intents
        """The calls whose intent the trail on disk held when this request left."""
        self.aborted = False
        self.sent = True
        """See `upstream.http.Exchange`."""

    def abort(self) -> None:
        self.aborted = True

    def answer(self, text: str = "done") -> None:
        """A tool's result, as one JSON body."""
        result = {"content": [{"type": "text", "text": text}], "resultType": "complete"}
        frame = {"jsonrpc": "2.0", "id": json.loads(self.body)["id"], "result": result}
        self.receiver.on_head(200, {"content-type": "application/json"})
        self.receiver.on_data(json.dumps(frame).encode())
        self.receiver.on_end()

    def refuse(self, status: int = 401, challenge: str = "") -> None:
        self.receiver.on_head(status, {"www-authenticate": challenge} if challenge else {})
        self.receiver.on_end()


class ScriptedConnector:
    """Implements `upstream.http.Connector`; the test answers."""

    def __init__(self, trail: Path) -> None:
        self.sent: list[Sent] = []
        self._trail = trail
        self.held = False

    def hold(self, held: bool) -> None:
        self.held = held

    def request(
        self,
        method: str,
        target: str,
        header_block: bytes,
        body: bytes,
        receiver: Receiver,
        *,
        head_timeout: float | None,
    ) -> Sent:
        assert target == "/mcp"
        assert head_timeout is None
        intents = [r["call"] for r in read_trail(self._trail) if r["event"] == "call.intent"]
        self.sent.append(Sent(method, header_block.decode(), body, receiver, intents))
        return self.sent[-1]

    async def aclose(self) -> None:
        """Nothing is open."""


class ScriptedHelper(HelperProcess):
    """A token helper whose answer the test gives."""

    def __init__(self, request: Request | None = None) -> None:
        self.request = request
        self.answer: Future[AccessToken | Failure] = Future()
        self.left = False

    def leave(self) -> None:
        self.left = True

    def wait(self, seconds: float) -> None:
        """It has no process."""


def read_trail(directory: Path) -> list[dict[str, Any]]:
    """All records of a folder."""
    found: list[dict[str, Any]] = []
    for path in sorted(directory.glob("*.jsonl")):
        found += [json.loads(line) for line in path.read_text().splitlines()]
    return [record for record in found if record["event"] != "trail.opened"]


class Stage:
    """One host, one upstream, one person who is signed in."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.trail_dir = folder / "audit"
        self.turn = Turn()
        self.session_file = SessionFile(folder, self.turn.stat)
        self.session = Session(
            generation=1,
            signed_in=True,
            account=Account("alice", "alice@example.com", "alice", "https://idp.example.com", "alice@example.com"),
            issuer="https://idp.example.com",
            client_id="acp-stdio",
            obtained_at=time.time(),
            confirmed_at=time.time(),
        )
        self.session_file.write(self.session)
        self.connector = ScriptedConnector(self.trail_dir)
        self.helpers: list[ScriptedHelper] = []
        self.trail = Trail(self.trail_dir)
        self.ended_with = ""
        self.given_back: list[Held] = []
        self._last = 0
        self._lines: list[bytes] = []
        monkeypatch.setattr(keeper_module, "HelperProcess", self._start_helper)

    def _start_helper(self, request: Request | None = None) -> ScriptedHelper:
        self.helpers.append(ScriptedHelper(request))
        return self.helpers[-1]

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """The shell, from its start until the host's end of the pipe is closed."""
        loop = asyncio.get_running_loop()
        stdin, self.host_out = os.pipe()
        self.host_in, stdout = os.pipe()
        pins = Pins(self.folder, "finance", ORIGIN, self.turn.stat)
        gate = Gate(
            "finance",
            PolicyFiles(self.folder / "config.toml", self.folder, self.turn.stat),
            pins,
            self.folder,
            lambda: relay.agent,
            lambda: executable_of(os.getppid()),
        )
        relay = Relay(
            "finance", {}, signed_in=True, mint=lambda: os.urandom(16).hex(), sieve=gate.sieve, notice=gate.notice
        )
        self.demands = Demands()
        self.holding = Holding("finance", self.session_file, RECHECK, lambda held, _: self.given_back.append(held))
        keeper = Keeper(
            "finance",
            lambda rejected: Request(None, "default", (), "finance", rejected),
            self.holding,
            RECHECK,
            loop,
            self._start_helper(),
            lambda failure: self.demands.not_renewed("finance", failure, self.holding.current()),
            is_revoked=Revocations(self.turn.stat).names,
        )
        who = Who(keeper, "finance")
        gate.tell = functools.partial(who.record, self.trail)
        proving = ProvingConnector(self.connector, ORIGIN)
        lane = LaneParts(
            "finance",
            "/mcp",
            AuthorizedConnector(proving, ORIGIN, "finance", proving),
            keeper,
            self.trail,
            Memory({}, CatalogueFile(self.folder / "cache", "finance", ORIGIN), lambda: False),
            who,
            gate,
            self.demands,
            self.turn,
        )
        parts = Parts(
            self.trail,
            HelperTools(
                self.holding,
                [self.holding],
                self.demands,
                self.folder,
                lambda names: LoginRequest(None, "default", tuple(names)),
                is_revoked=Revocations().names,
            ),
            LiveFile(self.folder, "finance"),
            self.turn,
        )
        shell = Shell(
            lambda host: self.front(relay, lane, host),
            parts,
            lambda lines, closed: Host(stdin, stdout, lines, closed),
            os.getppid(),
        )
        with anyio.fail_after(PATIENCE * 2):
            async with anyio.create_task_group() as tasks:

                async def serve() -> None:
                    self.ended_with = await shell.serve()

                tasks.start_soon(serve)
                try:
                    yield
                finally:
                    self.host_leaves()
        for descriptor in (stdin, stdout, self.host_in):
            os.close(descriptor)

    def front(self, relay: Relay, lane: LaneParts, host: HostEnd) -> Front:
        """Who serves the host."""
        return Lane(relay, lane, host)

    def host_leaves(self) -> None:
        """Closes the host's end of our stdin."""
        with suppress(OSError):
            os.close(self.host_out)

    # -- the host -----------------------------------------------------------------------------

    def call(self, tool: str = "report") -> int:
        """A tool call in the modern era, which needs no session; returns its id."""
        self._last += 1
        params = {"name": tool, "arguments": {}, "_meta": META}
        self.write({"jsonrpc": "2.0", "id": self._last, "method": "tools/call", "params": params})
        return self._last

    def calls_at_once(self, count: int, *, cancelled: int = 0) -> list[int]:
        """Tool calls that come in one piece, the first of them cancelled in the same breath; returns their ids."""
        ids = [self._last + number + 1 for number in range(count)]
        self._last += count
        params = {"name": "report", "arguments": {}, "_meta": META}
        frames: list[dict[str, Any]] = [
            {"jsonrpc": "2.0", "id": each, "method": "tools/call", "params": params} for each in ids
        ]
        frames += [
            {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": each}}
            for each in ids[:cancelled]
        ]
        self.write(b"\n".join(json.dumps(frame).encode() for frame in frames))
        return ids

    def cancel(self, request: int) -> None:
        self.write({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": request}})

    def write(self, frame: dict[str, Any] | bytes) -> None:
        """One line of the host's."""
        raw = frame if isinstance(frame, bytes) else json.dumps(frame).encode()
        os.write(self.host_out, raw + b"\n")

    async def read(self) -> Any:
        """The next frame that the host gets."""
        while not self._lines:
            data = b""
            while not data.endswith(b"\n"):
                data += await anyio.to_thread.run_sync(os.read, self.host_in, 1 << 20, abandon_on_cancel=True)
            self._lines += data.splitlines()
        return json.loads(self._lines.pop(0))

    # -- the rest of the world ----------------------------------------------------------------

    def token(self, **changes: Any) -> AccessToken:
        """A fresh token for the upstream."""
        now = time.time()
        known = AccessToken(Secret(f"token-{len(self.helpers)}"), "finance", ORIGIN, 1, now, now + 300, claims=CLAIMS)
        return replace(known, **changes)

    def give(self, answer: AccessToken | Failure) -> None:
        """The newest helper's answer."""
        self.helpers[-1].answer.set_result(answer)

    def confirm(self) -> None:
        """What a renewal writes before its token is given."""
        self.session_file.write(replace(self.session, confirmed_at=time.time()))

    def sign_out(self) -> None:
        """What a logout in a terminal writes first."""
        self.session_file.write(ended(self.session, "logout", time.time()))

    def records(self) -> list[tuple[str, str]]:
        """The trail as event and outcome."""
        return [(r["event"], r.get("outcome", "")) for r in read_trail(self.trail_dir)]

    async def until(self, holds: Callable[[], object]) -> None:
        """Lets the loop run until `holds()`."""
        with anyio.fail_after(PATIENCE):
            while not holds():  # noqa: ASYNC110 - what is waited for is in files and scripts, which set no event
                await anyio.sleep(0.005)


CLAIMS = {"jti": "J1", "aud": "https://finance.example.com/mcp", "exp": 2000000000, "sub": "alice"}
