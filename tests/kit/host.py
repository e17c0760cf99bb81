"""Two hosts that launch `acp-stdio run` over pipes: one made of bytes, one on the official SDK."""

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp_types import Implementation

PATIENCE = 60.0
"""Seconds for an answer that is bound to come; a busy machine takes its time."""
AGENT = {"name": "claude-ai", "version": "0.1.0"}
LEGACY = "2025-11-25"
MODERN = "2026-07-28"
RUN = (sys.executable, "-m", "acp_stdio", "run")


def meta() -> dict[str, Any]:
    """The `_meta` that every request of the modern era carries."""
    prefix = "io.modelcontextprotocol/"
    return {
        "_meta": {
            f"{prefix}protocolVersion": MODERN,
            f"{prefix}clientCapabilities": {"elicitation": {}},
            f"{prefix}clientInfo": AGENT,
        }
    }


class RawHost:
    """A host that sees every byte. Its process is started by `start`, or when it is entered."""

    def __init__(self, environment: Mapping[str, str], home: Path, *, modern: bool = False) -> None:
        self.modern = modern
        self.stderr = home / f"stderr-{time.monotonic_ns()}"
        """What `run` wrote there: hosts keep it in a file."""
        self.lines: list[bytes] = []
        """Every line that came, in order."""
        self._last = 0
        self._news = threading.Condition()
        self._ended = False
        with self.stderr.open("wb") as errors:
            self.process = subprocess.Popen(
                RUN, env=dict(environment), cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.leave()

    def leave(self) -> int:
        """Closes our end, as a host that quits; returns the exit code."""
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(PATIENCE)
            raise
        finally:
            self._reader.join(PATIENCE)
            if self.process.stdout is not None:
                self.process.stdout.close()

    def kill(self) -> None:
        """Ends it as hosts do that lose their patience, with SIGKILL."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def send_raw(self, line: bytes) -> None:
        """One line, as it is."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def send(self, method: str, params: dict[str, Any] | None = None) -> int:
        """A request; returns its id. In the modern era `_meta` is added."""
        self._last += 1
        frame: dict[str, Any] = {"jsonrpc": "2.0", "id": self._last, "method": method}
        if self.modern:
            params = {**(params or {}), **meta()}
        if params is not None:
            frame["params"] = params
        self.send_raw(json.dumps(frame).encode())
        return self._last

    def tell(self, method: str, params: Any = None) -> None:
        """A notification."""
        frame: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        if params is not None:
            frame["params"] = params
        self.send_raw(json.dumps(frame).encode())

    def ask(self, method: str, params: dict[str, Any] | None = None) -> Any:
        """Sends a request and waits for its answer, a whole frame."""
        return self.answer(self.send(method, params))

    def call(self, tool: str, **arguments: Any) -> Any:
        """Calls a tool and returns the whole answer."""
        return self.answer(self.begin(tool, **arguments))

    def begin(self, tool: str, **arguments: Any) -> int:
        """Calls a tool without waiting."""
        return self.send("tools/call", {"name": tool, "arguments": arguments})

    def answer(self, request_id: int | str) -> Any:
        """The answer to a request that was sent."""
        return json.loads(self.raw_answer(request_id))

    def raw_answer(self, request_id: int | str) -> bytes:
        return self.wait_for(lambda frame: frame.get("id") == request_id and "method" not in frame)

    def wait_for(self, wanted: Callable[[Any], bool], since: int = 0) -> bytes:
        """The first line, from number `since` on, whose frame is wanted. Raises `AssertionError`."""
        deadline = time.monotonic() + PATIENCE
        with self._news:
            while True:
                for line in self.lines[since:]:
                    if wanted(json.loads(line)):
                        return line
                since = len(self.lines)
                left = deadline - time.monotonic()
                if left <= 0 or self._ended:
                    raise AssertionError("run ended" if self._ended else f"nothing came among {since} lines")
                self._news.wait(left)

    def shake_hands(self, capabilities: Mapping[str, Any] | None = None) -> Any:
        """`initialize` and `notifications/initialized`, or `server/discover`; returns the result."""
        if self.modern:
            return self.ask("server/discover")["result"]
        hello = {"protocolVersion": LEGACY, "capabilities": dict(capabilities or {}), "clientInfo": AGENT}
        result = self.ask("initialize", hello)["result"]
        self.tell("notifications/initialized")
        return result

    def tools(self) -> list[str]:
        """The names in `tools/list`."""
        return [tool["name"] for tool in self.ask("tools/list")["result"]["tools"]]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip(b"\n"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()


def text_of(answer: Any) -> str:
    """The text of a tool's answer."""
    return answer["result"]["content"][0]["text"]


def reason_of(answer: Any) -> str:
    """Why a call was refused; empty where it was not."""
    if "error" in answer:
        return answer["error"].get("data", {}).get("reason", "")
    return answer["result"].get("_meta", {}).get("io.github.acp-stdio/reason", "")


@contextlib.asynccontextmanager
async def sdk_host(
    environment: Mapping[str, str], home: Path, mode: str, arguments: Sequence[str] = (), **callbacks: Any
) -> AsyncGenerator[Client]:
    """The SDK's client in front of `acp-stdio run`; `mode`: `legacy`, `auto` or a modern version."""
    command, *words = RUN
    parameters = StdioServerParameters(command=command, args=[*words, *arguments], env=dict(environment), cwd=home)
    with (home / f"stderr-{time.monotonic_ns()}").open("w") as errors:
        async with Client(
            stdio_client(parameters, errlog=errors),
            mode=mode,
            client_info=Implementation(name=AGENT["name"], version=AGENT["version"]),
            read_timeout_seconds=PATIENCE,
            **callbacks,
        ) as client:
            yield client
