"""The stored grant of one sign-in, in whatever vault: keyed by issuer, client, profile and identity."""

import hashlib
from collections.abc import Callable
from typing import Protocol
from urllib.parse import urlsplit

from acp_stdio.errors import Failure
from acp_stdio.identity.grant import decode_grant, encode_grant
from acp_stdio.identity.model import Grant
from acp_stdio.vault.store import Vault


def grant_key(issuer: str, client_id: str, scope: str) -> str:
    """`login.example.com/default/1f2e3d4c`: readable where a keyring shows it to people.

    `scope`: `Settings.grant_scope`.
    """
    digest = hashlib.sha256(f"{issuer}\0{client_id}".encode()).hexdigest()[:8]
    return f"{urlsplit(issuer).netloc.replace(':', '-')}/{scope}/{digest}"


class GrantStore(Protocol):
    """What the token room needs: one sign-in's grant. Methods raise `Failure("keyring_locked")`."""

    @property
    def name(self) -> str: ...

    def probe(self) -> None: ...

    def load(self) -> Grant | None: ...

    def save(self, grant: Grant) -> None: ...

    def delete(self) -> None: ...


class GrantVault:
    """Loads, saves and deletes the grant of one sign-in."""

    def __init__(self, vault: Vault, scope: str, whose: Callable[[], tuple[str, str]]) -> None:
        """`scope`: `Settings.grant_scope`. `whose`: issuer and client id of the sign-in at hand."""
        self._vault = vault
        self._scope = scope
        self._whose = whose

    @property
    def name(self) -> str:
        """The backend's word, for `session.json` and `status`."""
        return self._vault.name

    def describe(self) -> str:
        """The backend in words, for people."""
        return self._vault.describe()

    def probe(self) -> None:
        """Raises `Failure("keyring_locked")` where the vault cannot be used now."""
        self._vault.probe()

    def load(self) -> Grant | None:
        """The grant, or None where there is none.

        Raises `Failure("keyring_locked")`, also for a record that is not ours to read.
        """
        record = self._vault.load(grant_key(*self._whose(), self._scope))
        if record is None:
            return None
        try:
            return decode_grant(record)
        except ValueError as e:
            raise Failure(
                "keyring_locked",
                f"The stored sign-in in {self._vault.describe()} cannot be read: {e}.",
                "Run `acp-stdio login --force`.",
            ) from None

    def save(self, grant: Grant) -> None:
        """Replaces the grant; when this returns, it is stored. Raises `Failure("keyring_locked")`."""
        self._vault.save(grant_key(grant.issuer, grant.client_id, self._scope), encode_grant(grant))

    def delete(self) -> None:
        """Removes the grant, if there is one. Raises `Failure("keyring_locked")`."""
        self._vault.delete(grant_key(*self._whose(), self._scope))
