"""Finds tokens where none may be: plain, encoded, turned round or in pieces.

A test server calls `remember` for each secret it issues; after every test the captured output
is searched for all of them (see `tests/conftest.py`), and `scan` searches files and texts.
"""

import base64
import re
from binascii import unhexlify
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote_to_bytes

PIECE = 24
"""Characters of a token that give it away; shorter pieces occur by chance in base64 of other things."""
_STEP = PIECE // 2
"""Any piece holds a whole block of half its length from a grid over the token: only those are looked up."""
_SHORTEST = 8
"""Characters; 11 of base64 and 16 of hex encode as many."""
_DEPTH = 3
"""Encodings on top of each other that are taken off, such as percent-encoded base64."""

_TOKEN_TEXT = re.compile(rb"[A-Za-z0-9._~+/=-]{%d,}" % PIECE)  # RFC 6750 section 2.1, b64token
_BASE64_TEXT = re.compile(rb"[A-Za-z0-9+/_-]{11,}")
_HEX_TEXT = re.compile(rb"(?:[0-9A-Fa-f]{2}){8,}")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")

_issued: dict[str, None] = {}


def remember(*secrets: str) -> None:
    """Notes secrets that no test may show from now on."""
    _issued.update(dict.fromkeys(secrets))


def issued() -> tuple[str, ...]:
    """Every secret remembered in this test session."""
    return tuple(_issued)


def scan(secrets: Iterable[str], *roots: Path, texts: Iterable[str] = ()) -> list[str]:
    """Where the secrets are in the files below `roots` (names included) and in `texts`.

    Says the place, the encoding and which secret by number; never the secret itself.
    """
    search = _Search(secrets)
    found: list[str] = []
    for root in roots:
        files = sorted(path for path in root.rglob("*") if path.is_file()) if root.is_dir() else [root]
        for path in files:
            found += [f"{path}: {words}" for words in search.in_bytes(path.read_bytes())]
            found += [f"the name of {path.parent}/…: {words}" for words in search.in_bytes(path.name.encode())]
    for number, text in enumerate(texts):
        found += [f"text {number}: {words}" for words in search.in_bytes(text.encode("utf-8", "surrogatepass"))]
    return found


class _Search:
    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = [secret.encode() for secret in dict.fromkeys(secrets)]
        self._short: list[int] = []
        self._blocks: dict[bytes, list[tuple[int, int]]] = {}
        for number, secret in enumerate(self._secrets):
            if len(secret) < _SHORTEST:
                raise ValueError(f"secret {number} is too short to tell it from other text")
            body = _public_part(secret)
            if len(secret) - body < PIECE:
                self._short.append(number)
                continue
            for place in range(body, len(secret) - _STEP + 1, _STEP):
                self._blocks.setdefault(secret[place : place + _STEP], []).append((number, place))

    def in_bytes(self, content: bytes) -> list[str]:
        found: dict[str, None] = {}
        for encoding, view in _views(content, _DEPTH):
            for number in self._in_view(view):
                found[f"secret {number}, {encoding}"] = None
        return list(found)

    def _in_view(self, view: bytes) -> Iterator[int]:
        yield from (number for number in self._short if self._secrets[number] in view)
        if not self._blocks:
            return
        for run in _TOKEN_TEXT.finditer(view):
            text = run[0]
            for place in range(len(text) - _STEP + 1):
                for number, start in self._blocks.get(text[place : place + _STEP], ()):
                    if _common(text, place, self._secrets[number], start) >= PIECE:
                        yield number


def _public_part(secret: bytes) -> int:
    """Length of a JWT's header, which is the same in every token of an issuer and no secret."""
    parts = secret.split(b".")
    return len(parts[0]) + 1 if len(parts) in {3, 5} and parts[0].startswith(b"ey") else 0


def _common(text: bytes, place: int, secret: bytes, start: int) -> int:
    """How far both agree around a block that they share."""
    left = 0
    while min(place, start) > left and text[place - left - 1] == secret[start - left - 1]:
        left += 1
    right = 0
    while place + right < len(text) and start + right < len(secret) and text[place + right] == secret[start + right]:
        right += 1
    return left + right


def _views(content: bytes, depth: int) -> Iterator[tuple[str, bytes]]:
    """The content as it is and as what it may be an encoding of."""
    yield "plain", content
    yield "backwards", content[::-1]
    if depth == 0:
        return
    inner: list[tuple[str, bytes]] = []
    if b"\0" in content:
        inner.append(("UTF-16", content.replace(b"\0", b"")))
    if b"%" in content:
        inner.append(("percent-encoded", unquote_to_bytes(content)))
    inner += [("hex", unhexlify(run[0])) for run in _HEX_TEXT.finditer(content)]
    for run in _BASE64_TEXT.finditer(content):
        text = run[0].translate(_URL_SAFE)
        for offset in range(4):  # the run may begin in the middle of a group of four
            rest = text[offset:]
            rest = rest[:-1] if len(rest) % 4 == 1 else rest + b"=" * (-len(rest) % 4)
            inner.append(("base64", base64.b64decode(rest)))
    for encoding, view in inner:
        for deeper, below in _views(view, depth - 1):
            yield (encoding if deeper == "plain" else f"{encoding}, {deeper}"), below
