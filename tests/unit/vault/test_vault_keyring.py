"""One named backend, calls that end, and errors in words."""

import threading
from collections.abc import Callable

import pytest

from acp_stdio.errors import Failure
from acp_stdio.secrets import Secret
from acp_stdio.settings.model import StorageBackend
from acp_stdio.vault import backends, keyring_vault
from acp_stdio.vault.backends import BACKENDS
from acp_stdio.vault.bounded import OneAtATime
from acp_stdio.vault.keyring_vault import KeyringVault
from tests.kit.fake_macos import FakeMacos
from tests.kit.fake_windows import BAD_STUB_DATA, NO_SUCH_LOGON_SESSION, FakeWindows
from tests.unit.vault.contract import KEY
from tests.unit.vault.stages import GENEROUS

SECRET = "rt-correct-horse-battery-staple"


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> FakeWindows:
    system = FakeWindows()
    system.install(monkeypatch)
    return system


@pytest.fixture
def macos(monkeypatch: pytest.MonkeyPatch) -> FakeMacos:
    system = FakeMacos()
    system.install(monkeypatch)
    return system


def vault_on(platform: str, limit: float = GENEROUS) -> KeyringVault:
    return KeyringVault(BACKENDS[platform], limit, may_prompt=False)


def every_failure(vault: KeyringVault) -> list[Failure]:
    """What each operation says on a keyring that refuses everything."""
    operations: list[Callable[[], object]] = [
        vault.probe,
        lambda: vault.load(KEY),
        lambda: vault.save(KEY, Secret(SECRET)),
        lambda: vault.delete(KEY),
    ]
    failures: list[Failure] = []
    for operation in operations:
        with pytest.raises(Failure) as caught:
            operation()
        failures.append(caught.value)
    return failures


def test_windows_keeps_the_record_on_this_machine_and_under_readable_names(windows: FakeWindows) -> None:
    vault_on("win32").save(KEY, Secret("x" * 3000))
    assert windows.items() == [f"acp-stdio/{KEY}/a", *(f"acp-stdio/{KEY}/a.{n}" for n in range(3))]
    assert {item["Persist"] for item in windows.credentials.values()} == {2}, "does not roam with the domain profile"
    assert {item["UserName"] for item in windows.credentials.values()} == {"oauth"}


def test_a_rotation_leaves_no_older_token_in_the_keyring(windows: FakeWindows) -> None:
    for letter in "abcd":
        vault_on("win32").save(KEY, Secret(letter * 300))
    assert len(windows.items()) == 1
    assert "c" * 20 not in str([item["CredentialBlob"].decode("utf-16-le") for item in windows.credentials.values()])


@pytest.mark.parametrize(
    ("number", "words"),
    [(NO_SUCH_LOGON_SESSION, "logon session"), (BAD_STUB_DATA, "too large"), (8, "Windows error 8")],
)
def test_an_error_of_windows_is_told_by_what_it_means(windows: FakeWindows, number: int, words: str) -> None:
    windows.fails_with = number
    for failure in every_failure(vault_on("win32")):
        assert failure.reason == "keyring_locked"
        assert words in failure.message
        assert '[storage] backend = "file"' in failure.advice
        assert SECRET not in str(failure) + failure.advice


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (-128, "denied"),
        (-25244, "another build of Python"),
        (-25293, "did not accept this program"),
        (-25308, "may not ask here"),
        (-67030, "not signed"),
        (-34018, "status -34018"),
    ],
)
def test_a_status_of_macos_is_told_by_what_it_means(macos: FakeMacos, status: int, words: str) -> None:
    macos.fails_with = status
    for failure in every_failure(vault_on("darwin")):
        assert failure.reason == "keyring_locked"
        assert words in failure.message
        assert '[storage] backend = "file"' in failure.advice
        assert SECRET not in str(failure) + failure.advice


def test_a_keyring_that_fails_in_the_middle_of_a_save_keeps_the_old_record(windows: FakeWindows) -> None:
    vault = vault_on("win32")
    vault.save(KEY, Secret("old"))
    calls = iter(range(1000))

    def fail_later() -> None:
        windows.fails_with = 5 if next(calls) == 8 else None

    windows.before = fail_later
    with pytest.raises(Failure, match="access was denied"):
        vault.save(KEY, Secret("n" * 9000))
    windows.before, windows.fails_with = lambda: None, None
    assert vault.load(KEY) == Secret("old")


def test_a_damaged_record_is_said_and_replaced_by_the_next_save(windows: FakeWindows) -> None:
    vault = vault_on("win32")
    vault.save(KEY, Secret("x" * 3000))
    windows.credentials[f"acp-stdio/{KEY}/a.1"]["CredentialBlob"] = b"y\0" * 1200
    with pytest.raises(Failure, match="damaged") as caught:
        vault.load(KEY)
    assert caught.value.reason == "keyring_locked"
    vault.save(KEY, Secret("new"))
    assert vault.load(KEY) == Secret("new")
    assert vault.delete(KEY)
    assert windows.items() == []


def test_a_record_with_a_hole_is_removed_with_all_its_pieces(windows: FakeWindows) -> None:
    vault = vault_on("win32")
    vault.save(KEY, Secret("x" * 3000))
    del windows.credentials[f"acp-stdio/{KEY}/a.1"]
    assert vault.delete(KEY)
    assert windows.items() == []


