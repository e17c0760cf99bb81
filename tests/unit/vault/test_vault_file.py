"""The encrypted file: only by configuration, for its owner alone, and never overwritten with another key."""

import base64
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from acp_stdio.errors import Failure
from acp_stdio.secrets import Secret
from acp_stdio.settings.model import StorageSettings
from acp_stdio.vault.file_vault import FileVault
from acp_stdio.vault.open import open_vault
from tests.kit import leaks
from tests.unit.vault.contract import KEY
from tests.unit.vault.stages import write_key

VALUE = "rt-" + "vX4kPz7qLm" * 30
OTHER_KEY = base64.b64encode(bytes(range(32)))


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    write_key(tmp_path / "key")
    return tmp_path / "key"


@pytest.fixture
def vault(tmp_path: Path, key_file: Path) -> FileVault:
    return FileVault(tmp_path / "vault", key_file)


def only_file(vault_directory: Path) -> Path:
    (path,) = vault_directory.iterdir()
    return path


def refused(operation: Callable[[], object]) -> Failure:
    with pytest.raises(Failure) as caught:
        operation()
    assert caught.value.reason == "keyring_locked"
    assert caught.value.advice
    return caught.value


def test_it_is_opened_only_where_it_is_named_with_a_key(tmp_path: Path, key_file: Path) -> None:
    opened = open_vault(StorageSettings("file", key_file), tmp_path / "state", may_prompt=False)
    opened.save(KEY, Secret("x"))
    assert opened.name == "file"
    assert (tmp_path / "state" / "vault").is_dir()
    with pytest.raises(Failure, match="needs a key") as caught:
        open_vault(StorageSettings("file"), tmp_path, may_prompt=False)
    assert caught.value.reason == "configuration_invalid"
    assert open_vault(StorageSettings(), tmp_path, may_prompt=False).name != "file"


def test_nothing_readable_is_on_disk(vault: FileVault, tmp_path: Path) -> None:
    vault.save(KEY, Secret(VALUE))
    assert leaks.scan([VALUE], tmp_path) == []
    assert b"login.example.com" not in only_file(tmp_path / "vault").read_bytes()


def test_the_directory_and_the_file_are_for_their_owner_alone(vault: FileVault, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        vault.save(KEY, Secret(VALUE))
    finally:
        os.umask(before)
    assert (tmp_path / "vault").stat().st_mode & 0o777 == 0o700
    assert only_file(tmp_path / "vault").stat().st_mode & 0o777 == 0o600


def test_each_write_has_a_nonce_of_its_own(vault: FileVault, tmp_path: Path) -> None:
    contents: set[bytes] = set()
    for _ in range(20):
        vault.save(KEY, Secret(VALUE))
        contents.add(only_file(tmp_path / "vault").read_bytes()[12:24])
    assert len(contents) == 20


def test_a_wrong_key_is_said_and_nothing_is_lost(vault: FileVault, key_file: Path, tmp_path: Path) -> None:
    vault.save(KEY, Secret(VALUE))
    right = key_file.read_bytes()
    write_key(key_file, OTHER_KEY)
    for operation in (vault.probe, lambda: vault.load(KEY), lambda: vault.save(KEY, Secret("new"))):
        assert "another key" in refused(operation).message
    write_key(key_file, right)
    assert vault.load(KEY) == Secret(VALUE)


def test_every_changed_byte_is_noticed(vault: FileVault, tmp_path: Path) -> None:
    vault.save(KEY, Secret("short"))
    path = only_file(tmp_path / "vault")
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        refused(lambda: vault.load(KEY))
        path.write_bytes(content[:place])
        refused(lambda: vault.load(KEY))


def test_a_damaged_record_is_replaced_by_the_next_save(vault: FileVault, tmp_path: Path) -> None:
    vault.save(KEY, Secret("old"))
    only_file(tmp_path / "vault").write_bytes(b"not ours")
    assert "damaged" in refused(lambda: vault.load(KEY)).message
    vault.probe()
    vault.save(KEY, Secret("new"))
    assert vault.load(KEY) == Secret("new")


def test_a_record_put_in_the_place_of_another_is_not_read(vault: FileVault, tmp_path: Path) -> None:
    vault.save(KEY, Secret("one"))
    first = only_file(tmp_path / "vault")
    stolen = first.read_bytes()
    vault.delete(KEY)
    vault.save("another key", Secret("two"))
    only_file(tmp_path / "vault").write_bytes(stolen)
    assert "damaged" in refused(lambda: vault.load("another key")).message


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666])
def test_a_key_file_open_to_others_is_refused(vault: FileVault, key_file: Path, mode: int) -> None:
    key_file.chmod(mode)
    assert "open to others" in refused(vault.probe).message


def test_a_key_file_of_another_user_is_refused(
    vault: FileVault, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.probe()
    monkeypatch.setattr(os, "getuid", lambda: key_file.stat().st_uid + 1)
    assert "another user" in refused(vault.probe).message


def test_a_key_file_that_is_a_link_is_refused(tmp_path: Path, key_file: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(key_file)
    refused(FileVault(tmp_path / "vault", link).probe)


def test_a_key_file_that_would_block_is_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    assert "not a regular file" in refused(FileVault(tmp_path / "vault", pipe).probe).message


@pytest.mark.parametrize(
    "content", [b"", b"!!!!", base64.b64encode(bytes(31)), base64.b64encode(bytes(33)), b"\xff" * 44], ids=repr
)
def test_a_key_file_without_a_key_is_refused_and_not_quoted(vault: FileVault, key_file: Path, content: bytes) -> None:
    write_key(key_file, content)
    failure = refused(vault.probe)
    assert "32 bytes" in failure.message
    assert len(content) < 8 or content.decode("latin-1") not in failure.message + failure.advice


def test_a_missing_key_file_is_said(vault: FileVault, key_file: Path) -> None:
    key_file.unlink()
    assert "there is no key file" in refused(vault.probe).message


def test_a_directory_that_others_may_write_to_is_refused(vault: FileVault, tmp_path: Path) -> None:
    (tmp_path / "vault").mkdir()
    (tmp_path / "vault").chmod(0o777)
    assert "0700" in refused(lambda: vault.save(KEY, Secret(VALUE))).message
    assert list((tmp_path / "vault").iterdir()) == []


def test_a_link_in_the_place_of_a_record_is_not_followed(vault: FileVault, tmp_path: Path) -> None:
    vault.save(KEY, Secret("old"))
    record = only_file(tmp_path / "vault")
    elsewhere = tmp_path / "elsewhere"
    record.rename(elsewhere)
    record.symlink_to(elsewhere)
    before = elsewhere.read_bytes()
    refused(lambda: vault.load(KEY))
    refused(lambda: vault.save(KEY, Secret("new")))
    assert elsewhere.read_bytes() == before


def test_a_full_disk_keeps_the_old_record(vault: FileVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vault.save(KEY, Secret("old"))

    def full(_file: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert "No space left" in refused(lambda: vault.save(KEY, Secret("new"))).message
    assert vault.load(KEY) == Secret("old")
    assert len(list((tmp_path / "vault").iterdir())) == 1
