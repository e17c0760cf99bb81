"""Rules that somebody signs: they count with a valid signature, and no older ones than this computer has seen.

The managed file names them, by `file` and `key` in `[policy]` and nothing else. Beside the file lies `FILE.sig`: in
base64 an Ed25519 signature (RFC 8032) of the file's bytes, or one of ECDSA on P-256 with SHA-256, in DER as OpenSSL
writes it (RFC 3279 section 2.2.3).
"""

import binascii
import hashlib
import os
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from acp_stdio.settings import managed
from acp_stdio.settings.sources import MAX_BYTES, Entry, Problems, Source, parse
from acp_stdio.settings.table import Table

KEYS: Final = ("file", "key")
"""What names signed rules in `[policy]`."""
SEEN: Final = "policy-serials"
"""Folder below the state directory: one empty file for the highest serial of each key."""
_MOST: Final = 2**53
# SubjectPublicKeyInfo (RFC 5280 section 4.1) up to the key: RFC 8410 section 4; RFC 5480 section 2, uncompressed point
_ED25519: Final = bytes.fromhex("302a300506032b6570032100")
_P256: Final = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
_HOW: Final = "Whoever manages the rules runs `acp-stdio policy sign FILE --key KEYFILE`"


class Signed(NamedTuple):
    """Rules whose signature holds."""

    source: Source
    serial: int
    key: bytes
    """The public key, DER."""

    @property
    def signer(self) -> str:
        """The key's fingerprint."""
        return fingerprint(self.key)


def fingerprint(key: bytes) -> str:
    """SHA-256 of a public key's DER, as `openssl pkey -pubin -outform DER | sha256sum` says it."""
    return f"sha256:{hashlib.sha256(key).hexdigest()}"


def signature_of(file: Path) -> Path:
    """Where the signature of a file lies."""
    return file.with_name(f"{file.name}.sig")


def naming(sources: Sequence[Source]) -> Entry | None:
    """The `[policy]` that says that rules are signed; only the administrator's can."""
    for source in sources:
        table: Any = source.data.get("policy")
        if source.path == managed.PLACE and isinstance(table, dict) and any(key in table for key in KEYS):
            return Entry(cast("dict[str, Any]", table), source, ("policy",))
    return None


def files(sources: Sequence[Source]) -> tuple[Path, ...]:
    """The signed file and its signature, whose change is a change of the rules; empty where none is named."""
    entry = naming(sources)
    named: object = cast("dict[str, object]", entry.value).get("file") if entry else None
    return (Path(named), signature_of(Path(named))) if isinstance(named, str) and "\0" not in named else ()


def read(entry: Entry, state: Path, problems: Problems) -> Signed | None:
    """The rules that `[policy]` names. None, and a problem said, where they do not count. `state`: of this user.

    Measured on two busy cores: 35 to 55 ms the first time in a process, all but one of them the import of
    `cryptography`, and 0.8 ms after each change. While nothing changes it costs two more `os.stat` a call.
    """
    table = Table(
        {
            key: Entry(value, entry.source, (*entry.keys, key))
            for key, value in cast("dict[str, object]", entry.value).items()
        },
        problems,
    )
    path, key = table.path("file"), table.text("key", "", _key_problem)
    for other in sorted(table.written - {*KEYS}):
        inner = Entry(None, entry.source, (*entry.keys, other))
        problems.at(inner, "belongs in the signed file: beside file and key stands nothing else")
    if path is None or not key:
        problems.at(entry, "needs both, file and key, for rules to be signed")
        return None
    content = _content(path, f"does not exist, but {entry.source.path} names it", MAX_BYTES + 1, problems)
    if content is None:
        return None
    beside = signature_of(path)
    text = _content(beside, f"does not exist, so {path} is not signed. {_HOW}", 4096, problems)
    if text is None:
        return None
    public = decoded_key(key)
    if not holds(public, text, content):
        problems.say(
            f"is not as it was signed, or {beside.name} is of another key than {entry.source.path} names. {_HOW}", path
        )
        return None
    source, serial = rules_of(path, content, problems)
    if not serial:
        return None
    try:
        highest = _highest_seen(state / SEEN, public, serial)
    except OSError as error:
        problems.say(f"cannot keep the serial of the rules, so older ones could come back: {error.strerror}", state)
        return None
    if serial < highest:
        problems.say(
            f"has the serial {serial}, and this computer has seen {highest}: older rules do not come back. "
            f"Whoever manages the rules gives them a higher serial and signs them again",
            path,
            source.line(("serial",)),
        )
        return None
    return Signed(source, serial, public)


