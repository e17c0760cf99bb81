"""The keyrings that we use, each by its name.

`keyring` can be led elsewhere: by an environment variable, by `keyringrc.cfg`, and by whatever
package is installed beside it, down to a plain text file. So nothing is discovered: a backend
is one of these or none.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

from acp_stdio.errors import Failure
from acp_stdio.settings.model import StorageBackend
from acp_stdio.vault import session_bus


class Ring(Protocol):
    """What we call of a `keyring.backend.KeyringBackend`. Methods raise whatever the system's library does."""

    def get_password(self, service: str, username: str) -> str | None: ...

    def set_password(self, service: str, username: str, password: str) -> None: ...

    def delete_password(self, service: str, username: str) -> None: ...


def _nothing_to_see(*, may_prompt: bool) -> str:
    """macOS and Windows have no look that costs less than a read, and one place each."""
    return ""


@dataclass(frozen=True, slots=True)
class Backend:
    """One of the keyrings."""

    name: str
    class_name: str
    title: str
    look: Callable[..., str] = _nothing_to_see
    """Called with `may_prompt` before each use; the place to use, or nothing for its own choice.

    Raises `Failure` where using it would ask the person."""


BACKENDS: Final = {
    "linux": Backend(
        "secret-service",
        "keyring.backends.SecretService.Keyring",
        "the Secret Service keyring (GNOME Keyring, KWallet, KeePassXC)",
        session_bus.look,
    ),
    "darwin": Backend("macos", "keyring.backends.macOS.Keyring", "the macOS Keychain"),
    "win32": Backend("windows", "keyring.backends.Windows.WinVaultKeyring", "the Windows Credential Manager"),
}
"""By platform: each system has one."""


def choose(wanted: StorageBackend, platform: str = sys.platform) -> Backend:
    """Raises `Failure("keyring_locked")` where this system does not have it."""
    backend = BACKENDS.get(platform)
    if backend is None or wanted not in {"auto", backend.name}:
        name = "a keyring that acp-stdio knows" if wanted == "auto" else f"the keyring `{wanted}`"
        raise Failure(
            "keyring_locked",
            f"This system ({platform}) does not have {name}.",
            f"Set [storage] backend to auto, or choose the encrypted file: {session_bus.FILE_STORE}.",
        )
    return backend


def load(backend: Backend) -> Ring:
    """Imports the backend, which takes about 100 ms. Raises what `keyring` raises."""
    from keyring.core import load_keyring

    loaded = load_keyring(backend.class_name)
    kind = type(loaded)
    if f"{kind.__module__}.{kind.__qualname__}" != backend.class_name:
        raise RuntimeError("another backend")
    vars(loaded).clear()  # KEYRING_PROPERTY_* variables, which could choose another collection or method
    ring: Any = loaded
    if backend.name == "windows":
        ring.persist = "local machine"  # the default roams with the domain profile
    return cast("Ring", ring)


def use_place(ring: Ring, place: str) -> None:
    """Has `ring` use the collection that was looked at.

    Left alone it asks for the default one again, and opens a dialog to make one where the answer is "none".
    """
    chosen = vars(ring)
    if place:
        chosen["preferred_collection"] = place
    else:
        chosen.pop("preferred_collection", None)
