"""The OAuth half of the demo's identity provider: Authlib's server, told what Acme's rules are.

Authorization code with PKCE S256 only (RFC 7636), refresh with rotation and reuse detection (RFC 9700
section 4.14.2), device flow (RFC 8628), revocation (RFC 7009), JWT access tokens (RFC 9068) for one resource
(RFC 8707), `iss` in the authorization response (RFC 9207).
"""

# Authlib ships no types, so everything that comes out of it is unknown to pyright:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeArgument=false, reportUntypedBaseClass=false
# pyright: reportIncompatibleMethodOverride=false, reportIncompatibleVariableOverride=false

import time
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

from authlib.common.security import generate_token
from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import (
    AuthorizationCodeGrant,
    InvalidRequestError,
    OAuth2Error,
    RefreshTokenGrant,
    scope_to_list,
)
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc8628 import DeviceAuthorizationEndpoint, DeviceCodeGrant
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from authlib.oauth2.rfc9207 import IssuerParameter
from authlib.oidc.core import OpenIDCode
from flask import Flask
from joserfc.jwk import KeySet, RSAKey

from acp_stdio.demo.memory import CODE_SECONDS, DEVICE_SECONDS, Code, Device, Memory, RefreshToken, Subject
from acp_stdio.demo.people import CLIENT_ID, SCOPE, Person

SCOPES: Final = ("openid", "profile", "email", "offline_access", SCOPE)
ALGORITHM: Final = "RS256"
DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
GRANT_TYPES: Final = ("authorization_code", "refresh_token", DEVICE_GRANT)
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


class InvalidTargetError(OAuth2Error):
    """RFC 8707 section 2: the resource is unknown, or was not granted."""

    error = "invalid_target"


class PublicClient:
    """acp-stdio as it is registered here: a native app without a secret."""

    id_token_signed_response_alg = ALGORITHM

    def get_client_id(self) -> str:
        return CLIENT_ID

    def get_default_redirect_uri(self) -> str:
        return ""

    def get_allowed_scope(self, scope: str | None) -> str:
        return " ".join(word for word in scope_to_list(scope or "") if word in SCOPES)

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """RFC 8252 section 7.3: the loopback address with any port."""
        try:
            parts = urlsplit(redirect_uri)
        except ValueError:
            return False
        return (parts.scheme, parts.path, parts.query, parts.fragment) == ("http", "/callback", "", "") and (
            parts.hostname in LOOPBACK
        )

    def check_client_secret(self, client_secret: str) -> bool:
        return False

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "none"

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in GRANT_TYPES


def resources_in(request: Any) -> tuple[str, ...]:
    """The `resource` parameters; raises `InvalidTargetError` for one that is not a server of this machine."""
    found = tuple(request.payload.datalist.get("resource", []))
    for resource in found:
        parts = urlsplit(resource)
        if parts.scheme != "http" or parts.hostname not in LOOPBACK or parts.fragment:
            raise InvalidTargetError("The demo issues tokens for servers on this machine only.")
    return found


class Rules(AuthorizationServer):
    """The authorization server with Acme's memory, key and name."""

    def __init__(self, app: Flask, issuer: str, memory: Memory, access_seconds: int) -> None:
        super().__init__(app, query_client=self._client, save_token=self._save)
        self.issuer = issuer
        self.memory = memory
        self.scopes_supported = list(SCOPES)
        self.keys = KeySet(
            [RSAKey.generate_key(2048, {"use": "sig", "alg": ALGORITHM, "kid": uuid4().hex[:8]})]
        )
        self.register_token_generator("default", AccessTokens(self, access_seconds))
        self.register_grant(CodeGrant, [PkceS256(required=True), IdToken(self), one_resource])
        self.register_grant(RefreshGrant, [IdToken(self)])
        self.register_grant(DeviceGrant, [IdToken(self)])
        self.register_endpoint(DeviceStart)
        self.register_endpoint(Revocation)
        self.names_itself = NamesItself(issuer)
        self.names_itself(self)

    def _client(self, client_id: str) -> PublicClient | None:
        return PublicClient() if client_id == CLIENT_ID else None

    def _save(self, token: dict[str, Any], request: Any) -> None:
        value = token.get("refresh_token")
        if value:
            # The whole sign-in's scope: a refresh may narrow a token, not the grant (RFC 6749 section 6).
            spent = request.refresh_token
            scope = spent.scope if isinstance(spent, RefreshToken) else token.get("scope", "")
            self.memory.refresh_tokens[value] = RefreshToken(CLIENT_ID, scope, request.user)

    def start_sign_in(self, person: Person, resources: tuple[str, ...]) -> Subject:
        return Subject(person, uuid4().hex, int(time.time()), resources, audience="")

    def narrowed(self, subject: Subject, request: Any) -> Subject | None:
        """The subject for the one resource asked for now; None if nothing may be issued any more."""
        if not self.memory.may_go_on(subject):
            return None
        asked = resources_in(request)
        if len(asked) > 1:
            raise InvalidTargetError("Ask for one resource at a time.")
        if asked and asked[0] not in subject.resources:
            raise InvalidTargetError("This resource was not part of the sign-in.")
        audience = asked[0] if asked else next(iter(subject.resources), self.issuer)
        return replace(subject, audience=audience)


