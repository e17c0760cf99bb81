"""Windows' Credential Manager as `win32ctypes` shows it, so that the unmodified keyring backend runs on it.

What matters is like the real one: 2560 bytes of UTF-16 at most, errors as `pywintypes.error`.
"""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

import pytest

LARGEST: Final = 2560
"""Bytes, CRED_MAX_CREDENTIAL_BLOB_SIZE."""
NOT_FOUND: Final = 1168
BAD_STUB_DATA: Final = 1783
NO_SUCH_LOGON_SESSION: Final = 1312
_BACKEND: Final = "keyring.backends.Windows"


class WindowsError(Exception):
    """`pywintypes.error`, which is no `KeyringError`."""

    def __init__(self, winerror: int, funcname: str, strerror: str) -> None:
        super().__init__(winerror, funcname, strerror)
        self.winerror = winerror
        self.funcname = funcname
        self.strerror = strerror


class FakeWindows:
    """One user's credentials, by target name."""

    def __init__(self) -> None:
        self.credentials: dict[str, dict[str, Any]] = {}
        self.before: Callable[[], object] = lambda: None
        """Called before each call of the system; may raise."""
        self.fails_with: int | None = None
        """Every call fails with this number."""
        self.fails_in = ""
        """Only the function of this name fails with it."""

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Makes `keyring` load its Windows backend on this system until the patch is undone."""
        pywin32 = ModuleType("win32ctypes.pywin32")
        pywintypes: Any = ModuleType("win32ctypes.pywin32.pywintypes")
        pywintypes.error = WindowsError
        win32cred: Any = ModuleType("win32ctypes.pywin32.win32cred")
        win32cred.CRED_TYPE_GENERIC = 1
        win32cred.CRED_PERSIST_SESSION = 1
        win32cred.CRED_PERSIST_LOCAL_MACHINE = 2
        win32cred.CRED_PERSIST_ENTERPRISE = 3
        win32cred.CredRead = self._read
        win32cred.CredWrite = self._write
        win32cred.CredDelete = self._delete
        patch.setattr(pywin32, "pywintypes", pywintypes, raising=False)
        patch.setattr(pywin32, "win32cred", win32cred, raising=False)
        patch.setitem(sys.modules, "win32ctypes", ModuleType("win32ctypes"))
        patch.setitem(sys.modules, "win32ctypes.pywin32", pywin32)
        patch.setitem(sys.modules, _BACKEND, ModuleType(_BACKEND))  # noted as absent, so that undoing removes it
        del sys.modules[_BACKEND]

    def items(self) -> list[str]:
        """The names of everything that is stored."""
        return sorted(self.credentials)

    def _enter(self, function: str) -> None:
        self.before()
        if self.fails_with is not None and self.fails_in in {"", function}:
            raise WindowsError(self.fails_with, function, "made to fail")

    def _read(self, *, Type: int, TargetName: str) -> dict[str, Any]:
        self._enter("CredRead")
        if TargetName not in self.credentials:
            raise WindowsError(NOT_FOUND, "CredRead", "Element not found.")
        return dict(self.credentials[TargetName])

    def _write(self, credential: dict[str, Any], _flags: int) -> None:
        self._enter("CredWrite")
        blob = credential["CredentialBlob"].encode("utf-16-le")
        if len(blob) > LARGEST:
            raise WindowsError(BAD_STUB_DATA, "CredWrite", "The stub received bad data")
        self.credentials[credential["TargetName"]] = {**credential, "CredentialBlob": blob}

    def _delete(self, *, Type: int, TargetName: str) -> None:
        self._enter("CredDelete")
        if self.credentials.pop(TargetName, None) is None:
            raise WindowsError(NOT_FOUND, "CredDelete", "Element not found.")
