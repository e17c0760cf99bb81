"""A key's name: the URI of its thumbprint (RFC 7638, RFC 9278)."""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

URI: Final = "urn:ietf:params:oauth:jwk-thumbprint:sha-256:"


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """Of an EC key. Raises `KeyError` where it is none."""
    members = {name: jwk[name] for name in ("crv", "kty", "x", "y")}
    hashed = hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest()
    return URI + base64.urlsafe_b64encode(hashed).rstrip(b"=").decode()
