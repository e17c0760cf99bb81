"""Plays a host against our own `run`, once after a login.

It proves what the person cares about, that each upstream lets them in, over the very path their
host will use; and `run` fills the catalogue from the answers, so that the first start is quick.
"""

import json
import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any, Final, cast

from acp_stdio import __version__
from acp_stdio.runtime.compose import REHEARSAL
from acp_stdio.runtime.helper_process import HOST_ERA, LEGACY, MODERN, own_command
from acp_stdio.wire import methods

BOUND: Final = 60.0
"""Seconds for one era; `run`'s own patience is half of it."""
MAX_PAGES: Final = 100

_CLIENT: Final = {"name": "acp-stdio", "version": __version__}


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What one upstream said to this person."""

    upstream: str
    accepted: bool
    tools: int = 0
    problem: str = ""
    """Why it was not accepted, in words."""


def rehearse(options: list[str], upstream: str) -> Rehearsal:
    """Shakes hands and reads the lists, in both eras where no host waits that speaks one of them.

    `options`: the flags and the one TARGET of `run`.
    """
    problem = ""
    tools = -1
    host = os.environ.get(HOST_ERA, "")
    for era in [play for name, play in ((LEGACY, _legacy), (MODERN, _modern)) if host in ("", name)]:
        with _Stage(options) as stage:
            try:
                tools = max(tools, era(stage))
            except _Refused as e:
                problem = problem or str(e)
    return Rehearsal(upstream, tools >= 0, max(tools, 0), "" if tools >= 0 else problem)


class _Refused(Exception):
    """The upstream, or `run`, said no."""

    def __init__(self, message: str, supported: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.supported = supported
        """The versions that a server names which refused ours (MCP 2026-07-28, versioning)."""


class _Stage:
    """`acp-stdio run` as a child, and a request at a time."""

    def __init__(self, options: list[str]) -> None:
        self._process = subprocess.Popen(
            own_command("run", *options),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, REHEARSAL: "1"},
        )
        self._watchdog = threading.Timer(BOUND, self._process.kill)
        self._watchdog.daemon = True
        self._last = 0

    def __enter__(self) -> "_Stage":
        self._watchdog.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe(self._process.stdin).close()
        self._process.wait()
        self._pipe(self._process.stdout).close()
        self._watchdog.cancel()

    def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """The result of one request. Raises `_Refused`."""
        self._last += 1
        self._write({"jsonrpc": "2.0", "id": self._last, "method": method, "params": params})
        for line in self._pipe(self._process.stdout):
            frame = json.loads(line)
            if frame.get("id") == self._last and "method" not in frame:
                if "result" in frame:
                    return frame["result"]
                error: dict[str, Any] = frame["error"]
                raise _Refused(error.get("message", "it answered with an error"), _supported(error.get("data")))
        raise _Refused("the connection ended before an answer came")

    def tell(self, method: str) -> None:
        """Sends a notification."""
        self._write({"jsonrpc": "2.0", "method": method})

    def _write(self, frame: dict[str, Any]) -> None:
        try:
            pipe = self._pipe(self._process.stdin)
            pipe.write(json.dumps(frame).encode() + b"\n")
            pipe.flush()
        except OSError:
            raise _Refused("acp-stdio run ended at once") from None

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None
        return pipe


def _supported(data: object) -> list[str]:
    """The versions that a refusal names; none where it names none."""
    named: object = cast("dict[str, object]", data).get("supported") if isinstance(data, dict) else None
    return [str(version) for version in cast("list[object]", named)] if isinstance(named, list) else []


def _legacy(stage: _Stage) -> int:
    greeting = stage.ask(
        methods.INITIALIZE,
        {"protocolVersion": methods.LEGACY_VERSIONS[0], "capabilities": {}, "clientInfo": _CLIENT},
    )
    stage.tell(methods.INITIALIZED)
    return _read_lists(stage, greeting.get("capabilities", {}), {})


def _modern(stage: _Stage) -> int:
    meta = {
        "_meta": {
            methods.META_VERSION: methods.MODERN_VERSIONS[-1],
            "io.modelcontextprotocol/clientCapabilities": {},
            methods.META_CLIENT_INFO: _CLIENT,
        }
    }
    try:
        greeting = stage.ask(methods.DISCOVER, meta)
    except _Refused as refused:
        # It does speak our version after all, or the host that waits goes on in it, as one does that knows no other.
        if methods.MODERN_VERSIONS[-1] not in refused.supported and os.environ.get(HOST_ERA) != MODERN:
            raise
        greeting = stage.ask(methods.DISCOVER, meta)
    return _read_lists(stage, greeting.get("capabilities", {}), meta)


def _read_lists(stage: _Stage, capabilities: dict[str, Any], base: dict[str, Any]) -> int:
    """Reads every page of every list that the server has; returns the number of tools."""
    tools = 0
    for method, member in methods.LISTS.items():
        if method.partition("/")[0] not in capabilities:
            continue
        try:
            for result in _pages(stage, method, base):
                tools += len(result.get(member, [])) if method == methods.TOOLS_LIST else 0
        except _Refused:
            if method == methods.TOOLS_LIST:
                raise  # the others may be missing, templates for one
    return tools


def _pages(stage: _Stage, method: str, base: dict[str, Any]) -> Iterator[dict[str, Any]]:
    params = dict(base)
    for _ in range(MAX_PAGES):
        result = stage.ask(method, params)
        yield result
        cursor = result.get("nextCursor")
        if cursor is None:
            return
        params = {**base, "cursor": cursor}
