"""What a keyring's error means. Only its kind and its number are told: a text could quote anything."""

from typing import Final

from acp_stdio.errors import Failure
from acp_stdio.vault.session_bus import FILE_STORE

NOT_FOUND_ON_MACOS: Final = -25300

_MACOS: Final = {
    -128: ("access was denied in its dialog", "Run `acp-stdio login` and choose Allow"),
    -25244: (
        "the record belongs to another build of Python (errSecInvalidOwnerEdit)",
        "Delete the entries `acp-stdio/…` in Keychain Access and run `acp-stdio login`",
    ),
    -25291: ("no keychain is available", "Log in to the desktop once"),
    -25293: ("it did not accept this program (errSecAuthFailed)", "Unlock the login keychain in Keychain Access"),
    -25308: (
        "it may not ask here (errSecInteractionNotAllowed), as over SSH",
        "Run `security unlock-keychain` first",
    ),
    -25315: ("it needs to ask and cannot here (errSecInteractionRequired)", "Run `security unlock-keychain` first"),
    -67030: ("this Python is not signed as it should be", "Use a signed Python"),
}
"""Status numbers of Security.framework (SecBase.h, MacErrors.h)."""

_WINDOWS: Final = {
    5: ("access was denied", "Ask your administrator"),
    1312: (
        "there is no logon session with a vault (ERROR_NO_SUCH_LOGON_SESSION), as over SSH",
        "Log in to the desktop",
    ),
    1783: ("it refused the record as too large (RPC_X_BAD_STUB_DATA)", "Please report this"),
}
"""Error numbers of Credential Manager (winerror.h)."""


def status(error: BaseException) -> int | None:
    """macOS: the status number, which `keyring` wraps in its own errors."""
    cause = error.__cause__
    first = cause.args[0] if cause is not None and cause.args else None
    return first if isinstance(first, int) else None


def failure(error: Exception, title: str) -> Failure:
    """The failure that an exception of `keyring` or of a system's own library stands for."""
    number = getattr(error, "winerror", None)
    if isinstance(number, int):
        why, advice = _WINDOWS.get(number, (f"Windows error {number}", "Log in to the desktop again"))
    elif (number := status(error)) is not None:
        why, advice = _MACOS.get(number, (f"status {number} of the keychain", "Unlock it"))
    else:
        why, advice = _by_kind(error)
    return Failure(
        "keyring_locked",
        f"{title[0].upper()}{title[1:]} cannot be used: {why}.",
        f"{advice}; without a keyring choose {FILE_STORE}.",
    )


def _by_kind(error: Exception) -> tuple[str, str]:
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds & {"KeyringLocked", "LockedException", "PromptDismissedException"}:
        return "it is locked", "Unlock it"
    if "InitError" in kinds:
        return "its default collection could not be opened or made", "Unlock it"
    if kinds & {"NoKeyringError", "ImportError", "RuntimeError"}:
        return "it does not run here", "Install or start one"
    return f"it failed with {type(error).__name__}", "Unlock it"
