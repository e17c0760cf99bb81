"""A real Secret Service in a D-Bus session of its own."""

import os
import secrets
import subprocess
import sys
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest

from acp_stdio.errors import Failure
from acp_stdio.secrets import Secret
from acp_stdio.settings.model import StorageSettings
from acp_stdio.vault import session_bus
from acp_stdio.vault.backends import BACKENDS
from acp_stdio.vault.open import open_vault
from acp_stdio.vault.store import Vault
from tests.kit import leaks
from tests.kit.secret_service import SecretService, nobody_answers, secret_service
from tests.unit.vault.contract import KEY, OpenAgain, VaultContract

pytestmark = pytest.mark.real

GENEROUS = 60.0
ROOT = Path(__file__).parent.parent.parent

IN_ANOTHER_PROCESS = """
import sys
from pathlib import Path
from acp_stdio.errors import Failure
from acp_stdio.settings.model import StorageSettings
from acp_stdio.vault import keyring_vault
from acp_stdio.vault.open import open_vault
keyring_vault.PERSON_WITHIN = 3.0
vault = open_vault(StorageSettings(), Path("/nonexistent"), may_prompt="may-prompt" in sys.argv)
try:
    value = vault.load(sys.argv[1])
except Failure as failure:
    print(failure.reason, failure.message)
else:
    print("none" if value is None else f"{len(value.reveal())} characters")
"""


@pytest.fixture(scope="module")
def shared_service(tmp_path_factory: pytest.TempPathFactory) -> Generator[SecretService]:
    with secret_service(tmp_path_factory.mktemp("home")) as service:
        yield service


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[SecretService]:
    """One that a test may break."""
    with secret_service(tmp_path / "home") as own:
        own.exported(monkeypatch)
        yield own


def keyring(*, may_prompt: bool = False) -> Vault:
    return open_vault(StorageSettings(), Path("/nonexistent"), may_prompt=may_prompt)


def failure_of(vault: Vault) -> Failure:
    with pytest.raises(Failure) as caught:
        vault.load(KEY)
    assert caught.value.reason == "keyring_locked"
    assert '[storage] backend = "file"' in caught.value.advice
    return caught.value


