"""The key that a sign-in's tokens are bound to, where they are to be (DPoP, RFC 9449)."""

import base64
import json

from cryptography.hazmat.primitives.asymmetric import ec

from acp_stdio.errors import Failure
from acp_stdio.identity.proof import ALGORITHM
from acp_stdio.oauth.metadata import AuthorizationServer
from acp_stdio.secrets import Secret
from acp_stdio.settings.model import IdentitySettings


def proof_key(identity: IdentitySettings, server: AuthorizationServer) -> Secret | None:
    """A new key for a sign-in at `server`, as a JWK; None where its tokens are not to be bound.

    `auto` believes what the server publishes. `require` also tries one that publishes nothing, and its answer tells.
    Raises `Failure(configuration_invalid)` where that is required which the server says it cannot do.
    """
    if identity.dpop == "require" and server.dpop_algorithms and ALGORITHM not in server.dpop_algorithms:
        raise Failure(
            "configuration_invalid",
            f"{server.issuer} takes no proofs with {ALGORITHM}, and the configuration wants tokens that are bound to a "
            'key (dpop = "require").',
            "Ask whoever runs the provider, or change `dpop` under [identity].",
        )
    wanted = identity.dpop == "require" or (identity.dpop == "auto" and ALGORITHM in server.dpop_algorithms)
    return _new() if wanted else None


def _new() -> Secret:
    numbers = ec.generate_private_key(ec.SECP256R1()).private_numbers()
    point = numbers.public_numbers
    parts = {"x": point.x, "y": point.y, "d": numbers.private_value}
    return Secret(json.dumps({"kty": "EC", "crv": "P-256", **{name: _text(part) for name, part in parts.items()}}))


def _text(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(32)).rstrip(b"=").decode()
