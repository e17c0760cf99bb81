"""How the access tokens of identity providers differ from RFC 9068, as data. The sources are in `oauth.presets`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_GUID: Final = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_ENTRA_V2: Final = re.compile(rf"https://login\.[a-z.-]+/({_GUID})/v2\.0")
_APPLICATION: Final = re.compile(rf"(?:api://)?({_GUID})")


@dataclass(frozen=True, slots=True)
class Variant:
    """One provider's tokens. The defaults are RFC 9068's."""

    key: tuple[str, ...] = ("sub",)
    label: tuple[str, ...] = ("email", "preferred_username", "sub")
    client: tuple[str, ...] = ("client_id", "azp")
    """The first of these claims names the program that the token was issued to."""
    says_access: bool = False
    """The header's `typ` is `at+jwt`, as section 4 demands; the others' access tokens are told from ID tokens by
    what only those have."""
    id_token: bool = False
    """Only ID tokens can be read by a server; access tokens are the provider's own business."""
    audience_optional: bool = False
    """A token may have no `aud`; scopes and client then say what it is for."""
    entra: bool = False

    def issuers(self, issuer: str) -> tuple[str, ...]:
        """Every `iss` that tokens of `issuer` may have."""
        tenant = _ENTRA_V2.fullmatch(issuer) if self.entra else None
        return (issuer, f"https://sts.windows.net/{tenant[1]}/") if tenant else (issuer,)

    def audiences(self, audience: str) -> tuple[str, ...]:
        """Every `aud` that means `audience`: Entra names one application by its id (v2) or its URI (v1)."""
        application = _APPLICATION.fullmatch(audience) if self.entra else None
        return (application[1], f"api://{application[1]}") if application else (audience,)


VARIANTS: Final[Mapping[str, Variant]] = {
    "generic": Variant(says_access=True),
    "entra": Variant(
        key=("tid", "oid"),  # `sub` differs from application to application
        label=("preferred_username", "upn", "unique_name", "email", "sub"),
        client=("azp", "appid"),  # v2, v1
        entra=True,
    ),
    "okta": Variant(key=("uid",), label=("sub",), client=("cid",)),  # their `sub` is a login name
    "auth0": Variant(client=("azp", "client_id")),
    "google": Variant(client=("azp",), id_token=True),
    "keycloak": Variant(client=("azp", "client_id"), label=("email", "preferred_username", "sub")),
    "cognito": Variant(client=("client_id",), label=("email", "username", "sub"), audience_optional=True),
    "ping": Variant(),
}
