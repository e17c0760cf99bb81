"""Opens the vault that the configuration names."""

from pathlib import Path

from acp_stdio.errors import Failure
from acp_stdio.settings.model import StorageSettings
from acp_stdio.vault.store import Vault


def open_vault(storage: StorageSettings, state_dir: Path, *, may_prompt: bool) -> Vault:
    """The file only where it is named, else the OS keyring; nothing is asked of it before the first use.

    `may_prompt`: the keyring may ask the person to unlock it. Raises `Failure`: keyring_locked
    where this system has no keyring we know, configuration_invalid for a file store without a key.
    """
    if storage.backend == "file":
        from acp_stdio.vault.file_vault import FileVault

        if storage.key_file is None:
            raise Failure(
                "configuration_invalid",
                'The file store needs a key: [storage] key_file, next to backend = "file".',
                "Make one with `umask 077; head -c 32 /dev/urandom | base64 > FILE`.",
            )
        return FileVault(storage.directory or state_dir / "vault", storage.key_file)
    from acp_stdio.vault.keyring_vault import open_keyring

    return open_keyring(storage.backend, may_prompt=may_prompt)