def elsewhere(environ: dict[str, str], *options: str) -> str:
    """What another process, with that environment and no more, reads."""
    ran = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS, KEY, *options],
        env={**environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=GENEROUS,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


class TestSecretService(VaultContract):
    @pytest.fixture
    def open_again(self, shared_service: SecretService, monkeypatch: pytest.MonkeyPatch) -> Generator[OpenAgain]:
        shared_service.exported(monkeypatch)
        yield keyring
        for key in (KEY, KEY + "/2"):
            keyring().delete(key)


def test_it_says_which_keyring_it_is(service: SecretService) -> None:
    assert keyring().name == "secret-service"
    assert "GNOME Keyring" in keyring().describe()


def test_a_locked_keyring_is_reported_and_nothing_is_lost(service: SecretService) -> None:
    keyring().save(KEY, Secret("x" * 5000))
    service.lock()
    assert failure_of(keyring()).message == "The keyring is locked."
    with pytest.raises(Failure):
        keyring().save(KEY, Secret("new"))
    with pytest.raises(Failure):
        keyring().delete(KEY)
    with pytest.raises(Failure):
        keyring().probe()
    service.unlock()
    assert keyring().load(KEY) == Secret("x" * 5000)


def test_a_locked_keyring_opens_no_dialog_unless_it_may(service: SecretService) -> None:
    keyring().save(KEY, Secret("x"))
    service.lock()
    with nobody_answers(service) as prompter:
        for operation in (keyring().probe, lambda: keyring().save(KEY, Secret("new"))):
            with pytest.raises(Failure, match="The keyring is locked"):
                operation()
        assert "The keyring is locked" in elsewhere(service.host_environ)
        assert prompter.opened == 0


def test_a_dialog_that_nobody_answers_ends_in_a_failure(service: SecretService) -> None:
    service.lock()
    with nobody_answers(service) as prompter:
        assert "did not answer within 3 s" in elsewhere(service.environ, "may-prompt")
        assert prompter.opened == 1


def test_a_locked_keyring_that_has_nowhere_to_ask_is_reported_too(service: SecretService) -> None:
    service.lock()
    answer = elsewhere(service.environ, "may-prompt")
    assert answer.startswith("keyring_locked ")
    assert "it is locked" in answer


def test_a_default_that_goes_away_between_the_look_and_the_use_opens_no_dialog(
    service: SecretService, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring().save(KEY, Secret("x"))
    look = session_bus.look

    def then_gone(*, may_prompt: bool) -> str:
        service.set_default(collection)
        found = look(may_prompt=may_prompt)
        service.set_default("/")
        return found

    collection = look(may_prompt=False)
    monkeypatch.setitem(BACKENDS, "linux", replace(BACKENDS["linux"], look=then_gone))
    with nobody_answers(service) as prompter:
        vault = keyring(may_prompt=True)
        assert vault.load(KEY) == Secret("x")
        vault.save(KEY, Secret("y"))
        assert vault.load(KEY) == Secret("y")
        assert prompter.opened == 0


def test_a_frozen_keyring_is_waited_for_as_long_as_allowed_and_works_again_later(service: SecretService) -> None:
    vault = keyring()
    vault.save(KEY, Secret("x"))
    with service.frozen():
        assert "did not answer within 3 s" in failure_of(vault).message
        assert "did not answer within 3 s" in failure_of(keyring(may_prompt=True)).message
    assert vault.load(KEY) == Secret("x")


def test_a_process_ends_although_its_keyring_is_frozen(service: SecretService) -> None:
    with service.frozen():
        assert "did not answer" in elsewhere(service.environ)


def test_a_host_that_drops_the_bus_address_does_not_hide_the_keyring(service: SecretService) -> None:
    keyring().save(KEY, Secret("x" * 5000))
    assert "DBUS_SESSION_BUS_ADDRESS" not in service.host_environ
    assert elsewhere(service.host_environ) == "5000 characters"


def test_a_session_without_a_secret_service_is_reported_with_the_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with secret_service(tmp_path, keyring=False) as bus:
        bus.exported(monkeypatch)
        for may_prompt in (False, True):
            assert "no Secret Service runs" in failure_of(keyring(may_prompt=may_prompt)).message


def test_plain_text_keyrings_beside_us_are_never_used(tmp_path: Path) -> None:
    """The package is one that discovery would choose: it is there, ready, and named by every setting there is."""
    module = tmp_path / "path" / "plain_text_ring.py"
    module.parent.mkdir()
    module.write_text(RECORDER, encoding="utf-8")
    metadata = module.parent / "plain_text_ring-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: plain-text-ring\nVersion: 1.0\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text("[keyring.backends]\nplain = plain_text_ring\n", encoding="utf-8")
    config = tmp_path / "config" / "python_keyring"
    config.mkdir(parents=True)
    (config / "keyringrc.cfg").write_text(
        f"[backend]\ndefault-keyring=plain_text_ring.Ring\nkeyring-path={module.parent}\n", encoding="utf-8"
    )
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "PYTHON_KEYRING_BACKEND": "plain_text_ring.Ring",
        "PYTHONPATH": f"{module.parent}{os.pathsep}{ROOT}",
        "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent/bus",
    }
    discovered = subprocess.run(
        [sys.executable, "-c", "import keyring; print(type(keyring.get_keyring()).__name__)"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=GENEROUS,
        check=True,
    )
    assert discovered.stdout.strip() == "Ring", "discovery itself would take it"
    (tmp_path / "used").unlink(missing_ok=True)
    ran = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS, KEY],
        env=environ,
        capture_output=True,
        text=True,
        timeout=GENEROUS,
        check=True,
    )
    assert ran.stdout.startswith("keyring_locked ")
    assert not (tmp_path / "used").exists()


RECORDER = """
import os, pathlib
from keyring.backend import KeyringBackend
pathlib.Path(os.environ["HOME"], "used").touch()
class Ring(KeyringBackend):
    priority = 99
    def get_password(self, service, username): return "from a plain text file"
    def set_password(self, service, username, password): ...
    def delete_password(self, service, username): ...
"""


def test_nothing_readable_is_on_disk(service: SecretService) -> None:
    values = [secrets.token_urlsafe(size) for size in (60, 1500, 6700)]
    leaks.remember(*values)
    for value in values:
        keyring().save(KEY, Secret(value))
    assert any(path.suffix == ".keyring" for path in service.home.rglob("*")), "the keyring has written below the home"
    assert leaks.scan(values, service.home) == []
    assert elsewhere(service.environ) == f"{len(values[-1])} characters"
