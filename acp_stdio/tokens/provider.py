"""The identity provider for one client, put together from the `oauth` room and the claim checks."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from acp_stdio.errors import Failure
from acp_stdio.identity.binding import BEARER, BOUND, check_binding
from acp_stdio.identity.claims import check_same_person, verify_access_token, verify_id_token
from acp_stdio.identity.model import AccessToken, Account, Grant, Session
from acp_stdio.identity.step_up import united
from acp_stdio.oauth import endpoint
from acp_stdio.oauth.asking import exchange_params, expected_audiences, purpose_scopes, token_request_params
from acp_stdio.oauth.cache import PublicCache
from acp_stdio.oauth.client import Credential
from acp_stdio.oauth.defaults import discover_own
from acp_stdio.oauth.endpoint import TokenError, TokenResponse
from acp_stdio.oauth.http import open_client
from acp_stdio.oauth.keys import signing_keys
from acp_stdio.oauth.metadata import AuthorizationServer, end_session_url, server_of
from acp_stdio.oauth.possession import Prover
from acp_stdio.oauth.presets import claim_names, preset_of
from acp_stdio.oauth.user_endpoint import user_claims
from acp_stdio.secrets import Secret
from acp_stdio.settings.model import Settings, UpstreamSettings
from acp_stdio.settings.origin import origin_of
from acp_stdio.tokens.context import TokenHint

if TYPE_CHECKING:
    import jwt

_OF_THE_TOKEN: Final = frozenset(
    {"iss", "aud", "azp", "exp", "iat", "nbf", "jti", "nonce", "at_hash", "c_hash", "sid", "scope", "scp", "act"}
)
"""Claims of an ID token that are about it and not about the person."""


class OAuthProvider:
    """Implements `tokens.context.Provider`; keeps its connections until it is closed."""

    def __init__(
        self,
        settings: Settings,
        issuer: str,
        client_id: str,
        credential: Callable[[AuthorizationServer], Credential | None] = lambda _: None,
        *,
        defaults: bool = False,
    ) -> None:
        """`credential`: what the client proves itself with at that server; asked for once, and late.
        `defaults`: the sign-in was at the default endpoints of a server without metadata."""
        self._identity = settings.identity
        self._preset = preset_of(settings.identity)
        self._issuer = issuer
        self._client_id = client_id
        self._http = open_client(settings.network)
        self._cache = PublicCache(settings.cache_dir)
        self._defaults = defaults
        self._known: AuthorizationServer | None = None
        self._find_credential = credential
        self._credential: Credential | None = None
        self._provers: dict[Secret, Prover] = {}

    @property
    def _server(self) -> AuthorizationServer:
        if self._known is None:
            server = self._look()
            self._credential = self._find_credential(server)
            self._known = server
        return self._known

    def _look(self) -> AuthorizationServer:
        if self._defaults:
            return discover_own(self._issuer, self._preset, self._http, self._cache)
        return server_of(self._identity, self._issuer, self._http, self._cache)

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()

    def prepare(self) -> None:
        """Reads the metadata, from the cache where it is fresh, and the client's secret. Raises `Failure`."""
        _ = self._server

    def _prover(self, key: Secret | None) -> Prover | None:
        """The same for the same key, since it remembers the server's nonce."""
        if key is None:
            return None
        return self._provers.setdefault(key, Prover(key))

    def refresh(self, grant: Grant, upstream: UpstreamSettings, resource: str, claims: str) -> TokenResponse:
        """Spends the refresh token once for `upstream`. Raises `TokenError`."""
        server = self._server
        params = token_request_params(upstream, self._preset, resource)
        if "claims" in params:
            params["claims"] = united(params["claims"], claims)
        return endpoint.refresh(
            server,
            self._http,
            client_id=self._client_id,
            refresh_token=grant.refresh_token,
            params=params,
            credential=self._credential,
            prover=self._prover(grant.proof_key),
        )

    def prove(
        self,
        response: TokenResponse,
        upstream: UpstreamSettings,
        session: Session,
        sent_at: float,
        key: Secret | None = None,
    ) -> AccessToken:
        """The token with what was proven about it. `key`: what it may be bound to.

        Raises `Failure`: wrong_audience, denied, idp_unreachable, configuration_invalid.
        """
        if session.account is None:
            raise Failure("login_required", "It is not known who is signed in.", "Run `acp-stdio login --force`.")
        account = session.account if session.account.known else None
        person: dict[str, Any] = {}
        if upstream.token_request == "exchange":  # noqa: S105 - a way of asking
            response = self._exchanged(response, upstream, session, key)
        prover, kind = self._prover(key), response.token_type
        thumbprint = prover.thumbprint if prover else ""
        value, expires_at = response.access_token, sent_at + response.expires_in
        match upstream.token_format:
            case "jwt":
                claims = self._access_claims(response, upstream, session, account)
                check_binding(kind, claims, thumbprint, required=self._identity.dpop == "require")
                with contextlib.suppress(Failure):  # the token itself is proven; this only says more of the person
                    person = self._person(response, account)
            case "opaque":
                # Nobody here can read it; what comes beside it can still say that it is somebody else's.
                person = self._person(response, account)
                check_binding(kind, None, thumbprint, required=self._identity.dpop == "require")
                claims = {"format": "opaque", **({"scope": response.scope} if response.scope else {})}
                claims |= {"cnf": {"jkt": thumbprint}} if kind == BOUND else {}
            case "id_token":
                if response.id_token is None or account is None:
                    raise _no_id_token(upstream)
                value, found, kind = response.id_token, self._id_claims(response.id_token, account), BEARER
                _check_audience(found, upstream)
                claims = {"format": "id_token", **found}
                expires_at = min(found["exp"], sent_at + found["exp"] - found["iat"])
        return AccessToken(
            value=value,
            upstream=upstream.name,
            origin=bound_to(upstream.url),
            generation=session.generation,
            issued_at=sent_at,
            expires_at=expires_at,
            token_type=kind,
            claims=claims,
            person=person,
            proof_key=key if kind == BOUND else None,
        )

    def _person(self, response: TokenResponse, account: Account | None) -> dict[str, Any]:
        """What an ID token beside the access token, or the provider itself, says about the person, for the rules."""
        if account is None:
            return {}
        if response.id_token is not None:
            claims = self._id_claims(response.id_token, account)
        elif self._server.user_endpoint:
            claims = user_claims(self._server, self._http, response.access_token)
            check_same_person(claims, account, claim_names(self._identity))
        else:
            return {}
        return {name: value for name, value in claims.items() if name not in _OF_THE_TOKEN}

    def _exchanged(
        self, response: TokenResponse, upstream: UpstreamSettings, session: Session, key: Secret | None
    ) -> TokenResponse:
        """The person's token for us against one for `upstream`, at the same provider. Raises `Failure`."""
        resource = session.resources.get(upstream.name, upstream.url)
        try:
            exchanged = endpoint.exchange(
                self._server,
                self._http,
                client_id=self._client_id,
                subject_token=response.access_token,
                params=exchange_params(upstream, resource),
                credential=self._credential,
                prover=self._prover(key),
            )
            return replace(exchanged, id_token=response.id_token)
        except TokenError as error:
            if error.kind not in ("misconfigured", "invalid_grant"):
                raise error.failure() from None
            raise Failure(  # it says nothing about the sign-in, which has just been renewed
                "configuration_invalid",
                f"Your token could not be exchanged for one of {upstream.name}. {error.message}",
                f"Have {self._client_id} allowed to exchange tokens for it (RFC 8693); most providers let only clients "
                "with a secret do so, which client_secret_ref names.",
            ) from None

    def _access_claims(
        self, response: TokenResponse, upstream: UpstreamSettings, session: Session, account: Account | None
    ) -> dict[str, Any]:
        return verify_access_token(
            response.access_token,
            keys=self._keys(response.access_token),
            issuers=self._server.token_issuers,
            audiences=expected_audiences(upstream, self._preset, session.resources.get(upstream.name, upstream.url)),
            account=account,
            names=claim_names(self._identity),
            client_id=self._client_id,
            now=time.time(),
            leeway=self._identity.clock_skew,
            scopes=purpose_scopes(upstream, self._preset),
        )

    def _id_claims(self, token: Secret, account: Account) -> dict[str, Any]:
        names = claim_names(self._identity)
        claims = verify_id_token(
            token,
            keys=self._keys(token),
            issuers=self._server.token_issuers,
            client_id=self._client_id,
            nonce=None,
            now=time.time(),
            leeway=self._identity.clock_skew,
            algorithms=self._server.signing_algorithms,
        )
        check_same_person(claims, account, names)
        return claims

    def _keys(self, token: Secret) -> "jwt.PyJWKSet":
        return signing_keys(self._server.jwks_uri, self._http, token, self._cache)

    def revoke(self, token: Secret, hint: TokenHint = "refresh_token") -> Literal["revoked", "unsupported", "failed"]:
        """Ends a token at the provider; most end the access tokens with the refresh token (RFC 7009 section 2.1)."""
        server = self._server
        return endpoint.revoke(
            server,
            self._http,
            client_id=self._client_id,
            token=token,
            hint=hint,
            credential=self._credential,
        )

    def end_session_page(self, account: Account | None) -> str:
        """OpenID Connect RP-Initiated Logout 1.0 section 2. Without an ID token, which is not kept, the provider
        may ask the person whether they mean it."""
        return end_session_url(self._server, self._client_id, account.label if account and account.known else "")


def bound_to(url: str) -> str:
    """The only place that a token for this upstream may go to: its origin. A child is its command line."""
    return url if url.startswith("stdio:") else str(origin_of(url))


def _no_id_token(upstream: UpstreamSettings) -> Failure:
    return Failure(
        "wrong_audience",
        f'{upstream.name} wants the ID token (token_format = "id_token"), and the provider renewed your sign-in '
        "without one. Nothing was sent.",
        "Ask whoever runs the provider to issue ID tokens on refresh, or let the server take access tokens.",
    )


def _check_audience(claims: dict[str, Any], upstream: UpstreamSettings) -> None:
    """An ID token is for us; a server that takes it may want to be told another name for us. Raises `Failure`."""
    found = cast("list[Any]", claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]])
    if upstream.audience and not set(upstream.audience) & set(found):
        raise Failure(
            "wrong_audience",
            f"The ID token was not used: it is for {', '.join(map(str, found))}, "
            f"expected {' or '.join(upstream.audience)}.",
            "Correct `audience`; for an ID token it is the client id.",
        )
