"""A small MCP host: what Claude Desktop does with `acp-stdio run`, JSON-RPC over pipes."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from acp_stdio.demo.processes import Child, ChildError

AGENT_NAME: Final = "claude-ai"
AGENT_VERSION: Final = "0.1.0"
ANSWER_SECONDS: Final = 20.0
REASON: Final = "io.github.acp-stdio/reason"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the agent got for a tool call."""

    text: str
    refused: bool
    """`isError`: by the backend, or by acp-stdio if `reason` is set."""
    reason: str = ""
    """acp-stdio's word for why nothing was sent, see the README."""


class Agent:
    """A running `acp-stdio run` and the host that talks to it."""

    def __init__(self, person: str, env: Mapping[str, str]) -> None:
        self._child = Child(f"{person}'s agent", "acp_stdio", "run", "finance", env=env)
        self._last_id = 0

    def start(self) -> None:
        """The handshake. Raises `ChildError` if `run` does not answer it."""
        client = {"name": AGENT_NAME, "version": AGENT_VERSION}
        self._ask("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client})
        self._say({"method": "notifications/initialized"})

    def call(self, tool: str, **arguments: str) -> Answer:
        """One tool call. Raises `ChildError` if there is no answer in time, or a protocol error instead."""
        result = self._ask("tools/call", {"name": tool, "arguments": arguments})
        text = " ".join(part.get("text", "") for part in result.get("content", []))
        return Answer(text, bool(result.get("isError")), result.get("_meta", {}).get(REASON, ""))

    def _say(self, frame: dict[str, Any]) -> None:
        self._child.send(json.dumps({"jsonrpc": "2.0"} | frame))

    def _ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._last_id += 1
        self._say({"id": self._last_id, "method": method, "params": params})
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            frame = json.loads(self._child.line(max(0.0, deadline - time.monotonic())))
            if frame.get("id") != self._last_id or "method" in frame:
                continue  # a notification, such as a list that has changed
            if "error" in frame:
                raise ChildError(f"{self._child.name}: {method} was answered with {frame['error']}")
            return frame["result"]

    def close(self) -> None:
        self._child.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
