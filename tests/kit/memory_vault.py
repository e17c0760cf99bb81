"""A vault in memory, with the mishaps of a real one at hand. Keeps the record's text, as keyrings do."""

from collections.abc import Callable

from acp_stdio.errors import Failure
from acp_stdio.identity.grant import decode_grant, encode_grant
from acp_stdio.identity.model import Grant
from acp_stdio.secrets import Secret


class MemoryVault:
    """Implements `acp_stdio.vault.store.Vault`."""

    name = "memory"

    def __init__(self) -> None:
        self._record: Secret | None = None
        self._locked = False
        self._failing_saves = 0
        self.saving: Callable[[Grant], object] | None = None
        """Called before a grant is stored."""
        self.saved: Callable[[Grant], object] | None = None
        """Called when a grant has been stored."""

    def load(self) -> Grant | None:
        self.probe()
        return decode_grant(self._record) if self._record else None

    def save(self, grant: Grant) -> None:
        self.probe()
        if self._failing_saves:
            self._failing_saves -= 1
            raise Failure("keyring_locked", "The keyring did not take it.", "Unlock it.")
        if self.saving:
            self.saving(grant)
        self._record = encode_grant(grant)
        if self.saved:
            self.saved(grant)

    def delete(self) -> None:
        self.probe()
        self._record = None

    def probe(self) -> None:
        if self._locked:
            raise Failure("keyring_locked", "The keyring is locked.", "Unlock it.")

    def lock(self) -> None:
        self._locked = True

    def unlock(self) -> None:
        self._locked = False

    def fail_saves(self, times: int) -> None:
        self._failing_saves = times
