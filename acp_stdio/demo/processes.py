"""Children of the demo: started with pipes, ended by their own process id, never left behind."""

import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import IO, Any, Final, Self

START_SECONDS: Final = 20.0
END_SECONDS: Final = 3.0


class ChildError(Exception):
    """A child did not start, or did not answer in time. The text says which and what it said last."""


class Child:
    """A Python module running as a process of its own, read line by line."""

    def __init__(self, name: str, module: str, *arguments: str, env: Mapping[str, str]) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(env),
            text=True,
            encoding="utf-8",
            bufsize=1,
            start_new_session=True,  # Ctrl-C is for the demo alone, which then ends its children in order
        )
        self._said: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._readers = [
            threading.Thread(target=self._read_out, args=(self._process.stdout,), daemon=True),
            threading.Thread(target=self._read_err, args=(self._process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _read_out(self, stream: IO[str]) -> None:
        for line in stream:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def _read_err(self, stream: IO[str]) -> None:
        for line in stream:
            self._said.append(line.rstrip("\n"))

    def line(self, seconds: float) -> str:
        """The next line of stdout. Raises `ChildError` after `seconds` or when the child has ended."""
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            raise ChildError(f"{self.name} said nothing for {seconds:.0f} s. {self._last_words()}") from None
        if line is None:
            self._lines.put(None)
            raise ChildError(f"{self.name} has ended. {self._last_words()}")
        return line

    def facts(self) -> dict[str, Any]:
        """The JSON line that our servers print when they are ready."""
        return json.loads(self.line(START_SECONDS))

    def lines_so_far(self) -> list[str]:
        """Everything on stdout that was not read yet."""
        found: list[str] = []
        with contextlib.suppress(queue.Empty):
            while (line := self._lines.get_nowait()) is not None:
                found.append(line)
        return found

    def send(self, line: str) -> None:
        """One line to its stdin. Raises `ChildError` if it has ended."""
        stdin = self._process.stdin
        try:
            if stdin is None:
                raise OSError("no pipe")
            stdin.write(line + "\n")
            stdin.flush()
        except OSError:
            raise ChildError(f"{self.name} has ended. {self._last_words()}") from None

    def _last_words(self) -> str:
        return " ".join(self._said[-3:])

    def close(self) -> None:
        """Ends it: first by closing its stdin, then by signal. Returns when it is gone."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        for end in (lambda: None, self._process.terminate, self._process.kill):
            end()
            try:
                self._process.wait(END_SECONDS)
                break
            except subprocess.TimeoutExpired:
                continue
        for reader in self._readers:
            reader.join(END_SECONDS)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
