"""Who we are at an authorization server, and how we prove it there (RFC 6749 section 2.3)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import quote_plus

from acp_stdio.errors import Failure
from acp_stdio.secrets import Secret

ClientSource = Literal["configured", "metadata document", "registered"]
"""How a client id was obtained."""
BasicPair = tuple[str, str]
"""User and password of HTTP Basic. Not printable."""
AuthMethod = Literal["none", "client_secret_basic", "client_secret_post"]

_WITH_SECRET: Final[tuple[AuthMethod, ...]] = ("client_secret_basic", "client_secret_post")


@dataclass(frozen=True, slots=True)
class Credential:
    """A client secret and the way in which the server wants to be shown it."""

    secret: Secret
    method: AuthMethod

    def attach(self, form: Mapping[str, str]) -> tuple[dict[str, str], BasicPair | None]:
        """`form`, which names the `client_id`, with the proof in it or beside it.

        RFC 6749 section 2.3.1: id and secret of HTTP Basic are form-encoded first.
        """
        if self.method == "client_secret_post":
            return {**form, "client_secret": self.secret.reveal()}, None
        rest = {name: value for name, value in form.items() if name != "client_id"}
        return rest, (quote_plus(form["client_id"]), quote_plus(self.secret.reveal()))


@dataclass(frozen=True, slots=True)
class Client:
    """This program as one server knows it."""

    client_id: str
    source: ClientSource
    credential: Credential | None = None
    """None: a public client (RFC 8252 section 8.4)."""


def proven(form: Mapping[str, str], credential: Credential | None) -> tuple[Mapping[str, str], BasicPair | None]:
    """`form`, and what goes beside it as HTTP Basic, as the server is to get them."""
    return (form, None) if credential is None else credential.attach(form)


def method_with_secret(issuer: str, offered: Iterable[str]) -> AuthMethod:
    """How a secret is shown where the server offers these methods: Basic, if it can be.

    RFC 8414 section 2: nothing said means Basic. Raises `Failure(configuration_invalid)`.
    """
    known = tuple(offered) or _WITH_SECRET
    for method in _WITH_SECRET:
        if method in known:
            return method
    raise Failure(
        "configuration_invalid",
        f"{issuer} takes no client secret: it wants {', '.join(known)}.",
        "Ask whoever runs it for a public client, or for one with a client secret.",
    )
