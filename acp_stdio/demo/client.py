"""acp-stdio as it is registered at the demo's identity provider, and what it may ask for."""

# Authlib ships no types, so everything that comes out of it is unknown to pyright:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeArgument=false, reportUntypedBaseClass=false
# pyright: reportIncompatibleMethodOverride=false, reportIncompatibleVariableOverride=false

from typing import Any, Final
from urllib.parse import urlsplit

from authlib.oauth2.rfc6749 import OAuth2Error, scope_to_list

from acp_stdio.demo.people import CLIENT_ID, SCOPE

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
