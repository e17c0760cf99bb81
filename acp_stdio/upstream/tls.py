"""Whom we trust: the operating system's certificate authorities, or the bundle that was named."""

import os
import re
import ssl
import sys
from pathlib import Path
from typing import Final

from acp_stdio.errors import Failure

_CAPATHS: Final = ("/etc/ssl/certs", "/etc/pki/tls/certs")
_CAFILES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_HASHED = re.compile(r"[0-9a-f]{8}\.0")


def client_context(ca_bundle: str) -> ssl.SSLContext:
    """A context that checks certificate and host name, TLS 1.2 or newer.

    `ca_bundle`, a PEM file or a hashed folder, replaces the OS trust store; so do `SSL_CERT_FILE` and
    `SSL_CERT_DIR`, which it outranks. Raises `Failure("configuration_invalid")` for one that cannot be read.
    """
    named = ca_bundle or os.environ.get("SSL_CERT_FILE", "")
    folder = "" if ca_bundle else os.environ.get("SSL_CERT_DIR", "")
    if named or folder:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        for path in filter(None, (named, folder)):
            _load(context, path)
    elif sys.platform in ("darwin", "win32"):
        import truststore  # macOS and Windows keep their trust in an API, not in files

        context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _load_system(context)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load(context: ssl.SSLContext, path: str) -> None:
    try:
        if Path(path).is_dir():
            context.load_verify_locations(capath=path)
        else:
            context.load_verify_locations(cafile=path)
    except (OSError, ssl.SSLError) as error:
        raise Failure(
            "configuration_invalid",
            f"The certificate bundle {path} cannot be used: {error.strerror or 'not PEM'}.",
            "Correct [network] ca_bundle or SSL_CERT_FILE.",
        ) from error


def _load_system(context: ssl.SSLContext) -> None:
    """A hashed folder costs 0.2 ms, reading every root 27 ms; both hold the same certificates."""
    own = ssl.get_default_verify_paths()
    for folder in (own.openssl_capath, *_CAPATHS):
        if _is_hashed(folder):
            context.load_verify_locations(capath=folder)
            return
    for file in (own.openssl_cafile, *_CAFILES):
        if Path(file).is_file():
            context.load_verify_locations(cafile=file)
            return
    context.set_default_verify_paths()


def _is_hashed(folder: str) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(_HASHED.fullmatch(entry.name) for entry in entries)
    except OSError:
        return False
