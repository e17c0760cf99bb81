"""Acme's authorization server: Authlib's, told what the rules are.

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
from typing import Any
from uuid import uuid4

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc9207 import IssuerParameter
from flask import Flask
from joserfc.jwk import KeySet, RSAKey

from acp_stdio.demo.client import ALGORITHM, SCOPES, InvalidTargetError, PublicClient, resources_in
from acp_stdio.demo.grants import CodeGrant, DeviceGrant, DeviceStart, PkceS256, RefreshGrant, Revocation, one_resource
from acp_stdio.demo.issuance import AccessTokens, IdToken
from acp_stdio.demo.memory import Memory, RefreshToken, Subject
from acp_stdio.demo.people import CLIENT_ID, Person


class Rules(AuthorizationServer):
    """The authorization server with Acme's memory, key and name."""

    def __init__(self, app: Flask, issuer: str, memory: Memory, access_seconds: int) -> None:
        super().__init__(app, query_client=self._client, save_token=self._save)
        self.issuer = issuer
        self.memory = memory
        self.scopes_supported = list(SCOPES)
        self.keys = KeySet([RSAKey.generate_key(2048, {"use": "sig", "alg": ALGORITHM, "kid": uuid4().hex[:8]})])
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


class NamesItself(IssuerParameter):
    """RFC 9207: `iss` in every authorization response, errors included."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer

    def get_issuer(self) -> str:
        return self._issuer