def _refresh_token_value(**_: Any) -> str:
    return generate_token(48)


class AccessTokens(JWTBearerTokenGenerator):
    """RFC 9068 access tokens for the resource that was asked for."""

    def __init__(self, rules: Rules, seconds: int) -> None:
        super().__init__(rules.issuer, ALGORITHM, _refresh_token_value, expires_generator=seconds)
        self._rules = rules

    def get_jwks(self) -> KeySet:
        return self._rules.keys

    def get_audiences(self, client: Any, user: Subject, scope: str) -> str:
        return user.audience

    def get_auth_time(self, user: Subject) -> int:
        return user.auth_time

    def get_extra_claims(self, client: Any, grant_type: str, user: Subject, scope: str) -> dict[str, Any]:
        return {"email": user.person.email, "groups": list(user.person.groups)}

    def generate(
        self,
        grant_type: str,
        client: Any,
        user: Any = None,
        scope: str | None = None,
        expires_in: int | None = None,
        include_refresh_token: bool = True,
    ) -> dict[str, Any]:
        """OpenID Connect Core section 11: a refresh token only where `offline_access` was asked for."""
        offline = include_refresh_token and "offline_access" in scope_to_list(scope or "")
        return super().generate(grant_type, client, user, scope, expires_in, offline)


class IdToken(OpenIDCode):
    """The ID token, also with each refresh."""

    def __init__(self, rules: Rules) -> None:
        super().__init__(require_nonce=False)
        self._rules = rules

    def exists_nonce(self, nonce: str, request: Any) -> bool:
        return any(code.nonce == nonce for code in self._rules.memory.codes.values())

    def resolve_client_private_key(self, client: Any) -> KeySet:
        return self._rules.keys

    def get_client_claims(self, client: Any) -> dict[str, Any]:
        return {"iss": self._rules.issuer, "aud": client.get_client_id(), "exp": int(time.time()) + 300}

    def generate_user_info(self, user: Subject, scope: str) -> dict[str, Any]:
        person = user.person
        claims: dict[str, Any] = {"sub": person.sub, "auth_time": user.auth_time}
        words = scope_to_list(scope)
        if "email" in words:
            claims |= {"email": person.email, "email_verified": True}
        if "profile" in words:
            claims |= {"name": person.name, "preferred_username": person.account}
        return claims


