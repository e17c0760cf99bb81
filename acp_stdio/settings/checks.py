"""What a value in a configuration file may look like. Each check returns the problem in words, or nothing."""

import re
from pathlib import PurePath
from urllib.parse import SplitResult, urlsplit

from acp_stdio.settings.origin import is_loopback, origin_of

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}", re.ASCII)
"""Names of upstreams and profiles: they become file names, prefixes of tool names and parts of log lines."""

_REDIRECT = re.compile(r"http://(?:127\.0\.0\.1|localhost|\[::1\]):(\d{1,5}(?:,\d{1,5})*)(?:/[\w.~/-]*)?", re.ASCII)
_META_KEY = re.compile(
    r"(?:[A-Za-z](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*/)?[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
)
_PARAMETER = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*", re.ASCII)
_STANDARD = {
    *("response_type", "response_mode", "client_id", "client_secret", "redirect_uri", "scope", "state"),
    *("code_challenge", "code_challenge_method", "code_verifier", "resource", "audience", "request", "request_uri"),
    *("nonce", "prompt", "max_age", "acr_values", "claims", "login_hint", "registration", "dpop_jkt", "url"),
}
"""RFC 6749, 7636, 8707, 9101, 9449, OpenID Connect Core 3.1.2.1, Auth0's `audience`, and Authlib's own `url`."""
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 section 3.3, scope-token


def _split(text: str) -> SplitResult | None:
    if not text.isascii() or not text.isprintable() or " " in text:
        return None  # urlsplit would drop tabs and line ends in silence
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises ValueError for a port that is none
    except ValueError:
        return None
    return parts if parts.hostname else None


def url(text: str) -> str:
    """An address to talk to: https, or http where it cannot leave the machine."""
    parts = _split(text)
    if parts is None:
        return "is not a complete URL such as https://mcp.example.com/mcp"
    if "@" in parts.netloc:
        return "must not carry a user name or password"
    if "#" in text:
        return "must not have a fragment (#)"
    if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        return ""
    return "must use https (plain http is accepted for loopback addresses only)"


def collector(text: str) -> str:
    """An OTLP/HTTP collector's base address, below which both signals have their paths (OTLP/HTTP)."""
    return url(text) or ("must not have a query (?): no secret belongs in this file" if "?" in text else "")


def issuer(text: str) -> str:
    """OpenID Connect Discovery section 3: an https URL without query and fragment."""
    return url(text) or ("must not have a query (?)" if "?" in text else "")


def client_document(text: str) -> str:
    """A client id metadata document's address: https with a path, which is the client id itself."""
    if problem := url(text):
        return problem
    return "" if urlsplit(text).path not in ("", "/") else "must have a path: it is the client id, to the byte"


def secret_place(text: str) -> str:
    """Where a client secret is kept, never the secret itself, which is therefore not repeated either."""
    kind, _, place = text.partition(":")
    if kind == "keyring" and NAME.fullmatch(place):
        return ""
    if kind == "file" and PurePath(place).is_absolute() and text.isprintable():
        return ""
    return 'must be "keyring:NAME" or "file:/ABSOLUTE/PATH", and never the secret itself'


def own_parameter(name: str) -> str:
    """A parameter of the sign-in page that is the provider's own: what the standards name has its settings, and
    protects the sign-in."""
    if name in _STANDARD:
        return "the sign-in sets itself"
    return "" if _PARAMETER.fullmatch(name) else "is no parameter's name"


def redirect(text: str) -> str:
    """A loopback redirect, RFC 8252 section 7.3, with its port: 0 for any free, commas between several."""
    match = _REDIRECT.fullmatch(text)
    if match is None:
        return "must be http on 127.0.0.1, [::1] or localhost with a port, such as http://127.0.0.1:0/callback"
    if any(int(port) > 65_535 for port in match[1].split(",")):
        return "names a port above 65535"
    return ""


def proxy(text: str) -> str:
    """An HTTP proxy; its password would be a secret, and no secret belongs in the file."""
    parts = _split(text)
    if parts is None or parts.scheme != "http":
        return "must be http://HOST:PORT"
    if "@" in parts.netloc:
        return "must not carry a user name or password: no secret belongs in this file"
    return ""


def meta_key(text: str) -> str:
    """A key of `_meta` (MCP, basic: `_meta`), of whoever runs the server and not of MCP's own."""
    prefix, slash, _ = text.rpartition("/")
    if not slash or _META_KEY.fullmatch(text) is None:
        return "must be a key of `_meta` with its owner before it, such as com.example/access-token"
    if any(label in ("modelcontextprotocol", "mcp") for label in prefix.split(".")[1:2]):
        return "names a key that MCP keeps for itself"
    return ""


def scope(text: str) -> str:
    return "" if _SCOPE.fullmatch(text) else f"has {text!r}, which is not one scope (no spaces or quotes)"


def filled(text: str) -> str:
    return "" if text and text.isprintable() else "must be printable text, and not empty"


def name(text: str) -> str:
    if NAME.fullmatch(text):
        return ""
    return "must be 1 to 32 of a-z, 0-9, _ and -, beginning with a letter or digit"


def covers(resource: str, address: str) -> bool:
    """Is `resource` (RFC 8707) the URL `address`, or a path above it on the same origin?"""
    if resource == address:
        return True
    if url(resource) or origin_of(resource) != origin_of(address):
        return False
    above, below = urlsplit(resource), urlsplit(address)
    path = above.path.rstrip("/")
    return not above.query and (below.path == path or below.path.startswith(f"{path}/"))
