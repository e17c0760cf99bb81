"""The seam to secrets at rest."""

from typing import Protocol

from acp_stdio.secrets import Secret


class Vault(Protocol):
    """Keeps small texts by key. Each method raises `Failure("keyring_locked")` where it cannot be used now."""

    @property
    def name(self) -> str:
        """The backend's word in the configuration: secret-service, macos, windows, file."""
        ...

    def describe(self) -> str:
        """The backend in words, for people."""
        ...

    def probe(self) -> None:
        """Returns where the vault can be read and written now, without asking the person."""
        ...

    def load(self, key: str) -> Secret | None:
        """The value, or None where there is none."""
        ...

    def save(self, key: str, value: Secret) -> None:
        """Replaces the value. A crash at any point leaves the old one or the new one."""
        ...

    def delete(self, key: str) -> bool:
        """Removes the value; whether there was one."""
        ...