class PkceS256(CodeChallenge):
    """PKCE that cannot be left out, nor weakened to `plain` (RFC 9700 section 2.1.1)."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ["S256"]  # noqa: RUF012 (Authlib reads a list off the class)

    def validate_code_challenge(self, grant: Any, redirect_uri: str) -> None:
        if not grant.request.payload.data.get("code_challenge"):
            raise InvalidRequestError("PKCE is required: send a code_challenge.")
        if grant.request.payload.data.get("code_challenge_method") != "S256":
            raise InvalidRequestError("PKCE is required with code_challenge_method S256.")
        super().validate_code_challenge(grant, redirect_uri)


def one_resource(grant: Any) -> None:
    """Checks `resource` before the person is asked to sign in."""

    def check(grant: Any, redirect_uri: str) -> None:
        resources_in(grant.request)

    grant.register_hook("after_validate_authorization_request_payload", check)


class CodeGrant(AuthorizationCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ["none"]  # noqa: RUF012 (Authlib reads a list off the class)
    server: Rules

    def save_authorization_code(self, code: str, request: Any) -> None:
        sent = request.payload.data
        self.server.memory.codes[code] = Code(
            value=code,
            client_id=CLIENT_ID,
            redirect_uri=request.payload.redirect_uri,
            scope=request.scope,
            subject=request.user,
            code_challenge=sent["code_challenge"],
            nonce=sent.get("nonce", ""),
            expires_at=time.time() + CODE_SECONDS,
        )

    def query_authorization_code(self, code: str, client: Any) -> Code | None:
        found = self.server.memory.codes.get(code)
        if found is None or found.client_id != client.get_client_id() or time.time() > found.expires_at:
            return None
        if found.spent:  # RFC 6749 section 4.1.2: somebody else has it too
            self.server.memory.ended_families.add(found.subject.family)
            return None
        return found

    def delete_authorization_code(self, authorization_code: Code) -> None:
        authorization_code.spent = True

    def authenticate_user(self, authorization_code: Code) -> Subject | None:
        return self.server.narrowed(authorization_code.subject, self.request)


class RefreshGrant(RefreshTokenGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ["none"]  # noqa: RUF012 (Authlib reads a list off the class)
    INCLUDE_NEW_REFRESH_TOKEN = True
    server: Rules

    def authenticate_refresh_token(self, refresh_token: str) -> RefreshToken | None:
        found = self.server.memory.refresh_tokens.get(refresh_token)
        if found is None:
            return None
        if found.spent:  # two parties hold this sign-in, and which is the thief cannot be known
            self.server.memory.ended_families.add(found.subject.family)
        return found if self.server.memory.may_go_on(found.subject) else None

    def authenticate_user(self, refresh_token: RefreshToken) -> Subject | None:
        return self.server.narrowed(refresh_token.subject, self.request)

    def revoke_old_credential(self, refresh_token: RefreshToken) -> None:
        refresh_token.spent = True


class DeviceStart(DeviceAuthorizationEndpoint):
    CLIENT_AUTH_METHODS = ["none"]  # noqa: RUF012 (Authlib reads a list off the class)
    EXPIRES_IN = DEVICE_SECONDS
    INTERVAL = 1
    server: Rules

    def get_verification_uri(self) -> str:
        return f"{self.server.issuer}/device"

    def save_device_credential(self, client_id: str, scope: str | None, data: dict[str, Any]) -> None:
        self.server.memory.devices[data["device_code"]] = Device(
            client_id=client_id,
            scope=scope or "",
            resources=resources_in(self.server.create_oauth2_request(None)),
            user_code=data["user_code"],
            interval=self.INTERVAL,
            expires_at=time.time() + self.EXPIRES_IN,
        )


class DeviceGrant(DeviceCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ["none"]  # noqa: RUF012 (Authlib reads a list off the class)
    server: Rules

    def query_device_credential(self, device_code: str) -> Device | None:
        return self.server.memory.devices.get(device_code)

    def query_user_grant(self, user_code: str) -> tuple[Subject | None, bool] | None:
        device = self.server.memory.device_of(user_code)
        if device is None or (device.subject is None and not device.refused):
            return None
        subject = self.server.narrowed(device.subject, self.request) if device.subject else None
        return subject, subject is not None

    def should_slow_down(self, credential: Device) -> bool:
        now = time.monotonic()
        too_soon = bool(credential.asked_at) and now - credential.asked_at < credential.interval
        credential.asked_at = now
        return too_soon

    def create_token_response(self) -> Any:
        response = super().create_token_response()
        request: Any = self.request
        del self.server.memory.devices[request.payload.data["device_code"]]
        return response


class Revocation(RevocationEndpoint):
    """Ends a sign-in. Access tokens are self-contained and run out by themselves."""

    CLIENT_AUTH_METHODS = ["none"]  # noqa: RUF012 (Authlib reads a list off the class)
    server: Rules

    def query_token(self, token_string: str, token_type_hint: str | None) -> RefreshToken | None:
        return self.server.memory.refresh_tokens.get(token_string)

    def revoke_token(self, token: RefreshToken, request: Any) -> None:
        self.server.memory.ended_families.add(token.subject.family)


class NamesItself(IssuerParameter):
    """RFC 9207: `iss` in every authorization response, errors included."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer

    def get_issuer(self) -> str:
        return self._issuer
