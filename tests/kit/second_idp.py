"""Starts the tests' second identity provider, `tests/idp/django_idp.py`, and is its person and its administrator."""

import base64
import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

SCRIPT = Path(__file__).resolve().parent.parent / "idp" / "django_idp.py"
PATIENCE = 60.0
"""Seconds for an answer on a busy machine."""


@dataclass(frozen=True, slots=True)
class SecondIdp:
    """A running provider."""

    issuer: str
    client_id: str

    def asked(self, path: str) -> list[int]:
        """The status of each request to one endpoint, oldest first."""
        found = _json(self.issuer.removesuffix("/o") + "/_log", {})["asked"]
        return [entry["status"] for entry in found if entry["path"] == f"/o/{path}/"]

    def about(self, token: str) -> dict[str, Any]:
        """What a server learns of a token, by the provider's own word (RFC 7662)."""
        server = base64.b64encode(b"server:the-servers-secret").decode()
        return _json(f"{self.issuer}/introspect/", {"Authorization": f"Basic {server}"}, {"token": token})


def _json(url: str, headers: dict[str, str], form: dict[str, str] | None = None) -> Any:
    data = urlencode(form).encode() if form else None
    request = urllib.request.Request(url, data, headers)  # noqa: S310 - loopback, http
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=PATIENCE) as answer:
        return json.load(answer)


@contextlib.contextmanager
def second_idp(folder: Path) -> Generator[SecondIdp]:
    """`folder` takes its database."""
    with subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder)],
        env={"PATH": os.environ["PATH"]},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        try:
            yield SecondIdp(told["issuer"], told["client_id"])
        finally:
            process.stdin.close()
            process.wait(PATIENCE)
