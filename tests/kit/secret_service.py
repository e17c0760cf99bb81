"""A real Secret Service of one's own: gnome-keyring in a D-Bus session in a temporary folder.

Nothing of the machine's desktop is touched: own bus, own runtime folder, own home. The bus starts
no services by itself, so the two processes started here are all there are; no display is needed.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import pytest

jeepney: Any = import_module("jeepney")  # has annotations and leaves most of them open
_open: Any = import_module("jeepney.io.blocking").open_dbus_connection

PROGRAMS: Final = ("dbus-daemon", "gnome-keyring-daemon")
PATIENCE: Final = 30.0
"""Seconds for either process to start or stop; both take a few milliseconds."""
_PASS_PHRASE: Final = b"open sesame"
_TURN: Final = 0.02
_BUS: Final = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""
_NAME: Final = "org.freedesktop.secrets"
_OBJECT: Final = "/org/freedesktop/secrets"
_SECRETS: Final = jeepney.DBusAddress(_OBJECT, bus_name=_NAME, interface="org.freedesktop.Secret.Service")


def missing() -> str:
    """What has to be installed before `secret_service` works; empty for nothing."""
    return " ".join(name for name in PROGRAMS if shutil.which(name) is None)


@dataclass(slots=True)
class SecretService:
    """A running session. It starts unlocked; `environ` leads a program to it."""

    environ: dict[str, str]
    """HOME, XDG_RUNTIME_DIR, XDG_DATA_HOME, DBUS_SESSION_BUS_ADDRESS and PATH."""
    bus: "subprocess.Popen[bytes]"
    keyring: "subprocess.Popen[bytes] | None" = None

    @property
    def host_environ(self) -> dict[str, str]:
        """What a host leaves of it: the bus has to be found again from XDG_RUNTIME_DIR."""
        return {name: self.environ[name] for name in ("HOME", "PATH", "XDG_RUNTIME_DIR")} | {"USER": "somebody"}

    @property
    def home(self) -> Path:
        """Everything that the keyring writes is below it."""
        return Path(self.environ["HOME"])

    def exported(self, patch: pytest.MonkeyPatch) -> None:
        """Puts the environment into this process; the rest of it stays."""
        for name, value in self.environ.items():
            patch.setenv(name, value)

    def lock(self) -> None:
        """Locks every collection. Returns when they are locked."""
        with self.connection() as bus:
            collections = _property(bus, _SECRETS, "Collections")
            _call(bus, jeepney.new_method_call(_SECRETS, "Lock", "ao", (list(collections),)))
            _wait_for(lambda: _locked(bus), "the collection was not locked")

    def unlock(self) -> None:
        """Unlocks it without a dialog, as logging in to the desktop does."""
        internal = jeepney.DBusAddress(
            _OBJECT,
            bus_name=_NAME,
            interface="org.gnome.keyring.InternalUnsupportedGuiltRiddenInterface",
        )
        with self.connection() as bus:
            session = _call(bus, jeepney.new_method_call(_SECRETS, "OpenSession", "sv", ("plain", ("s", ""))))[1]
            master = (session, b"", _PASS_PHRASE, "text/plain")
            place = _default(bus)
            _call(bus, jeepney.new_method_call(internal, "UnlockWithMasterPassword", "o(oayays)", (place, master)))
            _wait_for(lambda: not _locked(bus), "the collection was not unlocked")

    def set_default(self, collection: str) -> None:
        """Makes the collection at that path the default one; `/`: none is."""
        with self.connection() as bus:
            _call(bus, jeepney.new_method_call(_SECRETS, "SetAlias", "so", ("default", collection)))

    @contextlib.contextmanager
    def frozen(self) -> Generator[None]:
        """The daemon keeps its name on the bus and answers nothing within this block."""
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    def freeze(self) -> None:
        """The daemon goes on to own its name and answers nothing."""
        if self.keyring is not None:
            self.keyring.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if self.keyring is not None:
            self.keyring.send_signal(signal.SIGCONT)

    def connection(self) -> Any:
        """A jeepney connection of the test's own; the caller closes it."""
        return _open(self.environ["DBUS_SESSION_BUS_ADDRESS"])

    def secrets(self) -> dict[str, str]:
        """Every stored item's label and value: what a person sees in Seahorse."""
        import secretstorage

        with self.connection() as bus:
            items = secretstorage.get_default_collection(bus).get_all_items()
            return {item.get_label(): item.get_secret().decode() for item in items}

    def sign_ins(self) -> list[str]:
        """The labels of what was stored for a sign-in. This computer's own key stays when everybody has left."""
        return [label for label in self.secrets() if "/device-key" not in label]

    def start_keyring(self) -> None:
        """Starts the daemon, unlocked, where none runs."""
        self.keyring = _start(
            [
                "gnome-keyring-daemon",
                "--foreground",
                "--unlock",
                "--components=secrets",
                f"--control-directory={self.environ['XDG_RUNTIME_DIR']}/keyring",
            ],
            self.environ,
            _PASS_PHRASE,
        )
        with self.connection() as bus:
            _wait_for(lambda: _owned(bus, _NAME), "gnome-keyring-daemon did not start")
            _wait_for(lambda: not _locked(bus), "the collection was not unlocked")


