"""A vault in memory, with the mishaps of a real one at hand."""

from collections.abc import Callable

from acp_stdio.errors import Failure
from acp_stdio.secrets import Secret


class MemoryVault:
    """Implements `acp_stdio.vault.store.Vault`."""

    name = "memory"

    def __init__(self) -> None:
        self._values: dict[str, Secret] = {}
        self._locked = False
        self._failing_saves = 0
        self.saving: Callable[[], object] | None = None
        """Called before a value is stored."""
        self.saved: Callable[[], object] | None = None
        """Called when a value has been stored."""

    def describe(self) -> str:
        return "this test's memory"

    def probe(self) -> None:
        if self._locked:
            raise Failure("keyring_locked", "The keyring is locked.", "Unlock it.")

    def load(self, key: str) -> Secret | None:
        self.probe()
        return self._values.get(key)

    def save(self, key: str, value: Secret) -> None:
        self.probe()
        if self._failing_saves:
            self._failing_saves -= 1
            raise Failure("keyring_locked", "The keyring did not take it.", "Unlock it.")
        if self.saving:
            self.saving()
        self._values[key] = value
        if self.saved:
            self.saved()

    def delete(self, key: str) -> bool:
        self.probe()
        return self._values.pop(key, None) is not None

    def keys(self) -> set[str]:
        return set(self._values)

    def lock(self) -> None:
        self._locked = True

    def unlock(self) -> None:
        self._locked = False

    def fail_saves(self, times: int) -> None:
        """The next `times` attempts to store something fail."""
        self._failing_saves = times
