"""The kit for servers on the far side: who is asking, proven, and a line of the log that says so.

Imports nothing of the proxy. `BearerAuth` guards an ASGI application; `mcp_sdk.SdkVerifier` plugs into the MCP SDK.
"""

from acp_stdio.backend.assertion import AssertionVerifier, InvalidAssertion
from acp_stdio.backend.caller import NOBODY, Caller
from acp_stdio.backend.middleware import BearerAuth, caller_of
from acp_stdio.backend.proof import InvalidProof, ProofVerifier
from acp_stdio.backend.refusals import InsufficientScope, InvalidToken, KeysUnavailable, Refused
from acp_stdio.backend.verifier import TokenVerifier

__all__ = [
    "NOBODY",
    "AssertionVerifier",
    "BearerAuth",
    "Caller",
    "InsufficientScope",
    "InvalidAssertion",
    "InvalidProof",
    "InvalidToken",
    "KeysUnavailable",
    "ProofVerifier",
    "Refused",
    "TokenVerifier",
    "caller_of",
]
