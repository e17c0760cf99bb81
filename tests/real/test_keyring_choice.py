"""Which keyring is used is ours to say.

No variable, file or package leads to another one, and the few variables that a host leaves lead to the right one.
"""

import hashlib
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit import leaks
from tests.kit.secret_service import SecretService, secret_service
from tests.kit.signing_in import PATIENCE, ROOT

pytestmark = pytest.mark.real

KEY = "login.example.com/default/1f2e3d4c"
LABEL = f"Password for 'oauth' on 'acp-stdio/{KEY}/"
EXIT_KEYRING = 6

PROGRAM = """
import hashlib, sys
from pathlib import Path
from acp_stdio.errors import Failure
from acp_stdio.secrets import Secret
from acp_stdio.settings.model import StorageSettings
from acp_stdio.vault.open import open_vault

try:
    vault = open_vault(StorageSettings(), Path("/nonexistent"), may_prompt=False)
    if text := sys.stdin.read():
        vault.save(sys.argv[1], Secret(text))
    else:
        value = vault.load(sys.argv[1])
        print("nothing" if value is None else hashlib.sha256(value.reveal().encode()).hexdigest())
except Failure as e:
    print(e.reason, e.message, e.advice)
    sys.exit(e.meaning.exit_code)
"""
"""Saves what is on stdin, or prints the digest of what is stored; argv: the key."""


def use(environ: dict[str, str], text: str = "", *, packages: str = "") -> "subprocess.CompletedProcess[str]":
    """Runs `PROGRAM` with that environment and no more."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, KEY],
        env={**environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), packages]))},
        input=text,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def kept(environ: dict[str, str]) -> str:
    """The digest of what is stored."""
    return use(environ).stdout.strip()


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def secret_text(size: int) -> str:
    text = secrets.token_urlsafe(size)[:size]
    leaks.remember(text)
    return text


@pytest.fixture
def service() -> Iterator[SecretService]:
    with secret_service() as running:
        yield running


def test_what_a_terminal_stores_a_host_finds_and_renews(service: SecretService) -> None:
    text, newer = secret_text(3000), secret_text(3000)
    assert use(service.environ, text).returncode == 0
    assert kept(service.host_environ) == digest(text)
    assert use(service.host_environ, newer).returncode == 0
    assert kept(service.environ) == digest(newer)


def test_without_any_way_to_the_session_it_says_so(service: SecretService) -> None:
    environ = {name: value for name, value in service.host_environ.items() if name != "XDG_RUNTIME_DIR"}
    done = use(environ)
    if Path(f"/run/user/{os.getuid()}/bus").exists():
        assert done.stdout.startswith(("nothing", "keyring_locked"))  # of whoever runs this test: found, and rightly so
        return
    assert done.returncode == EXIT_KEYRING
    assert "no D-Bus session is running here" in done.stdout
    assert 'backend = "file"' in done.stdout


RECORDER = """
import pathlib
pathlib.Path(__file__).with_name("loaded").touch()
from keyring.backend import KeyringBackend
class Recorder(KeyringBackend):
    priority = 99
    def get_password(self, service, username): return None
    def set_password(self, service, username, password): pass
    def delete_password(self, service, username): pass
"""
"""A keyring that wants to be chosen and notes that it was loaded."""

OTHERS = [
    "recorder.Recorder",
    "keyring.backends.null.Keyring",
    "keyring.backends.fail.Keyring",
    "keyring.backends.chainer.ChainerBackend",
]


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A folder of packages with a foreign keyring, announced as `keyrings.alt` is."""
    folder = tmp_path / "packages"
    facts = folder / "recorder-1.dist-info"
    facts.mkdir(parents=True)
    (folder / "recorder.py").write_text(RECORDER)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: recorder\nVersion: 1\n")
    (facts / "entry_points.txt").write_text("[keyring.backends]\nrecorder = recorder\n")
    return folder


def led_astray(service: SecretService, foreign: Path, other: str) -> dict[str, str]:
    """Everything that `keyring` lets choose a backend or a collection, set to another one."""
    for place in (service.home / ".config", service.home / "data"):
        file = place / "python_keyring" / "keyringrc.cfg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"[backend]\ndefault-keyring={other}\nkeyring-path={foreign}\n")
    return {
        **service.host_environ,
        "XDG_DATA_HOME": service.environ["XDG_DATA_HOME"],
        "PYTHON_KEYRING_BACKEND": other,
        "KEYRING_PROPERTY_PREFERRED_COLLECTION": "/org/freedesktop/secrets/collection/session",
        "KEYRING_PROPERTY_APPID": "another",
    }


@pytest.mark.parametrize("other", OTHERS)
def test_no_variable_file_or_package_leads_to_another_keyring(
    service: SecretService, foreign: Path, other: str
) -> None:
    text = secret_text(300)
    done = use(led_astray(service, foreign, other), text, packages=str(foreign))
    assert done.returncode == 0, done.stdout
    assert [label for label in service.secrets() if label.startswith(LABEL)]
    assert kept(service.host_environ) == digest(text)
    assert not (foreign / "loaded").exists()


@pytest.mark.parametrize("other", OTHERS)
def test_without_a_keyring_no_other_takes_its_place(foreign: Path, other: str) -> None:
    text = secret_text(300)
    with secret_service(keyring=False) as service:
        done = use(led_astray(service, foreign, other), text, packages=str(foreign))
        assert leaks.scan([text], service.home) == []
    assert done.returncode == EXIT_KEYRING
    assert "no Secret Service runs" in done.stdout
    assert not (foreign / "loaded").exists()
