"""Authlib's client for the interactive half of OAuth, on our own HTTP client and error words.

Authlib builds the authorization URL, the PKCE challenge and the token requests. It never holds
a token: its own session would attach one to any URL it is asked for, so it is given none.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import httpx2
from authlib.common.security import generate_token
from authlib.common.urls import url_decode
from authlib.oauth2.client import OAuth2Client

from acp_stdio.oauth.client import Client
from acp_stdio.oauth.endpoint import TokenResponse, request_token
from acp_stdio.oauth.metadata import AuthorizationServer
from acp_stdio.oauth.possession import Prover
from acp_stdio.secrets import Secret

DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"


class _Authlib(OAuth2Client):
    """Prepares requests; sending and reading them is `oauth.endpoint`'s."""

    def __init__(self, server: AuthorizationServer, http: httpx2.Client, client: Client, prover: Prover | None) -> None:
        super().__init__(None, client_id=client.client_id, code_challenge_method="S256")  # pyright: ignore[reportUnknownMemberType]  # Authlib is not typed
        self._server = server
        self._http = http
        self._credential = client.credential
        self._prover = prover

    def _fetch_token(
        self, url: str, body: str = "", headers: Any = None, auth: Any = None, method: str = "POST", **_: Any
    ) -> TokenResponse:
        _, _, body = auth.prepare(method, url, headers, body)
        return request_token(self._server, self._http, dict(url_decode(body)), self._credential, self._prover)


class InteractiveClient:
    """This program as an OAuth client of one server, a public one unless it has a secret (RFC 8252 section 8.4)."""

    def __init__(
        self, server: AuthorizationServer, http: httpx2.Client, client: Client, prover: Prover | None = None
    ) -> None:
        """`prover`: what it asks for is to be bound to a key (RFC 9449)."""
        self._server = server
        self._bound_to = {"dpop_jkt": prover.thumbprint} if prover else {}
        self._authlib: Any = _Authlib(server, http, client, prover)  # typed here, since Authlib is not

    def authorization_url(
        self, *, redirect_uri: str, state: str, verifier: Secret, parameters: Mapping[str, str | Sequence[str]]
    ) -> str:
        """Where the browser goes (RFC 6749 section 4.1.1, RFC 7636 section 4.3); a list is repeated (RFC 8707).

        A code is bound to the key as well (RFC 9449 section 10).
        """
        url, _ = self._authlib.create_authorization_url(
            self._server.authorization_endpoint,
            state=state,
            code_verifier=verifier.reveal(),
            redirect_uri=redirect_uri,
            **parameters,
            **self._bound_to,
        )
        return str(url)

    def exchange(
        self, code: Secret, *, redirect_uri: str, verifier: Secret, parameters: Mapping[str, str]
    ) -> TokenResponse:
        """The grant for a code. Raises `oauth.endpoint.TokenError`."""
        return self._authlib.fetch_token(
            self._server.token_endpoint,
            grant_type="authorization_code",
            code=code.reveal(),
            redirect_uri=redirect_uri,
            code_verifier=verifier.reveal(),
            **parameters,
        )

    def poll_device(self, device_code: Secret, parameters: Mapping[str, str]) -> TokenResponse:
        """One look at whether the person is done (RFC 8628 section 3.4). Raises `oauth.endpoint.TokenError`."""
        return self._authlib.fetch_token(
            self._server.token_endpoint,
            grant_type=DEVICE_GRANT,
            device_code=device_code.reveal(),
            **parameters,
        )


def random_token(bits: int = 256) -> str:
    """An unguessable word of letters and digits, with at least `bits` of entropy."""
    return str(generate_token(-(-bits * 100 // 595)))  # 62 characters: 5.95 bits each