@contextlib.contextmanager
def secret_service(home: Path | None = None, *, keyring: bool = True) -> Generator[SecretService]:
    """Runs a session with an unlocked keyring; skips where the programs are not installed.

    `home` takes everything that the daemon writes; without it a folder of our own does. Without
    `keyring` nothing in the session keeps secrets. At the end both processes are gone.
    """
    if names := missing():
        pytest.skip(f"needs {names}")
    with tempfile.TemporaryDirectory(prefix="acp", dir="/tmp") as folder:  # a socket's path has at most 107 bytes
        runtime = Path(folder, "run")
        home = Path(folder, "home") if home is None else home
        runtime.mkdir(mode=0o700)
        home.mkdir(parents=True, exist_ok=True)
        socket = runtime / "bus"
        configuration = Path(folder, "bus.conf")
        configuration.write_text(_BUS.format(socket=socket))
        environ = {
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(runtime),
            "XDG_DATA_HOME": str(home / "data"),
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={socket}",
            "PATH": os.environ["PATH"],
        }
        service = SecretService(environ, _start(["dbus-daemon", "--nofork", f"--config-file={configuration}"], environ))
        try:
            _wait_for(lambda: _listens(service), "dbus-daemon did not start")
            if keyring:
                service.start_keyring()
            yield service
        finally:
            service.thaw()  # a frozen daemon does not hear that it should stop
            for process in (service.keyring, service.bus):
                if process is not None:
                    _stop(process)


@dataclass(slots=True)
class Prompter:
    """Stands where the desktop would show its dialog: counts the dialogs, and nobody ever answers one."""

    opened: int = 0


@contextlib.contextmanager
def nobody_answers(service: SecretService) -> Generator[Prompter]:
    """While this runs, a prompt of gnome-keyring (gcr's SystemPrompter) opens and stays open."""
    prompter = Prompter()
    ended = threading.Event()
    with service.connection() as bus:
        _call(bus, jeepney.message_bus.RequestName("org.gnome.keyring.SystemPrompter"))

        def serve() -> None:
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    message = bus.receive(timeout=0.1)
                    if message.header.fields.get(jeepney.HeaderFields.member) == "BeginPrompting":
                        prompter.opened += 1
                    if message.header.message_type is jeepney.MessageType.method_call:
                        bus.send(jeepney.new_method_return(message))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield prompter
        finally:
            ended.set()
            thread.join(PATIENCE)


def _listens(service: SecretService) -> bool:
    try:
        service.connection().close()
    except OSError:
        return False
    return True


def _default(bus: Any) -> str:
    return _call(bus, jeepney.new_method_call(_SECRETS, "ReadAlias", "s", ("default",)))[0]


def _locked(bus: Any) -> bool:
    """Also true where the default collection is not made yet."""
    path = _default(bus)
    place = jeepney.DBusAddress(path, bus_name=_NAME, interface="org.freedesktop.Secret.Collection")
    return path == "/" or bool(_property(bus, place, "Locked"))


def _start(command: list[str], environ: dict[str, str], stdin: bytes = b"") -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    assert process.stdin is not None
    with process.stdin as pipe:
        pipe.write(stdin)
    return process


def _owned(bus: Any, name: str) -> bool:
    return bool(_call(bus, jeepney.message_bus.NameHasOwner(name))[0])


def _property(bus: Any, place: Any, name: str) -> Any:
    return _call(bus, jeepney.Properties(place).get(name))[0][1]


def _call(bus: Any, message: Any) -> Any:
    reply = bus.send_and_get_reply(message, timeout=PATIENCE)
    assert reply.header.message_type is jeepney.MessageType.method_return, reply.body
    return reply.body


def _wait_for(reached: Callable[[], bool], otherwise: str) -> None:
    until = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < until, otherwise
        time.sleep(_TURN)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(PATIENCE)
