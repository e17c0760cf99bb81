"""Starts the MCP server of `tests/idp/bound_server.mjs`, which takes tokens with a proof of their key only."""

import contextlib
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent.parent / "idp"
PATIENCE = 60.0
"""Seconds for what is bound to happen."""
Line = dict[str, Any]


class BoundServer:
    """A running server and what it saw."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        self._process, self._stdout = process, process.stdout
        self._lines: list[Line] = []
        self._news = threading.Condition()
        first = self._stdout.readline()
        if not first:
            raise RuntimeError("the server did not start; it needs Node.js and `npm ci` in tests/idp")
        self.url: str = json.loads(first)["url"]
        threading.Thread(target=self._read, daemon=True).start()

    def seen(self, **members: Any) -> list[Line]:
        """The requests so far that have these members."""
        with self._news:
            return [line for line in self._lines if line.items() >= members.items()]

    def wait_for(self, holds: Callable[[], object], what: str) -> None:
        """Waits until `holds()`. Raises `AssertionError` after `PATIENCE`."""
        deadline = time.monotonic() + PATIENCE
        with self._news:
            while not holds():
                left = deadline - time.monotonic()
                assert left > 0, f"still not: {what}; the server saw {self._lines}"
                self._news.wait(left)

    def _read(self) -> None:
        for line in self._stdout:
            with self._news:
                self._lines.append(json.loads(line))
                self._news.notify_all()


@contextlib.contextmanager
def bound_server(issuer: str, *, nonce: int = 0, sse: bool = False) -> Generator[BoundServer]:
    """`nonce`: for how many requests each of the server's nonces is good; 0: it has none. `sse`: HTTP+SSE."""
    node = shutil.which("node")
    assert node is not None, "scripts/test installs Node.js"
    environment = {"PATH": os.environ.get("PATH", ""), "ISSUER": issuer, "NONCE": str(nonce)}
    with subprocess.Popen(
        [node, str(_HERE / "bound_server.mjs")],
        env=environment | ({"SSE": "1"} if sse else {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield BoundServer(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
