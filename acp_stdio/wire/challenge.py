"""`WWW-Authenticate` (RFC 9110 section 11.6.1): what a server says about the token that it refused."""

import re
from typing import Final

_TOKEN: Final = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"  # noqa: S105 - a token of RFC 9110
_PIECE: Final = re.compile(rf'({_TOKEN})(?:\s*=\s*("(?:[^"\\]|\\.)*"|{_TOKEN}))?')
_SCHEMES: Final = ("bearer", "dpop")
_MOST: Final = 16_384
"""Characters that are read."""


def parameters(header: str) -> dict[str, str]:
    """The parameters of the challenges for an access token, by lower-case name; of two the first counts."""
    scheme = ""
    found: dict[str, str] = {}
    for match in _PIECE.finditer(header[:_MOST]):
        name, value = match[1].lower(), match[2]
        if value is None:
            scheme = name
        elif scheme in _SCHEMES:
            text = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
            found.setdefault(name, text)
    return found
