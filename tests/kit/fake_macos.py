"""The macOS Keychain as `keyring.backends.macOS.api` shows it, so that the unmodified backend runs on it.

What matters is like the real one: replacing is deleting and adding, and a status number says what went wrong.
"""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

import pytest

NOT_FOUND: Final = -25300
DENIED: Final = -128
_BACKEND: Final = "keyring.backends.macOS"


class ApiError(Exception):
    """`api.Error`: the status and some words."""


class NotFound(ApiError): ...


class KeychainDenied(ApiError): ...


class FakeMacos:
    """One login keychain: generic passwords by service and account."""

    def __init__(self) -> None:
        self.passwords: dict[tuple[str, str], str] = {}
        self.before: Callable[[], object] = lambda: None
        """Called before each call of Security.framework; may raise."""
        self.fails_with: int | None = None
        """Every call fails with this status."""

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Makes `keyring` load its macOS backend on this system until the patch is undone."""
        api: Any = ModuleType(f"{_BACKEND}.api")
        api.Error = ApiError
        api.NotFound = NotFound
        api.KeychainDenied = KeychainDenied
        api.find_generic_password = self._find
        api.set_generic_password = self._set
        api.delete_generic_password = self._delete
        patch.setattr("platform.system", lambda: "Darwin")
        patch.setitem(sys.modules, _BACKEND, ModuleType(_BACKEND))  # noted as absent, so that undoing removes it
        del sys.modules[_BACKEND]
        patch.setitem(sys.modules, f"{_BACKEND}.api", api)

    def items(self) -> list[str]:
        """The names of everything that is stored."""
        return sorted(service for service, _ in self.passwords)

    def _call(self) -> None:
        self.before()
        if self.fails_with == DENIED:
            raise KeychainDenied(DENIED, "Keychain Access Denied")
        if self.fails_with is not None:
            raise ApiError(self.fails_with, "Unknown Error")

    def _find(self, _keychain: object, service: str, username: str) -> str:
        self._call()  # SecItemCopyMatching
        if (service, username) not in self.passwords:
            raise NotFound(NOT_FOUND, "Item not found")
        return self.passwords[service, username]

    def _set(self, _keychain: object, service: str, username: str, password: str) -> None:
        self._call()  # SecItemDelete
        self.passwords.pop((service, username), None)
        self._call()  # SecItemAdd
        self.passwords[service, username] = password

    def _delete(self, _keychain: object, service: str, username: str) -> None:
        self._call()  # SecItemDelete
        if self.passwords.pop((service, username), None) is None:
            raise NotFound(NOT_FOUND, "Item not found")
