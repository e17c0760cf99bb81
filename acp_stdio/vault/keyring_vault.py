"""The OS keyring as a vault: an allow-listed backend, bounded calls, failures with meanings."""

from collections.abc import Callable
from typing import Final, TypeVar

from acp_stdio.errors import Failure
from acp_stdio.secrets import Secret
from acp_stdio.settings.model import StorageBackend
from acp_stdio.vault import causes
from acp_stdio.vault.backends import Backend, Ring, choose, load, use_place
from acp_stdio.vault.bounded import OneAtATime
from acp_stdio.vault.records import PREFIX, Damaged, Records
from acp_stdio.vault.session_bus import ANSWER_WITHIN, FILE_STORE

T = TypeVar("T")

USERNAME: Final = "oauth"
CLIENT_SECRETS: Final = f"{PREFIX}/client-secret"
"""The service, followed by `/NAME`, of the entry that `client_secret_ref = "keyring:NAME"` means."""
PERSON_WITHIN: Final = 60.0
"""Seconds for one call where the person may be typing a pass phrase."""


def open_keyring(wanted: StorageBackend, *, may_prompt: bool) -> "KeyringVault":
    """Raises `Failure("keyring_locked")` where this system does not have the keyring."""
    return KeyringVault(choose(wanted), PERSON_WITHIN if may_prompt else ANSWER_WITHIN, may_prompt=may_prompt)


class KeyringVault:
    """Implements `store.Vault` over one backend of the `keyring` package."""

    def __init__(self, backend: Backend, limit: float, *, may_prompt: bool) -> None:
        """`limit`: seconds for each call of the backend."""
        self._backend = backend
        self._items = _Items(backend, limit, may_prompt=may_prompt)
        self._records = Records(self._items)

    @property
    def name(self) -> str:
        return self._backend.name

    def describe(self) -> str:
        return self._backend.title

    def probe(self) -> None:
        """A read of what never exists; with `may_prompt` it lets a locked keyring ask the person."""
        self._items.get(f"{PREFIX}/probe")

    def load(self, key: str) -> Secret | None:
        try:
            text = self._records.load(key)
        except Damaged:
            raise Failure(
                "keyring_locked",
                f"The record `{PREFIX}/{key}` in {self.describe()} is damaged.",
                "Run `acp-stdio login --force`, which writes it anew.",
            ) from None
        return None if text is None else Secret(text)

    def client_secret(self, name: str) -> Secret | None:
        """What an administrator stored there with the system's own tools, as it is; None: nothing."""
        text = self._items.get(f"{CLIENT_SECRETS}/{name}")
        return Secret(text) if text else None

    def save(self, key: str, value: Secret) -> None:
        self._records.save(key, value.reveal())

    def delete(self, key: str) -> bool:
        return self._records.delete(key)


class _Items:
    """Implements `records.Items`; each item is a service of its own, which keeps Windows from shuffling users."""

    def __init__(self, backend: Backend, limit: float, *, may_prompt: bool) -> None:
        self._backend = backend
        self._limit = limit
        self._may_prompt = may_prompt
        self._calls = OneAtATime()
        self._ring: Ring | None = None

    def get(self, name: str) -> str | None:
        return self._use(lambda ring: ring.get_password(name, USERNAME))

    def set(self, name: str, text: str) -> None:
        self._use(lambda ring: ring.set_password(name, USERNAME, text))

    def delete(self, name: str) -> bool:
        return self._use(lambda ring: _deleted(ring, name))

    def _use(self, call: Callable[[Ring], T]) -> T:
        place = self._bounded(lambda: self._backend.look(may_prompt=self._may_prompt), ANSWER_WITHIN)
        if self._ring is None:
            self._ring = self._bounded(lambda: load(self._backend), ANSWER_WITHIN)
        ring = self._ring
        use_place(ring, place)
        return self._bounded(lambda: call(ring), self._limit)

    def _bounded(self, call: Callable[[], T], limit: float) -> T:
        try:
            return self._calls.run(call, limit)
        except TimeoutError:
            raise Failure(
                "keyring_locked",
                f"{self._backend.title[0].upper()}{self._backend.title[1:]} did not answer within {limit:g} s.",
                f"Unlock or restart it; without a keyring choose {FILE_STORE}.",
            ) from None
        except Failure:
            raise
        except Exception as e:
            raise causes.failure(e, self._backend.title) from None


def _deleted(ring: Ring, name: str) -> bool:
    from keyring.errors import PasswordDeleteError

    try:
        ring.delete_password(name, USERNAME)
    except PasswordDeleteError as e:
        if causes.status(e) in {None, causes.NOT_FOUND_ON_MACOS}:
            return False
        raise
    return True
