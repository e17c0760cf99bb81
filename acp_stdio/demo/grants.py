"""The ways to a token at the demo's identity provider, each Authlib's grant with our memory behind it."""

# Authlib ships no types, so everything that comes out of it is unknown to pyright:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeArgument=false, reportUntypedBaseClass=false
# pyright: reportIncompatibleMethodOverride=false, reportIncompatibleVariableOverride=false

import time
from typing import TYPE_CHECKING, Any

from authlib.oauth2.rfc6749 import AuthorizationCodeGrant, InvalidRequestError, RefreshTokenGrant
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc8628 import DeviceAuthorizationEndpoint, DeviceCodeGrant

from acp_stdio.demo.client import resources_in
from acp_stdio.demo.memory import CODE_SECONDS, DEVICE_SECONDS, Code, Device, RefreshToken, Subject
from acp_stdio.demo.people import CLIENT_ID

if TYPE_CHECKING:
    from acp_stdio.demo.rules import Rules


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
    server: "Rules"

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
    server: "Rules"

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
    server: "Rules"

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
    server: "Rules"

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
    server: "Rules"

    def query_token(self, token_string: str, token_type_hint: str | None) -> RefreshToken | None:
        return self.server.memory.refresh_tokens.get(token_string)

    def revoke_token(self, token: RefreshToken, request: Any) -> None:
        self.server.memory.ended_families.add(token.subject.family)
