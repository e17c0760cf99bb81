"""Signs what each request of an upstream with `assertion = true` says about itself.

The key comes with the token, from the helper that may read the keyring. 0.06 ms a request (the median of 3000); the
libraries take 0.1 to 0.3 s on two busy cores, so they are read while the helper is at work. Upstreams without it
load and pay nothing.
"""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from acp_stdio.audit.chain import Head
from acp_stdio.errors import Failure
from acp_stdio.identity.model import AccessToken
from acp_stdio.identity.statement import HEADER, KIND, NO_PARAMS, digest, statement
from acp_stdio.wire import frames
from acp_stdio.wire.canonical import canonical
from acp_stdio.wire.members import members, text

if TYPE_CHECKING:
    from acp_stdio.vault.device_key import DeviceKey


def load_libraries() -> None:
    """What the first signature would have to wait for."""
    import jwt.api_jws
    from cryptography.hazmat.primitives.asymmetric import ec

    assert jwt.api_jws
    assert ec


class Statements:
    """The header of each request; the key is taken up once a token."""

    def __init__(self) -> None:
        self._token: AccessToken | None = None
        self._key: DeviceKey | None = None
        self._token_digest = ""

    def header(
        self,
        token: AccessToken,
        *,
        user: Mapping[str, Any],
        act: Mapping[str, Any],
        body: bytes,
        request_id: str,
        head: Head,
    ) -> tuple[str, str]:
        """Raises `Failure`, with nothing sent: a server that wants a statement gets no request without one."""
        key = self._taken_up(token)
        method, tool, params = _asked(body)
        said = statement(
            key=key.name,
            user=user,
            token=token.claims,
            token_digest=self._token_digest,
            act=act,
            method=method,
            tool=tool,
            params=params,
            request_id=request_id,
            now=time.time(),
            log={"chain": head.chain, "seq": head.seq, "hash": head.hash},
        )
        return HEADER, key.sign(msgspec.json.encode(said), KIND)

    def _taken_up(self, token: AccessToken) -> "DeviceKey":
        if token is not self._token or self._key is None:
            if token.signing_key is None:
                why = "This server wants a signed statement with each call, and this computer's key is not at hand."
                raise Failure("keyring_locked", why, "Run `acp-stdio doctor`.")
            from acp_stdio.vault.device_key import read_key

            self._key, self._token = read_key(token.signing_key), token
            self._token_digest = digest(token.value.reveal().encode())
        return self._key


def _asked(body: bytes) -> tuple[str, str, bytes]:
    """A frame's method, the tool that it calls, and its parameters in their one spelling."""
    if not body:
        return "", "", NO_PARAMS
    frame = frames.parse(body)
    if frame.params is None:
        return frame.method or "", "", NO_PARAMS
    tool = text(members(frame.params).get("name")) if frame.method == "tools/call" else ""
    return frame.method or "", tool, canonical(bytes(frame.params))
