"""The explicit encrypted file store, for machines without a keyring. Only by configuration.

A record is AES-256-GCM (NIST SP 800-38D) with a random nonce a write, and with its header
and name as associated data, so that records cannot be swapped; the key is the administrator's, in a 0600 file.
"""

import contextlib
import hashlib
import os
import threading
from pathlib import Path
from typing import Final

from acp_stdio.errors import Failure
from acp_stdio.secrets import Secret
from acp_stdio.vault.private_file import Unfit, own_directory, read_key, read_own, sync_directory

_MAGIC: Final = b"acp1"
_KEY_ID_BYTES: Final = 8
_HEADER: Final = len(_MAGIC) + _KEY_ID_BYTES
_NONCE_BYTES: Final = 12
_LARGEST: Final = 1 << 20
"""Bytes; a record of ours is a few thousand."""


class FileVault:
    """One encrypted file a key, below `directory`. Implements `store.Vault`."""

    name = "file"

    def __init__(self, directory: Path, key_file: Path) -> None:
        self._directory = directory
        self._key_file = key_file

    def describe(self) -> str:
        return f"encrypted file in {self._directory}"

    def probe(self) -> None:
        """Also reads which key each record was written with: a wrong key must show before anything is spent."""
        try:
            key = read_key(self._key_file)
            own_directory(self._directory)
            for path in self._directory.glob("*.sealed"):
                with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                    self._refuse_other_key(key, path, read_own(path, _LARGEST))
        except Unfit as e:
            raise self._unusable(str(e)) from None

    def load(self, key: str) -> Secret | None:
        try:
            return self._opened(key)
        except Unfit as e:
            raise self._unusable(str(e)) from None

    def save(self, key: str, value: Secret) -> None:
        """Raises `Failure` and changes nothing where the record at hand was written with another key."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self.probe()
        try:
            secret_key = read_key(self._key_file)
            header, nonce = _MAGIC + _key_id(secret_key), os.urandom(_NONCE_BYTES)
            sealed = AESGCM(secret_key).encrypt(nonce, value.reveal().encode(), header + key.encode())
            self._replace(self._path(key), header + nonce + sealed)
        except Unfit as e:
            raise self._unusable(str(e)) from None
        except OSError as e:
            raise self._unusable(f"it cannot be written: {e.strerror}") from None

    def delete(self, key: str) -> bool:
        path = self._path(key)
        try:
            for draft in self._directory.glob(f"{path.stem}.*.draft"):  # left by a crash
                draft.unlink(missing_ok=True)
            path.unlink()
            sync_directory(self._directory)
        except FileNotFoundError:
            return False
        except OSError as e:
            raise self._unusable(f"it cannot be deleted: {e.strerror}") from None
        return True

    def _opened(self, key: str) -> Secret | None:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        path = self._path(key)
        secret_key = read_key(self._key_file)
        try:
            content = read_own(path, _LARGEST)
        except FileNotFoundError:
            return None
        self._refuse_other_key(secret_key, path, content)
        sealed = content[_HEADER:]
        try:
            associated = content[:_HEADER] + key.encode()
            text = AESGCM(secret_key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], associated)
            if not content.startswith(_MAGIC):
                raise InvalidTag  # whole, but of a version that we do not know
        except (InvalidTag, ValueError):
            raise Unfit(f"{path} is damaged; `acp-stdio login --force` writes it anew") from None
        return Secret(text.decode())

    def _refuse_other_key(self, secret_key: bytes, path: Path, content: bytes) -> None:
        """Raises `Unfit` for a record of another key: whoever has that key can still read it. Damage is `load`'s."""
        if content.startswith(_MAGIC) and content[len(_MAGIC) : _HEADER] != _key_id(secret_key):
            raise Unfit(f"{path} was written with another key than the one in {self._key_file}")

    def _replace(self, path: Path, content: bytes) -> None:
        """A crash at any point leaves the old record or the new one."""
        draft = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.draft")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        try:
            with os.fdopen(os.open(draft, flags, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise
        sync_directory(self._directory)

    def _path(self, key: str) -> Path:
        return self._directory / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.sealed"

    def _unusable(self, why: str) -> Failure:
        return Failure(
            "keyring_locked",
            f"The encrypted file store cannot be used: {why}.",
            "Correct that, or see [storage] in the configuration for another key_file or directory.",
        )


def _key_id(secret_key: bytes) -> bytes:
    """Tells a wrong key from a damaged record; says nothing about 32 random bytes."""
    return hashlib.sha256(b"acp-stdio key id\0" + secret_key).digest()[:_KEY_ID_BYTES]
