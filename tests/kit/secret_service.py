"""A D-Bus session with GNOME Keyring in it, unlocked, in folders of its own; works as root and without a display."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

WITHIN: Final = 30.0
"""Seconds for a daemon to be there on a busy machine."""
_PASS_PHRASE: Final = b"correct horse battery staple"

_UNLOCKED = "import secretstorage as s; c = s.get_collection_by_alias(s.dbus_init(), 'login'); assert not c.is_locked()"
_LOCK = "import secretstorage as s; s.get_default_collection(s.dbus_init()).lock()"


@dataclass(frozen=True, slots=True)
class SecretService:
    """What a program needs to find the keyring, and what may happen to it."""

    environ: dict[str, str]
    """HOME, XDG_RUNTIME_DIR, XDG_DATA_HOME, DBUS_SESSION_BUS_ADDRESS, PATH and a few more; nothing of ours."""
    home: Path
    """Everything that the keyring writes is below it."""
    keyring: "subprocess.Popen[bytes]"

    def lock(self) -> None:
        """Locks the default collection; without a display no prompt can open it again."""
        subprocess.run([sys.executable, "-c", _LOCK], env=self.environ, check=True, timeout=WITHIN)

    @contextlib.contextmanager
    def frozen(self) -> Generator[None]:
        """The daemon does not answer within this block."""
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    def freeze(self) -> None:
        self.keyring.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.keyring.send_signal(signal.SIGCONT)

    def exported(self, patch: pytest.MonkeyPatch) -> None:
        """Puts the environment into this process; the rest of it stays."""
        for name, value in self.environ.items():
            patch.setenv(name, value)


def missing() -> str:
    """What has to be installed before `secret_service` works; empty for nothing."""
    return " ".join(name for name in ("dbus-daemon", "gnome-keyring-daemon") if shutil.which(name) is None)


@contextlib.contextmanager
def secret_service(tmp: Path) -> Generator[SecretService]:
    """Starts both daemons and stops them by their ids. `tmp` becomes the home; skips where they are not installed."""
    if names := missing():
        pytest.skip(f"needs {names}")
    tmp.mkdir(parents=True, exist_ok=True)
    # Sockets have 107 characters for their path, and temporary folders of tests are long.
    with contextlib.ExitStack() as stack:
        runtime = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ss", dir="/tmp")))
        environ = {
            "HOME": str(tmp),
            "XDG_RUNTIME_DIR": str(runtime),
            "XDG_DATA_HOME": str(tmp / "data"),
            "XDG_CONFIG_HOME": str(tmp / "config"),
            "XDG_CACHE_HOME": str(tmp / "cache"),
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={runtime}/bus",
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
        }
        bus = _start(stack, ["dbus-daemon", "--session", "--nofork", f"--address=unix:path={runtime}/bus"], environ)
        _wait(lambda: (runtime / "bus").is_socket(), bus, "the bus")
        keyring = _start(
            stack,
            [
                "gnome-keyring-daemon",
                "--foreground",
                "--unlock",
                "--components=secrets",
                f"--control-directory={runtime}/keyring",
            ],
            environ,
            _PASS_PHRASE,
        )
        service = SecretService(environ, tmp, keyring)
        stack.callback(service.thaw)  # a frozen daemon does not hear that it should stop
        _wait(lambda: _unlocked(environ), keyring, "the unlocked keyring")
        yield service


def _start(
    stack: contextlib.ExitStack, command: list[str], environ: dict[str, str], stdin: bytes = b""
) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    stack.callback(_stop, process)
    assert process.stdin is not None
    with process.stdin as pipe:
        pipe.write(stdin)
    return process


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(WITHIN)


def _unlocked(environ: dict[str, str]) -> bool:
    ran = subprocess.run(
        [sys.executable, "-c", _UNLOCKED], env=environ, stderr=subprocess.DEVNULL, check=False, timeout=WITHIN
    )
    return ran.returncode == 0


def _wait(ready: Callable[[], bool], process: "subprocess.Popen[bytes]", what: str) -> None:
    until = time.monotonic() + WITHIN
    while not ready():
        assert process.poll() is None, f"{what} ended at once"
        assert time.monotonic() < until, f"{what} was not there within {WITHIN:g} s"
        time.sleep(0.02)
