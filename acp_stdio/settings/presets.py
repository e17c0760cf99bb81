"""What a kind of identity provider changes in the defaults. Explicit keys still win."""

import re
from dataclasses import replace

from acp_stdio.settings.model import IdentitySettings, Preset, TokenRequest

_GENERIC = IdentitySettings("", "")
_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_ENTRA_OWN = {"openid", "profile", "email", "offline_access"}


def identity_defaults(preset: Preset) -> IdentitySettings:
    """Defaults without issuer and client id, which have none."""
    if preset == "generic":
        return _GENERIC
    return replace(
        _GENERIC,
        preset=preset,
        redirect="http://localhost:0",  # registered as `http://localhost`, where Entra accepts any port
        scopes=("openid", "profile", "email", "offline_access"),
        user_key=("tid", "oid"),  # Entra's `sub` differs from app to app; these two do not
        user_label=("preferred_username", "email", "upn", "sub"),
    )


def token_request_default(preset: Preset) -> TokenRequest:
    """Entra refuses RFC 8707's `resource` (AADSTS901002) and names the audience in the scope."""
    return "scope" if preset == "entra" else "resource"


def audience_default(preset: Preset, scopes: tuple[str, ...]) -> tuple[str, ...]:
    """Entra's `aud` is the API's id, bare (v2 tokens) or as `api://id` (v1): both follow from the scope."""
    if preset != "entra":
        return ()
    found: dict[str, None] = {}
    for scope in scopes:
        if scope.startswith("api://") and "/" in scope[6:]:
            app = scope[6:].partition("/")[0]
            found[f"api://{app}"] = None
            if _GUID.fullmatch(app):
                found[app] = None
    return tuple(found)


def entra_issuer(issuer: str) -> str:
    """The problem with an issuer that is everyone's: its tokens come from another one, per tenant."""
    for shared in ("/common", "/organizations", "/consumers"):
        if f"{shared}/" in f"{issuer}/":
            return f"must name your tenant's id where it has {shared}"
    return ""


def entra_scope(scope: str) -> str:
    """The problem with a scope that Entra would look up in Microsoft Graph (AADSTS650053)."""
    if ":" in scope or scope in _ENTRA_OWN:
        return ""
    return f"has the bare scope {scope!r}, which Entra takes for one of Microsoft Graph; write api://APP-ID/{scope}"
