"""What a record says of a call's arguments: a keyed digest, the names at the top and a size; not the values.

A plain hash of arguments can be guessed back ("amount": 1000, 1001, …). So it is an HMAC with a key of this user's
on this computer: whoever has the trail alone, such as a log server, learns nothing from it, and whoever has
the key and the arguments can show that they are the ones. `run` needs the key for each call and must not
wait for a keyring, so it is a file (0600) in the state directory, outside the trail: it protects the trail's
copies, not against programs of the same user, which can read the arguments elsewhere. One HMAC takes 3 us.
"""

import base64
import contextlib
import hashlib
import hmac
import os
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from acp_stdio.errors import Failure
from acp_stdio.vault.private_file import KEY_BYTES, Unfit, read_key
from acp_stdio.wire.canonical import canonical
from acp_stdio.wire.members import members

Mode = Literal["none", "digest", "full"]
KEY_FILE: Final = "audit-digest.key"
MOST_KEYS: Final = 64
"""Names in a record; more are counted only."""


class Arguments:
    """Describes arguments in one of three ways."""

    def __init__(self, mode: Mode = "none", key_file: Path | None = None) -> None:
        """`key_file`: made with the first digest."""
        self._mode = mode
        self._key_file = key_file
        self._keyed: hmac.HMAC | None = None
        """Of nothing yet, with the key: a copy costs less than a new one."""
        self._name = ""

    def about(self, params: bytes, size: int) -> dict[str, Any]:
        """The record's `arguments` for a request's `params`, JSON text of `size` bytes.

        Raises `Failure("audit_unavailable")` where the key can neither be read nor made.
        """
        told: dict[str, Any] = {"bytes": size}
        if self._mode == "none":
            return told
        raw = arguments_of(params)
        try:
            one_spelling = canonical(raw)
        except ValueError:  # no JSON: the server will say so
            return told
        names = list(members(raw))
        told["keys"] = [name[:128] for name in names[:MOST_KEYS]]
        if len(names) > MOST_KEYS:
            told["more_keys"] = len(names) - MOST_KEYS
        if self._mode == "full":
            told["value"] = msgspec.Raw(one_spelling)
        else:
            told["digest"] = self._digest(one_spelling)
        return told

    def _digest(self, one_spelling: bytes) -> str:
        if self._keyed is None:
            key = self._load()
            self._keyed = hmac.new(key, digestmod="sha256")
            self._name = hashlib.sha256(b"acp-stdio digest key\0" + key).hexdigest()[:8]
        digest = self._keyed.copy()
        digest.update(one_spelling)
        return f"hmac-sha256:{self._name}:{digest.hexdigest()}"

    def _load(self) -> bytes:
        assert self._key_file is not None
        try:
            with contextlib.suppress(Unfit):
                return read_key(self._key_file)
            _make(self._key_file)  # unless there is one: another process may have made it since, or it is damaged
            return read_key(self._key_file)
        except (Unfit, OSError) as e:
            raise Failure(
                "audit_unavailable",
                f"The key for the audit trail's digests cannot be used: {e}.",
                f"Mend {self._key_file}, or remove it: later digests have another key then.",
            ) from None


def arguments_of(params: bytes) -> bytes:
    """Of a tool's or a prompt's call the `arguments`; of any other request its parameters without `_meta`."""
    parts = members(params)
    if "arguments" in parts:
        return bytes(parts["arguments"])
    return msgspec.json.encode({name: value for name, value in parts.items() if name != "_meta"})


def _make(path: Path) -> None:
    """A crash leaves no half of it; of two who make it at once the first one's stays."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.urandom(4).hex()}.draft")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(base64.b64encode(os.urandom(KEY_BYTES)) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
