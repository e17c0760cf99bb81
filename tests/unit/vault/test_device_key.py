"""This computer's key: made once, kept in the vault, known by its thumbprint, and never shown."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from acp_stdio.errors import Failure
from acp_stdio.identity.thumbprint import thumbprint
from acp_stdio.secrets import Secret
from acp_stdio.vault.device_key import RECORD, device_key, published, verified
from acp_stdio.vault.file_vault import FileVault
from acp_stdio.vault.store import Vault
from tests.kit import leaks
from tests.kit.memory_vault import MemoryVault


def file_vault(folder: Path) -> FileVault:
    key = folder / "key"
    key.touch(0o600)
    key.write_text(base64.b64encode(bytes(32)).decode())
    return FileVault(folder / "vault", key)


def remember(vault: Vault) -> None:
    stored = vault.load(RECORD)
    assert stored is not None
    leaks.remember(json.loads(stored.reveal())["d"])


def test_the_first_who_asks_makes_it_and_everybody_gets_the_same(tmp_path: Path) -> None:
    vault = file_vault(tmp_path)
    with ThreadPoolExecutor(8) as many:
        names = {key.name for key in many.map(device_key, [vault] * 8, [tmp_path / "state"] * 8)}
    remember(vault)
    assert len(names) == 1
    public = published(tmp_path / "state")
    assert public is not None
    assert {public["kid"], thumbprint(public)} == names


def test_the_thumbprint_is_the_one_of_rfc_7638(tmp_path: Path) -> None:
    import jwt
    from cryptography.hazmat.primitives import hashes

    key = device_key(MemoryVault(), tmp_path)
    assert key.name.startswith("urn:ietf:params:oauth:jwk-thumbprint:sha-256:")
    digest = hashes.Hash(hashes.SHA256())
    digest.update(f'{{"crv":"P-256","kty":"EC","x":"{key.public["x"]}","y":"{key.public["y"]}"}}'.encode())
    assert key.name.rpartition(":")[2] == base64.urlsafe_b64encode(digest.finalize()).rstrip(b"=").decode()
    assert jwt.PyJWK(key.public).algorithm_name == "ES256"


def test_what_it_signed_can_be_checked_with_the_public_half_alone(tmp_path: Path) -> None:
    key = device_key(MemoryVault(), tmp_path)
    said = key.sign(b'{"a":1}', "acp-test+jws")
    public = published(tmp_path)
    assert public is not None
    assert verified(said, public, "acp-test+jws") == b'{"a":1}'
    with pytest.raises(ValueError, match="something else"):
        verified(said, public, "acp-other+jws")
    with pytest.raises(ValueError, match="does not hold"):
        verified(said, device_key(MemoryVault(), tmp_path / "other").public, "acp-test+jws")


def test_neither_half_is_shown_where_it_is_printed_and_the_private_one_is_in_no_file(tmp_path: Path) -> None:
    vault = file_vault(tmp_path)
    key = device_key(vault, tmp_path / "state")
    remember(vault)
    assert leaks.scan(leaks.issued(), tmp_path / "state", tmp_path / "vault", texts=[repr(key)]) == []


def test_a_locked_keyring_and_a_damaged_record_are_said(tmp_path: Path) -> None:
    vault = MemoryVault()
    vault.save(RECORD, Secret('{"v":1}'))
    with pytest.raises(Failure, match="damaged"):
        device_key(vault, tmp_path)
    vault.lock()
    with pytest.raises(Failure) as caught:
        device_key(vault, tmp_path)
    assert caught.value.reason == "keyring_locked"
    assert not (tmp_path / "device-key.json").exists()
