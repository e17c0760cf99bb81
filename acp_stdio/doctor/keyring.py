"""The place for the sign-in, tried with a record of our own: written, read back, deleted."""

import contextlib
import os
import secrets

from acp_stdio.doctor.check import Case
from acp_stdio.doctor.finding import Finding, ok, problem
from acp_stdio.errors import Failure
from acp_stdio.secrets import Secret
from acp_stdio.vault.open import open_vault


def probe(case: Case) -> Finding:
    """Raises `Failure("keyring_locked")`. The record is `acp-stdio/doctor/…`, and gone afterwards."""
    settings = case.settings
    vault = open_vault(settings.storage, settings.state_dir, may_prompt=case.may_prompt)
    vault.probe()
    key = f"doctor/{os.getpid()}"
    value = Secret(secrets.token_hex(16))
    try:
        vault.save(key, value)
        same = vault.load(key) == value
        gone = vault.delete(key) and vault.load(key) is None
    except Failure:
        with contextlib.suppress(Failure):
            vault.delete(key)
        raise
    details = {"backend": vault.name}
    if not same or not gone:
        what = "gave back something else than was written" if not same else "kept a record that was deleted"
        message = f"{vault.describe()} {what}."
        return problem("keyring_locked", message, "Choose another one with [storage] backend.", **details)
    chosen = ", chosen in the configuration in place of the OS keyring" if vault.name == "file" else ""
    return ok(f"{vault.describe()}{chosen}: written, read and deleted", **details)
