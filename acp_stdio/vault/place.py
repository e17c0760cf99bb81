"""Which user of which computer this is: a stored sign-in is bound to both."""

import ctypes
import functools
import hashlib
import os
import sys
from pathlib import Path


@functools.cache
def here() -> str:
    """A name for this user on this computer that gives neither away: the first 16 hex digits of a SHA-256.

    A record in a roaming profile, a restored backup or another user's keyring has another one.
    """
    return hashlib.sha256(f"{_user()}\0{_machine()}".encode()).hexdigest()[:16]


if sys.platform == "win32":

    def _user() -> str:
        size = ctypes.c_ulong(0)
        name_sam_compatible = 2  # EXTENDED_NAME_FORMAT: DOMAIN\user
        ctypes.windll.secur32.GetUserNameExW(name_sam_compatible, None, ctypes.byref(size))
        words = ctypes.create_unicode_buffer(size.value + 1)
        ctypes.windll.secur32.GetUserNameExW(name_sam_compatible, words, ctypes.byref(size))
        return words.value

    def _machine() -> str:
        import winreg

        try:
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SOFTWARE\Microsoft\Cryptography") as key:
                return str(winreg.QueryValueEx(key, "MachineGuid")[0])
        except OSError:
            return ""

else:

    def _user() -> str:
        return str(os.getuid())

    def _machine() -> str:
        """macOS: gethostuuid(2), the hardware's; elsewhere machine-id(5). Empty where there is none: a container."""
        if sys.platform == "darwin":
            uuid, wait = ctypes.create_string_buffer(16), (ctypes.c_long * 2)(5, 0)
            return uuid.raw.hex() if ctypes.CDLL(None).gethostuuid(uuid, wait) == 0 else ""
        for place in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
            try:
                return Path(place).read_text(encoding="ascii").strip()
            except (OSError, UnicodeDecodeError):
                continue
        return ""