def rules_of(path: Path, content: bytes, problems: Problems) -> tuple[Source, int]:
    """A file that can be signed, and its serial; 0, and a problem said, where it has none or no rules."""
    before = len(problems.found)
    source = parse(path, content, problems)
    table = Table({key: Entry(value, source, (key,)) for key, value in source.data.items()}, problems)
    if (version := table.entry("version")) and (type(version.value) is not int or version.value != 1):
        problems.at(version, "must be 1, the format that this version reads")
    serial, policy = table.entry("serial"), table.entry("policy")
    value = serial.value if serial else None
    if type(value) is not int or not 0 < value < _MOST:
        problems.say("needs serial, a number that grows with each change", path, source.line(("serial",)))
    if policy is None:
        problems.say("needs [policy]", path)
    table.finish()
    return source, value if type(value) is int and len(problems.found) == before else 0


def decoded_key(text: str) -> bytes:
    """The DER of a public key in base64, with or without PEM's frame. Raises `ValueError`."""
    body = "".join(line.strip() for line in text.splitlines() if not line.startswith("-----"))
    return b64decode(body, validate=True)


def holds(key: bytes, signature: bytes, content: bytes) -> bool:
    """Whether `signature`, in base64, is of `content` and of the private half of `key`."""
    from cryptography.exceptions import InvalidSignature

    try:
        made = b64decode(b"".join(signature.split()), validate=True)
        if key.startswith(_ED25519):
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

            Ed25519PublicKey.from_public_bytes(key[len(_ED25519) :]).verify(made, content)
        else:
            from cryptography.hazmat.primitives.asymmetric import ec
            from cryptography.hazmat.primitives.hashes import SHA256

            point = key[len(_P256) - 1 :]  # with the byte that says that it is not compressed
            public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
            public.verify(made, content, ec.ECDSA(SHA256()))
    except (InvalidSignature, ValueError):  # ValueError: no base64; no point of the curve
        return False
    return True


def _key_problem(text: str) -> str:
    try:
        key = decoded_key(text)
    except (binascii.Error, ValueError):
        key = b""
    fine = (key.startswith(_ED25519) and len(key) == 44) or (key.startswith(_P256) and len(key) == 91)
    return "" if fine else "must be a public key, Ed25519 or P-256, as `acp-stdio policy sign` prints it"


def _content(path: Path, missing: str, most: int, problems: Problems) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(most)
    except FileNotFoundError:
        problems.say(missing, path)
    except OSError as error:
        problems.say(f"cannot be read: {error.strerror}", path)
    return None


def _highest_seen(folder: Path, key: bytes, serial: int) -> int:
    """The highest serial that was seen of this key; this one is kept if it is higher. Raises `OSError`.

    Each is a file of its own name, so that two processes at once can only add.
    """
    prefix = f"{hashlib.sha256(key).hexdigest()[:32]}."
    try:
        names = [name for name in os.listdir(folder) if name.startswith(prefix)]
    except FileNotFoundError:
        names = []
    seen = {int(name[len(prefix) :]): name for name in names if name[len(prefix) :].isdecimal()}
    highest = max(seen, default=0)
    if serial > highest:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / f"{prefix}{serial}").touch(0o600)
        for name in seen.values():
            (folder / name).unlink(missing_ok=True)
    return highest
