"""Who may change a file on Windows, asked of the system itself. Imported on Windows only."""

import sys

if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes
    from pathlib import Path

    # [MS-DTYP] 2.4.2.4: LocalSystem, Administrators, TrustedInstaller
    _TRUSTED = {
        "S-1-5-18",
        "S-1-5-32-544",
        "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464",
    }
    _CREATOR_OWNER = "S-1-3-0"
    # write data, append, write EA, delete child, write attributes,
    # delete, WRITE_DAC, WRITE_OWNER, GENERIC_ALL, GENERIC_WRITE
    _WRITES = 0x2 | 0x4 | 0x10 | 0x40 | 0x100 | 0x10000 | 0x40000 | 0x80000 | 0x10000000 | 0x40000000
    _OWNER_AND_DACL = 0x1 | 0x4
    _FILE_OBJECT = 1
    _ACCESS_ALLOWED = 0
    _INHERIT_ONLY = 0x8
    _PROGRAM_DATA = bytes.fromhex("825dab62c1fdc34da9dd070d1d495d97")  # {62AB5D82-FDC1-4DC3-A9DD-070D1D495D97}

    _advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)
    _kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    _kernel32.LocalFree.argtypes = [ctypes.c_void_p]
    _advapi32.ConvertSidToStringSidW.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_wchar_p)]
    _advapi32.GetAce.argtypes = [ctypes.c_void_p, wintypes.DWORD, ctypes.POINTER(ctypes.c_void_p)]
    _advapi32.GetNamedSecurityInfoW.argtypes = [
        wintypes.LPCWSTR,
        ctypes.c_int,
        wintypes.DWORD,
        ctypes.POINTER(ctypes.c_void_p),
        ctypes.c_void_p,
        ctypes.POINTER(ctypes.c_void_p),
        ctypes.c_void_p,
        ctypes.POINTER(ctypes.c_void_p),
    ]
    _advapi32.GetNamedSecurityInfoW.restype = wintypes.DWORD

    class _Ace(ctypes.Structure):
        """ACE_HEADER and the mask that follows it; the SID begins behind them."""

        _fields_ = (
            ("kind", ctypes.c_ubyte),
            ("flags", ctypes.c_ubyte),
            ("size", ctypes.c_ushort),
            ("mask", wintypes.DWORD),
        )

    def program_data() -> Path:
        """The machine-wide data folder, not from %ProgramData%, which the user can set. Raises OSError."""
        shell32, ole32 = ctypes.WinDLL("shell32"), ctypes.WinDLL("ole32")
        ole32.CoTaskMemFree.argtypes = [ctypes.c_void_p]
        shell32.SHGetKnownFolderPath.argtypes = [
            ctypes.c_char_p,
            wintypes.DWORD,
            wintypes.HANDLE,
            ctypes.POINTER(ctypes.c_void_p),
        ]
        text = ctypes.c_void_p()
        status = shell32.SHGetKnownFolderPath(_PROGRAM_DATA, 0, None, ctypes.byref(text))
        try:
            if status != 0 or not text.value:
                raise OSError(f"Windows does not tell the ProgramData folder (HRESULT {status & 0xFFFFFFFF:#x})")
            return Path(ctypes.wstring_at(text.value))
        finally:
            ole32.CoTaskMemFree(text)

    def writers(path: Path) -> list[str]:
        """SIDs other than the administrator's that own `path` or may change it. Raises OSError."""
        owner, dacl, descriptor = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
        error = _advapi32.GetNamedSecurityInfoW(
            str(path),
            _FILE_OBJECT,
            _OWNER_AND_DACL,
            ctypes.byref(owner),
            None,
            ctypes.byref(dacl),
            None,
            ctypes.byref(descriptor),
        )
        if error:
            raise ctypes.WinError(error)
        try:
            if not dacl.value:
                return ["everyone"]  # no list at all: nothing is forbidden
            found = {_text(owner.value): None}
            count = ctypes.c_ushort.from_address(dacl.value + 4).value  # ACL.AceCount
            for index in range(count):
                place = ctypes.c_void_p()
                if not _advapi32.GetAce(dacl, index, ctypes.byref(place)) or not place.value:
                    raise ctypes.WinError(ctypes.get_last_error())
                ace = _Ace.from_address(place.value)
                if ace.kind == _ACCESS_ALLOWED and not ace.flags & _INHERIT_ONLY and ace.mask & _WRITES:
                    found[_text(place.value + ctypes.sizeof(_Ace))] = None
            return [sid for sid in found if sid not in _TRUSTED and sid != _CREATOR_OWNER]
        finally:
            _kernel32.LocalFree(descriptor)

    def _text(sid: int | None) -> str:
        words = ctypes.c_wchar_p()
        if not _advapi32.ConvertSidToStringSidW(sid, ctypes.byref(words)):
            raise ctypes.WinError(ctypes.get_last_error())
        try:
            return words.value or ""
        finally:
            _kernel32.LocalFree(ctypes.cast(words, ctypes.c_void_p))
