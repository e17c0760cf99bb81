"""What a kind of identity provider changes in the defaults of the configuration. Explicit keys still win.

How the provider is talked to then is `oauth.presets`' business.
"""

from dataclasses import replace

from acp_stdio.settings.model import IdentitySettings, Preset, TokenRequest

_GENERIC = IdentitySettings("", "")


def identity_defaults(preset: Preset) -> IdentitySettings:
    """Defaults without issuer and client id, which have none."""
    if preset == "generic":
        return _GENERIC
    return replace(
        _GENERIC,
        preset=preset,
        redirect="http://localhost:0",  # registered as `http://localhost`, where Entra accepts any port
        scopes=("openid", "profile", "offline_access"),
        user_key=("tid", "oid"),  # Entra's `sub` differs from app to app; these two do not
        user_label=("preferred_username", "upn", "email", "sub"),
    )


def token_request_default(preset: Preset) -> TokenRequest:
    """Entra refuses RFC 8707's `resource` (AADSTS901002) and names the audience in the scope."""
    return "scope" if preset == "entra" else "resource"


def entra_scope(scope: str) -> str:
    """The problem with a scope that Entra would look up in Microsoft Graph (AADSTS650053)."""
    if "/" in scope:
        return ""
    return f"has the bare scope {scope!r}, which Entra takes for one of Microsoft Graph; write api://APP-ID/{scope}"
