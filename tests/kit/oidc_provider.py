"""Starts a certified OpenID provider (`tests/idp/provider.mjs`) for a test, with controls to break things."""

import contextlib
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
import urllib.request
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

CLIENT_ID = "acp-stdio"
START_TIMEOUT = 60.0
"""Seconds; it takes one, and a busy machine takes its time."""
_HERE = Path(__file__).resolve().parent.parent / "idp"

Fault = Literal["503", "drop-before", "drop-after", "slow", "hold"]


@dataclass(frozen=True, slots=True)
class OidcProvider:
    """A running provider with the users alice, bob and carol, whose password is `<name>-password`."""

    issuer: str
    process: "subprocess.Popen[str]"

    def fault(self, path: str, mode: Fault, *, times: int = 1, milliseconds: int = 1000) -> None:
        """The next `times` requests for `path` fail so; `hold` waits for `release`."""
        self._control("fault", path=path, mode=mode, n=times, ms=milliseconds)

    def release(self) -> None:
        """Lets every held request go on, and holds no other."""
        self._control("release")

    def disable(self, user: str) -> None:
        """As if the company had closed the account."""
        self._control("disable", user=user)

    def enable(self, user: str) -> None:
        self._control("enable", user=user)

    def forget(self, client_id: str) -> None:
        """A registered client is not known any more."""
        self._control("forget", client=client_id)

    def add_resource(self, uri: str) -> None:
        """From now on JWT access tokens are issued for `uri`."""
        self._control("resource", uri=uri)

    def log(self) -> list[dict[str, Any]]:
        """Every request so far: `method`, `path`, `status` (0: not answered) and the form's field names."""
        return self._control("log")

    def issued(self) -> list[str]:
        """Every token and code issued so far, for the search that finds none of them anywhere."""
        return [entry["value"] for entry in self._control("issued")]

    def stop(self) -> None:
        """Ends it, so that its port refuses connections. Safe to call twice."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)

    def _control(self, name: str, **query: str | int) -> Any:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.issuer}/_{name}?{urlencode(query)}", timeout=30) as answer:
            return json.load(answer)


@contextlib.contextmanager
def oidc_provider(
    *,
    resources: Sequence[str] = (),
    access_ttl: int = 300,
    refresh_ttl: int = 86400,
    registration: bool = False,
    dpop_nonce: bool = False,
) -> Generator[OidcProvider]:
    """Runs a provider that issues JWT access tokens for `resources`; lifetimes are in seconds.

    `registration`: everybody may register a client (RFC 7591). `dpop_nonce`: proofs (RFC 9449) must have a nonce.

    Raises `RuntimeError` where Node or the packages are missing, or it does not start.
    """
    node = shutil.which("node")
    if node is None or not (_HERE / "node_modules").is_dir():
        raise RuntimeError(f"the test provider needs Node.js and `npm ci` in {_HERE}; scripts/test sets that up")
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [node, str(_HERE / "provider.mjs")],
            env={
                "PATH": os.environ.get("PATH", ""),
                "PORT": "0",
                "AT_TTL": str(access_ttl),
                "RT_TTL": str(refresh_ttl),
                "RESOURCES": " ".join(resources),
                "REGISTRATION": "1" if registration else "0",
                "DPOP_NONCE": "1" if dpop_nonce else "0",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        provider = OidcProvider("", process)
        try:
            line = _first_line(process)
            if not line:
                errors.seek(0)
                raise RuntimeError(f"the test provider did not start:\n{errors.read()}")
            provider = OidcProvider(json.loads(line)["issuer"], process)
            yield provider
        finally:
            provider.stop()
            if process.stdout is not None:
                process.stdout.close()


def _first_line(process: "subprocess.Popen[str]") -> str:
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    stdout = process.stdout
    assert stdout is not None
    threading.Thread(target=lambda: lines.put(stdout.readline()), daemon=True).start()
    try:
        return lines.get(timeout=START_TIMEOUT)
    except queue.Empty:
        return ""
