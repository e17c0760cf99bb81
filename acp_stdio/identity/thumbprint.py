"""A key's name: its thumbprint (RFC 7638), and the URI of that (RFC 9278)."""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

URI: Final = "urn:ietf:params:oauth:jwk-thumbprint:sha-256:"


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """The URI, of an EC key. Raises `KeyError` where it is none."""
    return URI + bare_thumbprint(jwk)


def bare_thumbprint(jwk: Mapping[str, Any]) -> str:
    """What a DPoP-bound token has in `cnf.jkt` (RFC 9449 section 6.1). Raises as `thumbprint`."""
    members = {name: jwk[name] for name in ("crv", "kty", "x", "y")}
    hashed = hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest()
    return base64.urlsafe_b64encode(hashed).rstrip(b"=").decode()
