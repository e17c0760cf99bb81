"""Starts the MCP server of `tests/kit/sdk_server.py` for a test, and reads its log."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 30.0
"""Seconds for a line that is bound to come."""


class SdkUpstream:
    """A running server and what it has logged."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._lines: list[str] = []
        self._marks = self._asked = 0
        self._news = threading.Condition()
        self._ended = False
        assert process.stdout is not None
        self.url: str = json.loads(process.stdout.readline())["url"]
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def lines(self, *parts: str, since: int = 0) -> list[str]:
        """The logged lines, from number `since` on, that hold all of `parts`."""
        with self._news:
            self._catch_up()
            return [line for line in self._lines[since:] if all(part in line for part in parts)]

    @property
    def now(self) -> int:
        """How many lines there are, for `since`."""
        with self._news:
            self._catch_up()
            return len(self._lines)

    def wait_for(self, *parts: str, since: int = 0, count: int = 1) -> list[str]:
        """Waits until `count` lines hold all of `parts`. Raises `AssertionError` after `PATIENCE`."""
        deadline = time.monotonic() + PATIENCE
        with self._news:
            while True:
                found = [line for line in self._lines[since:] if all(part in line for part in parts)]
                if len(found) >= count:
                    return found
                left = deadline - time.monotonic()
                if left <= 0 or self._ended:
                    raise AssertionError(f"the server logged {len(found)} of {count} lines with {parts}")
                self._news.wait(left)

    def steer(self, command: str) -> None:
        """Gives one of the commands and waits until the server has taken it."""
        since = self.now
        self._tell(command)
        self.wait_for(f"steered {command}", since=since)

    def stop(self) -> None:
        """Ends it, so that its port refuses connections. Safe to call twice."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._reader.join(10)

    def _tell(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def _catch_up(self) -> None:
        """Waits until all that the server has said by now is read: an answer can be here before its line is."""
        if self._ended or self._process.stdin is None or self._process.stdin.closed:
            return
        self._asked += 1
        self._tell(f"mark {self._asked}")
        mark = self._asked
        assert self._news.wait_for(lambda: self._marks >= mark or self._ended, PATIENCE), "the server is silent"

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._news:
                if line.startswith("steered mark "):
                    self._marks = int(line.split()[2])
                else:
                    self._lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()


@contextlib.contextmanager
def sdk_upstream(issuer: str, *options: str) -> Generator[SdkUpstream]:
    """Runs a server that takes tokens of `issuer` for itself. `options`: those of the program."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.kit.sdk_server", "--issuer", issuer, *options],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        server = SdkUpstream(process)
        try:
            yield server
        finally:
            server.stop()
