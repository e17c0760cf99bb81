"""This computer's signing key: ES256, in the keyring beside the sign-ins, made once.

It says "this computer wrote that", of the trail's checkpoints and of assertions about calls. It belongs to the
computer and not to a sign-in, so no logout deletes it: what was signed must be checkable as one computer's for as
long as the trail is kept. Who removes it (`acp-stdio/device-key` in the keyring) gets a new one, under another name.
"""

import base64
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from acp_stdio.errors import Failure
from acp_stdio.identity.thumbprint import thumbprint
from acp_stdio.secrets import Secret
from acp_stdio.vault.lock import FileLock
from acp_stdio.vault.store import Vault

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

RECORD: Final = "device-key"
LOCK_TIMEOUT: Final = 10.0
PUBLIC: Final = "device-key.json"
"""The public half, in the state directory: what an administrator enrols, and what `audit verify` checks with."""


@dataclass(frozen=True, slots=True)
class DeviceKey:
    """Signs; never shows its private half."""

    name: str
    """The thumbprint's URI (RFC 7638, RFC 9278)."""
    public: dict[str, str]
    """The public half as a JWK."""
    private: "EllipticCurvePrivateKey"

    def __repr__(self) -> str:
        return f"DeviceKey({self.name})"

    def sign(self, payload: bytes, kind: str) -> str:
        """A compact JWS (RFC 7515) over `payload`; `kind` is its `typ`, so that none is taken for another."""
        from jwt.api_jws import PyJWS

        return PyJWS().encode(payload, self.private, algorithm="ES256", headers={"typ": kind, "kid": self.name})


def device_key(vault: Vault, state: Path) -> DeviceKey:
    """The key, made by the first who asks; two who ask at once get the same. Raises `Failure("keyring_locked")`."""
    return read_key(stored_key(vault, state))


def stored_key(vault: Vault, state: Path) -> Secret:
    """The key as it is stored, for a process of ours that may not read the keyring. Raises `keyring_locked`."""
    stored = vault.load(RECORD)
    if stored is None:
        try:
            with FileLock(state / f"{RECORD}.lock").held(LOCK_TIMEOUT):
                stored = vault.load(RECORD)
                if stored is None:
                    stored = _new()
                    vault.save(RECORD, stored)
        except OSError as e:
            raise Failure("keyring_locked", f"This computer's key could not be made: {e}.", "Try again.") from None
    _publish(state / PUBLIC, read_key(stored).public)
    return stored


def verified(jws: str, public: dict[str, Any], kind: str) -> bytes:
    """What `jws` says, if `public` signed it as a `kind`. Raises `ValueError`."""
    import jwt
    from jwt.api_jws import PyJWS

    try:
        checked = PyJWS().decode_complete(jws, jwt.PyJWK(public, algorithm="ES256"), algorithms=["ES256"])
    except jwt.PyJWTError as e:
        raise ValueError(f"its signature does not hold: {e}") from None
    if checked["header"].get("typ") != kind:
        raise ValueError("it was signed as something else")
    return checked["payload"]


def published(state: Path) -> dict[str, Any] | None:
    """The public half that was written beside the trail; None where there is none that can be read."""
    try:
        public: dict[str, Any] = json.loads((state / PUBLIC).read_text(encoding="ascii"))
        return public if thumbprint(public) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _new() -> Secret:
    from cryptography.hazmat.primitives.asymmetric import ec

    number = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
    return Secret(json.dumps({"v": 1, "crv": "P-256", "d": _text(number.to_bytes(32))}))


def read_key(stored: Secret) -> DeviceKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        text = json.loads(stored.reveal())["d"]
        number = int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        private = ec.derive_private_key(number, ec.SECP256R1())
    except (ValueError, KeyError, TypeError):
        raise Failure(
            "keyring_locked",
            f"The record `acp-stdio/{RECORD}` is damaged.",
            "Delete it from the keyring; this computer gets a new key then.",
        ) from None
    point = private.public_key().public_numbers()
    public = {"kty": "EC", "crv": "P-256", "x": _text(point.x.to_bytes(32)), "y": _text(point.y.to_bytes(32))}
    return DeviceKey(thumbprint(public), {**public, "alg": "ES256", "use": "sig"}, private)


def _publish(path: Path, public: dict[str, str]) -> None:
    content = json.dumps({**public, "kid": thumbprint(public)}, indent=2) + "\n"
    try:
        if path.exists() and path.read_text(encoding="ascii") == content:
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}.draft")
        draft.write_text(content, encoding="ascii")
        draft.replace(path)
    except OSError:
        return  # a full disk is no reason not to sign; the next one writes it


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
