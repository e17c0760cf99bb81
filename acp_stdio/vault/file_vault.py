"""The explicit encrypted file store, for machines without a keyring. Only by configuration.

AES-256-GCM with a random nonce a write; the key is the administrator's, in a 0600 file.
"""

import base64
import binascii
import hashlib
import os
import stat
from pathlib import Path
from typing import Final

from acp_stdio.errors import Failure
from acp_stdio.secrets import Secret

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
_MAGIC: Final = b"acp1"


class FileVault:
    """One encrypted file a key, below `directory`."""

    name = "file"

    def __init__(self, directory: Path, key_file: Path) -> None:
        self._directory = directory
        self._key_file = key_file

    def describe(self) -> str:
        return f"encrypted file in {self._directory}"

    def probe(self) -> None:
        self._key()
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as e:
            raise self._unusable(f"{self._directory} cannot be made: {e.strerror}") from None

    def load(self, key: str) -> Secret | None:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        try:
            content = self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as e:
            raise self._unusable(f"it cannot be read: {e.strerror}") from None
        nonce, sealed = content[len(_MAGIC) : len(_MAGIC) + NONCE_BYTES], content[len(_MAGIC) + NONCE_BYTES :]
        try:
            if not content.startswith(_MAGIC):
                raise InvalidTag
            return Secret(AESGCM(self._key()).decrypt(nonce, sealed, key.encode()).decode())
        except InvalidTag:
            raise self._unusable(f"{self._key_file} is not the key that it was written with") from None

    def save(self, key: str, value: Secret) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self.probe()
        nonce = os.urandom(NONCE_BYTES)
        sealed = AESGCM(self._key()).encrypt(nonce, value.reveal().encode(), key.encode())
        path = self._path(key)
        draft = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
            with os.fdopen(os.open(draft, flags, 0o600), "wb") as file:
                file.write(_MAGIC + nonce + sealed)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
        except OSError as e:
            draft.unlink(missing_ok=True)
            raise self._unusable(f"it cannot be written: {e.strerror}") from None

    def delete(self, key: str) -> bool:
        try:
            self._path(key).unlink()
        except FileNotFoundError:
            return False
        except OSError as e:
            raise self._unusable(f"it cannot be deleted: {e.strerror}") from None
        return True

    def _path(self, key: str) -> Path:
        return self._directory / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.sealed"

    def _key(self) -> bytes:
        """The key, from a regular file that is ours alone."""
        try:
            file = os.open(self._key_file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        except OSError as e:
            raise self._unusable(f"its key file {self._key_file} cannot be opened: {e.strerror}") from None
        with os.fdopen(file, "rb") as opened:
            facts = os.fstat(opened.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise self._unusable(f"its key file {self._key_file} is not a regular file")
            if hasattr(os, "getuid") and (facts.st_uid != os.getuid() or facts.st_mode & 0o077):
                raise self._unusable(f"its key file {self._key_file} is not ours alone (owner, mode 0600)")
            text = opened.read(1024)
        try:
            key = base64.b64decode(text.strip(), validate=True)
        except binascii.Error:
            key = b""
        if len(key) != KEY_BYTES:
            raise self._unusable(f"its key file {self._key_file} does not hold 32 bytes as base64")
        return key

    def _unusable(self, why: str) -> Failure:
        return Failure(
            "keyring_locked",
            f"The encrypted file store cannot be used: {why}.",
            "See [storage] in the configuration.",
        )
