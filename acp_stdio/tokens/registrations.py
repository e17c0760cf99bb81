"""Our registrations (RFC 7591), one for each authorization server: public parts in a file, the secret in the vault."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

from acp_stdio.errors import Failure
from acp_stdio.oauth.client import AuthMethod, Credential
from acp_stdio.oauth.registration import Registration
from acp_stdio.settings.paths import private_dir
from acp_stdio.vault.grants import grant_key
from acp_stdio.vault.lock import FileLock
from acp_stdio.vault.store import Vault

LOCK_TIMEOUT: Final = 5.0
"""Seconds; the lock is held for a read and a write."""
_METHODS: Final[dict[str, AuthMethod]] = {
    "client_secret_basic": "client_secret_basic",
    "client_secret_post": "client_secret_post",
}


class Registrations:
    """The registrations of one sign-in."""

    def __init__(self, session_dir: Path, scope: str, open_vault: Callable[[], Vault]) -> None:
        """`scope`: `Settings.grant_scope`. `open_vault` is called only for a registration that has a secret."""
        self._directory = session_dir / "registrations"
        self._scope = scope
        self._open_vault = open_vault

    def load(self, issuer: str) -> Registration | None:
        """The registration at `issuer`; None where there is none, or none that is whole.

        Raises `Failure(keyring_locked)`.
        """
        data = self._public(issuer)
        if data is None:
            return None
        registration = _decode(data)
        method = _METHODS.get(str(data.get("method")))
        if registration is None or method is None:
            return registration
        secret = self._open_vault().load(self._key(issuer, registration.client_id))
        return replace(registration, credential=Credential(secret, method)) if secret else None

    def client_id(self, issuer: str) -> str:
        """The client id that was registered at `issuer`, without a look into the vault; or nothing."""
        data = self._public(issuer)
        return str(data["client_id"]) if data else ""

    def save(self, registration: Registration) -> None:
        """Replaces the registration at its issuer. Raises `Failure`: keyring_locked, configuration_invalid."""
        with self._locked():
            before = self.client_id(registration.issuer)
            if registration.credential is not None:  # first: a file without its secret would count
                key = self._key(registration.issuer, registration.client_id)
                self._open_vault().save(key, registration.credential.secret)
            try:
                self._write(registration)
            except OSError as error:
                raise _unwritable(self._directory, error) from None
            if before and before != registration.client_id:
                self._forget_secret(registration.issuer, before)

    def drop(self, issuer: str, client_id: str) -> bool:
        """Forgets exactly this registration; another process's newer one stays. Whether it was there."""
        with self._locked():
            data = self._public(issuer)
            if data is None or data["client_id"] != client_id:
                return False
            with contextlib.suppress(FileNotFoundError):
                self._file(issuer).unlink()
            if data.get("method") in _METHODS:
                self._forget_secret(issuer, client_id)
            return True

    def drop_secret(self, issuer: str, client_id: str) -> None:
        """Forgets this registration where it has a secret, so that none outlasts a sign-out."""
        data = self._public(issuer)
        if data is not None and data.get("method") in _METHODS:
            self.drop(issuer, client_id)

    def _forget_secret(self, issuer: str, client_id: str) -> None:
        with contextlib.suppress(Failure):  # nobody will look for it any more
            self._open_vault().delete(self._key(issuer, client_id))

    def _key(self, issuer: str, client_id: str) -> str:
        return f"{grant_key(issuer, client_id, self._scope)}/client"

    def _file(self, issuer: str) -> Path:
        return self._directory / f"{hashlib.sha256(issuer.encode()).hexdigest()[:32]}.json"

    def _public(self, issuer: str) -> dict[str, Any] | None:
        try:
            with self._file(issuer).open("rb") as file:
                if hasattr(os, "getuid") and os.fstat(file.fileno()).st_uid != os.getuid():
                    return None
                data: object = json.load(file)
        except (OSError, ValueError, RecursionError):
            return None
        found = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
        named = isinstance(found.get("client_id"), str) and bool(found["client_id"])
        return found if named and found.get("issuer") == issuer else None

    def _write(self, registration: Registration) -> None:
        directory = private_dir(self._directory)
        handle, temporary = tempfile.mkstemp(dir=directory, prefix=".new-")  # 0600
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(_encode(registration), file)
            os.replace(temporary, self._file(registration.issuer))
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    @contextlib.contextmanager
    def _locked(self) -> Generator[None]:
        lock = FileLock(private_dir(self._directory.parent) / "registrations.lock")
        try:
            lock.acquire(LOCK_TIMEOUT)
        except TimeoutError:
            raise Failure(
                "timeout", "Another acp-stdio process keeps the registrations locked.", "Try again."
            ) from None
        except OSError as error:
            raise _unwritable(self._directory, error) from None
        try:
            yield
        finally:
            lock.release()


def _encode(registration: Registration) -> dict[str, Any]:
    return {
        "issuer": registration.issuer,
        "client_id": registration.client_id,
        "redirect_uris": list(registration.redirect_uris),
        "grant_types": list(registration.grant_types),
        "registered_at": registration.registered_at,
        "expires_at": registration.expires_at,
        "method": registration.credential.method if registration.credential else "none",
    }


def _decode(data: dict[str, Any]) -> Registration | None:
    try:
        return Registration(
            issuer=data["issuer"],
            client_id=data["client_id"],
            redirect_uris=tuple(str(uri) for uri in data["redirect_uris"]),
            grant_types=tuple(str(grant) for grant in data["grant_types"]),
            registered_at=float(data["registered_at"]),
            expires_at=float(data["expires_at"]),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _unwritable(directory: Path, error: OSError) -> Failure:
    return Failure(
        "configuration_invalid",
        f"{directory} cannot be written: {error.strerror or 'I/O error'}.",
        "Make room and see that it belongs to you.",
    )
