"""`policy sign`: the administrator's half of signed rules. The key is read, used and never shown."""

import argparse
import base64
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acp_stdio.cli.render import Output
from acp_stdio.errors import EXIT_OK, Failure
from acp_stdio.settings.policy import read
from acp_stdio.settings.signed_rules import fingerprint, rules_of, signature_of
from acp_stdio.settings.sources import MAX_BYTES, Entry, Problems

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MAKING = "Make one with `openssl genpkey -algorithm ed25519 -out policy.key`."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a TOML file with serial and [policy]")
    parser.add_argument("--key", metavar="KEYFILE", default="", help="the private key, Ed25519 or P-256, as PEM")


def run(args: argparse.Namespace, out: Output) -> int:
    """Signs rules that are valid, and no others. Raises `Failure("configuration_invalid")`."""
    path = Path(args.file).absolute()
    if not args.key:
        raise Failure("configuration_invalid", "--key must name the private key's file.", MAKING)
    content, key_file = _read(path), Path(args.key)
    problems = Problems()
    source, serial = rules_of(path, content, problems)
    if "policy" in source.data:
        read([("managed", Entry(source.data["policy"], source, ("policy",)))], problems)
    problems.stop_if_any()
    public, signature = _sign(_private(key_file, out), content)
    beside = signature_of(path)
    draft = beside.with_name(f"{beside.name}.{os.getpid()}")
    try:
        draft.write_bytes(base64.b64encode(signature) + b"\n")
        draft.replace(beside)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise Failure("configuration_invalid", f"{beside} cannot be written: {error.strerror}.", "") from None
    key = base64.b64encode(public).decode()
    told = (
        f"Signed {path} with the serial {serial}: {beside}\n"
        f"The administrator's file names both, and nothing else about rules:\n\n"
        f"[policy]\nfile = '{path}'\nkey = \"{key}\"\n"
    )
    data = {"file": str(path), "signature": str(beside), "serial": serial, "key": key, "signer": fingerprint(public)}
    out.result(told, data)
    return EXIT_OK


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Failure("configuration_invalid", f"{path} cannot be read: {error.strerror}.", "") from None


def _private(path: Path, out: Output) -> "Ed25519PrivateKey | EllipticCurvePrivateKey":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    content = _read(path)
    if os.name == "posix" and path.stat().st_mode & 0o077:
        out.warn(f"{path} can be read by others: whoever has the key can sign rules.")
    words: bytes | None = None
    if b"ENCRYPTED" in content:
        words = _passphrase(path)
    try:
        key: Any = load_pem_private_key(content, words)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # their words are about the library
        problem = "or the passphrase is wrong" if words else "in PEM"
        raise Failure("configuration_invalid", f"{path} is no private key, {problem}.", MAKING) from None
    if isinstance(key, Ed25519PrivateKey):
        return key
    if isinstance(key, EllipticCurvePrivateKey) and key.curve.name == "secp256r1":
        return key
    raise Failure("configuration_invalid", f"{path} is a key of another kind than Ed25519 and P-256.", MAKING)


def _passphrase(path: Path) -> bytes:
    import getpass

    if not sys.stdin.isatty():
        said = f"{path} has a passphrase, and there is no terminal to ask for it."
        raise Failure("configuration_invalid", said, "Run the command in a terminal.")
    return getpass.getpass(f"Passphrase of {path}: ").encode()


def _sign(private: "Ed25519PrivateKey | EllipticCurvePrivateKey", content: bytes) -> tuple[bytes, bytes]:
    """The public half as DER, and the signature."""
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if isinstance(private, EllipticCurvePrivateKey):
        return public, private.sign(content, ECDSA(SHA256()))
    return public, private.sign(content)
