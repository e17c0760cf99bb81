"""Whose token it is, at a provider without ID tokens that tells it at an address of its own."""

from typing import Any

import httpx2

from acp_stdio.errors import Failure
from acp_stdio.oauth.http import ConnectionFailed, send
from acp_stdio.oauth.metadata import AuthorizationServer
from acp_stdio.secrets import Secret


def user_claims(server: AuthorizationServer, http: httpx2.Client, token: Secret) -> dict[str, Any]:
    """The person, in the claims that an ID token would have; from `server` itself, over TLS, so as good as signed
    (OpenID Connect Core section 3.1.3.7, rule 6).

    docs.github.com/rest/users/users, "Get the authenticated user": `id` never changes, `login` may; a public
    `email` is a verified one. Raises `Failure(idp_unreachable)`.
    """
    try:
        answer = send(http, "GET", server.user_endpoint, headers={"Authorization": f"Bearer {token.reveal()}"})
    except ConnectionFailed as error:
        raise error.failure() from None
    found = answer.json_object() if answer.status == 200 else None
    if found is None or not isinstance(found.get("id"), int) or not isinstance(found.get("login"), str):
        raise Failure(
            "idp_unreachable",
            f"{server.user_endpoint} does not say whose token it is (HTTP {answer.status}), so it is not used.",
            "Try again in a minute.",
        )
    claims = {"iss": server.issuer, "sub": str(found["id"]), "preferred_username": found["login"]}
    email = found.get("email")
    return {**claims, **({"email": email, "email_verified": True} if isinstance(email, str) and email else {})}
