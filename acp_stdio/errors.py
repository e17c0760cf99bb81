"""What can go wrong, said once: the stable word, the exit code, the JSON-RPC code.

Adapters raise a `Failure`; two borders translate it: `cli.main` into an exit code,
`relay.answers` into what a host sees. The words and numbers are a contract with scripts
and hosts, see the README.
"""

from typing import Final, NamedTuple

EXIT_OK: Final = 0
EXIT_UNEXPECTED: Final = 1
EXIT_USAGE: Final = 2
EXIT_CONFIGURATION: Final = 3
EXIT_SIGN_IN_REQUIRED: Final = 4
EXIT_NETWORK: Final = 5
EXIT_KEYRING: Final = 6
EXIT_DENIED: Final = 7
EXIT_NOT_REVOKED: Final = 8
EXIT_AUDIT: Final = 9
EXIT_BACKEND: Final = 10
"""`check-backend` has found something wrong with a server; nothing is wrong here."""
EXIT_INTERRUPTED: Final = 130


class Meaning(NamedTuple):
    """What one reason means at each border."""

    exit_code: int
    rpc_code: int
    """Outside -32768..-32000, which JSON-RPC 2.0 section 5.1 and MCP reserve."""


REASONS: Final[dict[str, Meaning]] = {
    "login_required": Meaning(EXIT_SIGN_IN_REQUIRED, 4401),
    "denied": Meaning(EXIT_DENIED, 4403),
    "wrong_audience": Meaning(EXIT_NETWORK, 4412),
    "insufficient_scope": Meaning(EXIT_SIGN_IN_REQUIRED, 4413),
    "keyring_locked": Meaning(EXIT_KEYRING, 4423),
    "overloaded": Meaning(EXIT_NETWORK, 4429),
    "upstream_unreachable": Meaning(EXIT_NETWORK, 4502),
    "idp_unreachable": Meaning(EXIT_NETWORK, 4503),
    "timeout": Meaning(EXIT_NETWORK, 4504),
    "era_mismatch": Meaning(EXIT_NETWORK, 4505),
    "audit_unavailable": Meaning(EXIT_AUDIT, 4507),
    "configuration_invalid": Meaning(EXIT_CONFIGURATION, 4500),
}


class Failure(Exception):
    """A failure with a meaning. Never holds a token: messages are shown and logged.

    `reason` is a key of `REASONS`; `message` says what happened and why, in one or two
    sentences; `advice` is the one thing the person can do, in one sentence.
    """

    def __init__(self, reason: str, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.advice = advice

    @property
    def meaning(self) -> Meaning:
        return REASONS[self.reason]
