"""What a kind of identity provider changes in the defaults of the configuration. Explicit keys still win.

How the provider is talked to then is `oauth.presets`' business.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

from acp_stdio.settings.model import IdentitySettings, Preset, TokenFormat, TokenRequest

_GENERIC: Final = IdentitySettings("", "")
_PEOPLE: Final = ("openid", "profile", "email")


@dataclass(frozen=True, slots=True)
class _Defaults:
    """Where a provider's registration pages and documents lead to other values than the standards do."""

    scopes: tuple[str, ...] = (*_PEOPLE, "offline_access")
    redirect: str = _GENERIC.redirect
    user_key: tuple[str, ...] = _GENERIC.user_key
    user_label: tuple[str, ...] = _GENERIC.user_label
    token_request: TokenRequest = "scope"  # noqa: S105 - how it is asked for, not a token
    token_format: TokenFormat = "jwt"  # noqa: S105 - its kind, not a token


_DEFAULTS: Final[Mapping[Preset, _Defaults]] = {
    "generic": _Defaults(_GENERIC.scopes, token_request="resource"),  # noqa: S106 - how it is asked for
    "entra": _Defaults(
        scopes=("openid", "profile", "offline_access"),
        redirect="http://localhost:0",  # registered as `http://localhost`, where Entra accepts any port
        user_key=("tid", "oid"),  # Entra's `sub` differs from app to app; these two do not
        user_label=("preferred_username", "upn", "email", "sub"),
    ),
    "okta": _Defaults(user_label=("preferred_username", "email", "sub")),
    "auth0": _Defaults(token_request="audience"),  # noqa: S106 - how it is asked for
    # Google and Cognito have no scope `offline_access`, and say so with `invalid_scope`.
    "google": _Defaults(_PEOPLE, token_request="omit"),  # noqa: S106 - how it is asked for
    "keycloak": _Defaults(_GENERIC.scopes),
    "cognito": _Defaults(
        ("openid", "email"),
        user_label=("email", "cognito:username", "sub"),
        token_request="omit",  # noqa: S106 - how it is asked for
    ),
    # PingOne issues refresh tokens by the application's grant type, not by a scope.
    "ping": _Defaults(_PEOPLE, token_request="omit"),  # noqa: S106 - how it is asked for
    # A GitHub App's user tokens have no scopes: the App's permissions and the person's own decide.
    "github": _Defaults(
        (),
        user_label=("preferred_username", "email", "sub"),
        token_request="omit",  # noqa: S106 - how it is asked for
        token_format="opaque",  # noqa: S106 - its kind, not a token
    ),
}
PRESETS: Final[tuple[Preset, ...]] = tuple(_DEFAULTS)


def identity_defaults(preset: Preset) -> IdentitySettings:
    """Defaults without issuer and client id, which have none."""
    default = _DEFAULTS[preset]
    return replace(
        _GENERIC,
        preset=preset,
        redirect=default.redirect,
        scopes=default.scopes,
        user_key=default.user_key,
        user_label=default.user_label,
    )


def token_request_default(preset: Preset) -> TokenRequest:
    """How the provider wants to be asked for a token of one API.

    By RFC 8707's `resource` where it may be; Entra refuses that (AADSTS901002), and others ignore it.
    """
    return _DEFAULTS[preset].token_request


def token_request_problem(request: TokenRequest, preset: Preset) -> str:
    """The problem with a way of asking that this provider refuses or ignores, or nothing."""
    if request == "resource" and preset in ("entra", "okta", "google", "ping", "github"):
        return f"cannot be resource with preset = {preset!r}, which refuses or ignores that (RFC 8707); leave it out"
    return ""


def token_format_default(preset: Preset) -> TokenFormat:
    """What the provider's access tokens are."""
    return _DEFAULTS[preset].token_format


def entra_scope(scope: str) -> str:
    """The problem with a scope that Entra would look up in Microsoft Graph (AADSTS650053)."""
    if "/" in scope:
        return ""
    return f"has the bare scope {scope!r}, which Entra takes for one of Microsoft Graph; write api://APP-ID/{scope}"


def scopes_problem(scopes: Iterable[str], preset: Preset) -> str:
    """The problem with scopes that a provider answers with `invalid_scope`, on a page of its own, or nothing."""
    if "offline_access" in scopes and preset in ("google", "cognito"):
        return f"has offline_access, which preset = {preset!r} has no use for: it brings a refresh token without"
    return ""


def issuer_problem(issuer: str, preset: Preset) -> str:
    """The problem with an issuer that this kind of provider never has, or nothing."""
    parts = urlsplit(issuer)
    match preset:
        case "okta" if not parts.path.startswith("/oauth2/"):
            return (
                "is Okta's org authorization server, whose access tokens are for Okta's own API only; "
                "name a custom one, such as https://COMPANY.okta.com/oauth2/default"
            )
        case "auth0" if not issuer.endswith("/"):
            return "must end with /, as Auth0 writes its issuers"
        case "keycloak" if "/realms/" not in parts.path:
            return "must name the realm: https://HOST/realms/REALM"
        case "github" if not parts.path.endswith("/login/oauth"):
            return "must be https://github.com/login/oauth, or the same on your company's own GitHub"
        case "cognito" if (parts.hostname or "").endswith(".amazoncognito.com"):
            return (
                "is the domain of the sign-in page; the issuer is the user pool, "
                "https://cognito-idp.REGION.amazonaws.com/POOL-ID"
            )
        case _:
            return ""
