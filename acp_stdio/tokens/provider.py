"""The identity provider for one client, put together from the `oauth` room and the claim checks."""

import time
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from acp_stdio.errors import Failure
from acp_stdio.identity.claims import verify_access_token
from acp_stdio.identity.model import AccessToken, Session
from acp_stdio.oauth import endpoint
from acp_stdio.oauth.cache import PublicCache
from acp_stdio.oauth.endpoint import TokenResponse
from acp_stdio.oauth.http import open_client
from acp_stdio.oauth.keys import signing_keys
from acp_stdio.oauth.metadata import AuthorizationServer, discover
from acp_stdio.oauth.presets import claim_names, expected_audiences, preset_of, token_request_params
from acp_stdio.secrets import Secret
from acp_stdio.settings.model import Settings, UpstreamSettings

_RECORDED: Final = ("jti", "aud", "scope", "scp", "exp", "auth_time", "sub", "azp", "client_id")
"""The claims that the trail tells about a token; the others stay in it."""


class OAuthProvider:
    """Implements `tokens.context.Provider`; keeps its connections until it is closed."""

    def __init__(self, settings: Settings, issuer: str, client_id: str) -> None:
        self._identity = settings.identity
        self._preset = preset_of(settings.identity)
        self._issuer = issuer
        self._client_id = client_id
        self._http = open_client(settings.network)
        self._cache = PublicCache(settings.cache_dir)
        self._known: AuthorizationServer | None = None

    @property
    def _server(self) -> AuthorizationServer:
        if self._known is None:
            self._known = discover(self._issuer, self._preset, self._http, self._cache)
        return self._known

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()

    def prepare(self) -> None:
        """Reads the metadata, from the cache where it is fresh. Raises `Failure`."""
        _ = self._server

    def refresh(self, refresh_token: Secret, upstream: UpstreamSettings, resource: str) -> TokenResponse:
        """Spends `refresh_token` once for `upstream`. Raises `TokenError`."""
        return endpoint.refresh(
            self._server,
            self._http,
            client_id=self._client_id,
            refresh_token=refresh_token,
            params=token_request_params(upstream, self._preset, resource),
        )

    def prove(
        self, response: TokenResponse, upstream: UpstreamSettings, session: Session, sent_at: float
    ) -> AccessToken:
        """The token with what was proven about it. Raises `Failure`: wrong_audience, denied, idp_unreachable."""
        if session.account is None:
            raise Failure("login_required", "It is not known who is signed in.", "Run `acp-stdio login --force`.")
        claims = verify_access_token(
            response.access_token,
            keys=signing_keys(self._server.jwks_uri, self._http, response.access_token, self._cache),
            issuers=self._server.token_issuers,
            audiences=expected_audiences(upstream, self._preset, session.resources.get(upstream.name, upstream.url)),
            account=session.account,
            names=claim_names(self._identity),
            client_id=self._client_id,
            now=time.time(),
        )
        return AccessToken(
            value=response.access_token,
            upstream=upstream.name,
            origin=origin_of(upstream.url),
            generation=session.generation,
            issued_at=sent_at,
            expires_at=sent_at + response.expires_in,
            token_type=response.token_type,
            claims=_recorded(claims),
        )

    def revoke(self, refresh_token: Secret) -> Literal["revoked", "unsupported", "failed"]:
        """Ends the grant at the provider; most end its access tokens with it (RFC 7009 section 2.1)."""
        return endpoint.revoke(
            self._server, self._http, client_id=self._client_id, token=refresh_token, hint="refresh_token"
        )


def origin_of(url: str) -> str:
    """`scheme://host:port` with the port always said: what a token is bound to."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def _recorded(claims: dict[str, Any]) -> dict[str, Any]:
    return {name: claims[name] for name in _RECORDED if name in claims}
