"""Acme's two people. Make-believe: the passwords are printed on the login page."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an account at the demo's identity provider."""

    account: str
    sub: str
    name: str
    email: str
    groups: tuple[str, ...]
    password: str


SARAH: Final = Person("sarah", "u-1001", "Sarah Miller", "sarah@acme.example", ("accounting",), "sarah-demo")
INTERN: Final = Person("intern", "u-1002", "Ines Tern", "intern@acme.example", ("interns",), "intern-demo")
PEOPLE: Final = {person.account: person for person in (SARAH, INTERN)}

CLIENT_ID: Final = "acp-stdio"
"""How acp-stdio is registered at the demo's identity provider: public, no secret (RFC 8252)."""
SCOPE: Final = "finance.read"
"""The one scope that the finance server asks for."""
SERVICE_ACCOUNT: Final = "service-account-mcp-gateway"
"""Who everybody is with a shared API key."""
