"""Stores that can be interrupted at every call, each with a vault on it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import pytest

from acp_stdio.secrets import Secret
from acp_stdio.vault.backends import BACKENDS
from acp_stdio.vault.file_vault import FileVault
from acp_stdio.vault.keyring_vault import KeyringVault
from acp_stdio.vault.records import Records
from acp_stdio.vault.store import Vault
from tests.kit.fake_macos import FakeMacos
from tests.kit.fake_windows import FakeWindows

GENEROUS: Final = 60.0
"""Seconds; nothing hangs in these tests unless it is made to."""


class Crash(BaseException):
    """The process ends here."""


class Interruption:
    """Ends the process before the call with that number; calls are counted from 0."""

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        if self.at is not None and self.calls > self.at:
            raise Crash


class Stage(Protocol):
    """A store that outlives the processes that use it."""

    def process(self, before: Callable[[], object] = lambda: None) -> Vault:
        """A new process's vault; `before` is called before each call of the store."""
        ...

    def items(self) -> list[str]:
        """The names of everything that is stored."""
        ...


class PlainItems:
    """A keyring as simple as can be. Implements `records.Items`."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.before: Callable[[], object] = lambda: None

    def get(self, name: str) -> str | None:
        self.before()
        return self.texts.get(name)

    def set(self, name: str, text: str) -> None:
        self.before()
        self.texts[name] = text

    def delete(self, name: str) -> bool:
        self.before()
        return self.texts.pop(name, None) is not None


class PlainVault:
    """`Records` on plain items, as a vault."""

    name = "plain"

    def __init__(self, items: PlainItems) -> None:
        self._records = Records(items)

    def describe(self) -> str:
        return "plain items"

    def probe(self) -> None: ...

    def load(self, key: str) -> Secret | None:
        text = self._records.load(key)
        return None if text is None else Secret(text)

    def save(self, key: str, value: Secret) -> None:
        self._records.save(key, value.reveal())

    def delete(self, key: str) -> bool:
        return self._records.delete(key)


class PlainStage:
    def __init__(self) -> None:
        self.store = PlainItems()

    def process(self, before: Callable[[], object] = lambda: None) -> Vault:
        self.store.before = before
        return PlainVault(self.store)

    def items(self) -> list[str]:
        return sorted(self.store.texts)


class FakeOsStage:
    """The unmodified backend of `keyring` on a made-up system."""

    def __init__(self, system: FakeWindows | FakeMacos, platform: str, patch: pytest.MonkeyPatch) -> None:
        self.system = system
        self._platform = platform
        system.install(patch)

    def process(self, before: Callable[[], object] = lambda: None) -> Vault:
        self.system.before = before
        return KeyringVault(BACKENDS[self._platform], GENEROUS, may_prompt=False)

    def items(self) -> list[str]:
        return self.system.items()


class FileStage:
    """Interrupted before each call of the operating system that writes."""

    def __init__(self, tmp: Path, patch: pytest.MonkeyPatch) -> None:
        self.directory = tmp / "vault"
        self.key_file = tmp / "key"
        write_key(self.key_file)
        self._patch = patch
        self._real: dict[str, Any] = {name: getattr(os, name) for name in ("open", "fsync", "replace", "unlink")}

    def process(self, before: Callable[[], object] = lambda: None) -> Vault:
        def interrupted(name: str) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                before()
                return self._real[name](*args, **kwargs)

            return call

        for name in self._real:
            self._patch.setattr(os, name, interrupted(name))
        return FileVault(self.directory, self.key_file)

    def items(self) -> list[str]:
        return sorted(path.name for path in self.directory.glob("*"))


def write_key(path: Path, content: bytes = b"q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=\n") -> None:
    """A key file, by default with 32 bytes as base64."""
    path.write_bytes(content)
    path.chmod(0o600)


STAGES: Final = ("plain", "windows", "macos", "file")


def stage(name: str, tmp: Path, patch: pytest.MonkeyPatch) -> Stage:
    if name == "windows":
        return FakeOsStage(FakeWindows(), "win32", patch)
    if name == "macos":
        return FakeOsStage(FakeMacos(), "darwin", patch)
    return FileStage(tmp, patch) if name == "file" else PlainStage()