def test_a_keyring_that_cannot_delete_still_gives_the_last_record(windows: FakeWindows) -> None:
    vault = vault_on("win32")
    windows.fails_in, windows.fails_with = "CredDelete", 5
    for size in (3000, 300, 9000, 300, 3000):
        vault.save(KEY, Secret("x" * size))
        assert vault.load(KEY) == Secret("x" * size)


def test_what_somebody_else_deletes_meanwhile_is_not_an_error(macos: FakeMacos) -> None:
    vault = vault_on("darwin")
    for moment in range(20):
        macos.before = lambda: None
        vault.save(KEY, Secret("x" * 3000))
        macos.before = Somebody(macos, moment)
        vault.delete(KEY)
        assert macos.items() == []


class Somebody:
    """Empties the keychain before the call with that number."""

    def __init__(self, macos: FakeMacos, moment: int) -> None:
        self._macos = macos
        self._moment = moment
        self._calls = 0

    def __call__(self) -> None:
        if self._calls == self._moment:
            self._macos.passwords.clear()
        self._calls += 1


def test_a_keyring_that_takes_a_record_and_loses_it_does_not_lose_the_old_one(windows: FakeWindows) -> None:
    vault = vault_on("win32")
    vault.save(KEY, Secret("old"))

    def lose() -> None:
        windows.credentials.pop(f"acp-stdio/{KEY}/b", None)

    windows.before = lose
    with pytest.raises(Failure, match="does not give it back"):
        vault.save(KEY, Secret("new"))
    assert vault.load(KEY) == Secret("old")


def test_a_record_that_no_keyring_could_take_changes_nothing(windows: FakeWindows) -> None:
    vault = vault_on("win32")
    vault.save(KEY, Secret("old"))
    with pytest.raises(Failure, match="too large"):
        vault.save(KEY, Secret("x" * 100_000))
    assert vault.load(KEY) == Secret("old")


def test_a_call_that_hangs_ends_in_a_failure_and_the_next_one_does_not_overtake_it(
    windows: FakeWindows, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    order: list[str] = []

    def hang() -> None:
        order.append("call")
        assert go_on.wait(GENEROUS)
        order.append("end")

    vault = vault_on("win32", limit=0.2)
    vault.probe()  # loaded, however slow this machine is
    windows.before = hang
    monkeypatch.setattr(keyring_vault, "ANSWER_WITHIN", 0.2)
    failures = every_failure(vault)
    assert {failure.reason for failure in failures} == {"keyring_locked"}
    assert "did not answer within 0.2 s" in failures[0].message
    assert order == ["call"], "later calls wait for their turn instead of piling up threads"
    windows.before = lambda: None
    go_on.set()
    patient = KeyringVault(BACKENDS["win32"], GENEROUS, may_prompt=False)
    patient.save(KEY, Secret("new"))
    assert patient.load(KEY) == Secret("new")


def test_the_thread_of_a_hanging_call_does_not_keep_the_process_alive() -> None:
    go_on = threading.Event()
    daemons: list[bool] = []

    def call() -> None:
        daemons.append(threading.current_thread().daemon)
        go_on.wait(GENEROUS)

    calls = OneAtATime()
    with pytest.raises(TimeoutError):
        calls.run(call, 0.2)
    with pytest.raises(TimeoutError):
        calls.run(call, 0.0)
    assert daemons == [True]
    go_on.set()
    calls.run(lambda: None, GENEROUS)


def test_the_environment_and_a_configuration_file_choose_no_other_backend(
    windows: FakeWindows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    monkeypatch.setenv("KEYRING_PROPERTY_PERSIST", "session")
    monkeypatch.setenv("KEYRING_PROPERTY_GET_PASSWORD", "elsewhere")
    vault = vault_on("win32")
    vault.save(KEY, Secret("x"))
    assert vault.load(KEY) == Secret("x")
    assert {item["Persist"] for item in windows.credentials.values()} == {2}


def test_only_three_backends_are_ever_loaded_and_none_of_them_stores_plain_text() -> None:
    assert {backend.class_name for backend in BACKENDS.values()} == {
        "keyring.backends.SecretService.Keyring",
        "keyring.backends.macOS.Keyring",
        "keyring.backends.Windows.WinVaultKeyring",
    }


def test_a_class_that_is_not_the_one_named_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from keyring.backends import null

    def load_another(_name: str) -> null.Keyring:
        return null.Keyring()

    monkeypatch.setattr("keyring.core.load_keyring", load_another)
    with pytest.raises(RuntimeError, match="another backend"):
        backends.load(BACKENDS["win32"])


@pytest.mark.parametrize(("platform", "name"), [("linux", "secret-service"), ("darwin", "macos"), ("win32", "windows")])
def test_each_system_has_one_keyring(platform: str, name: StorageBackend) -> None:
    assert backends.choose("auto", platform).name == name
    assert backends.choose(name, platform).name == name


@pytest.mark.parametrize(("wanted", "platform"), [("macos", "linux"), ("secret-service", "win32"), ("auto", "sunos5")])
def test_a_keyring_that_this_system_does_not_have_is_refused_with_the_ways_out(
    wanted: StorageBackend, platform: str
) -> None:
    with pytest.raises(Failure) as caught:
        backends.choose(wanted, platform)
    assert caught.value.reason == "keyring_locked"
    assert 'backend = "file"' in caught.value.advice
