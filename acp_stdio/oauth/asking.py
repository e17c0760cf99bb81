"""What a provider is asked for and what a right answer is for; what it would mistake is refused before it is asked."""

import json
import re
from typing import Final

from acp_stdio.errors import Failure
from acp_stdio.oauth.presets import PRESETS, Preset, preset_of
from acp_stdio.settings.model import IdentitySettings, UpstreamSettings

_GUID: Final = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_URI_SCOPE: Final = re.compile(rf"(?:[a-z][a-z0-9+.-]*://\S+/|(?:\S+/)?{_GUID}/)\S+|\S+/\.default")


def authorize_params(identity: IdentitySettings) -> dict[str, str]:
    """What the sign-in page is told besides what OAuth and OpenID Connect have names for."""
    preset = PRESETS[identity.preset]
    hints = {name: identity.require_account[name] for name in preset.account_params if name in identity.require_account}
    return {**preset.authorize_params, **hints, **identity.authorize_params}


def token_request_params(upstream: UpstreamSettings, preset: Preset, resource: str) -> dict[str, str]:
    """What a token request (code exchange, device, refresh) adds to get a token for `upstream`.

    `resource` is the protected resource's identifier, byte for byte. Raises
    `Failure(configuration_invalid)` where the scopes cannot say which token is meant.
    """
    check_scopes(upstream, preset)
    claims = capability_claims(preset)
    return {**_purpose(upstream, preset, resource), **({"claims": claims} if claims else {})}


def _purpose(upstream: UpstreamSettings, preset: Preset, resource: str) -> dict[str, str]:
    match upstream.token_request:
        case "resource" if preset.sends_resource:
            return {"resource": resource}
        case "audience":
            return {"audience": upstream.audience[0] if upstream.audience else resource}
        case "omit" | "exchange":
            return {}
        case "resource" | "scope":
            return {"scope": " ".join(dict.fromkeys((*upstream.scopes, *preset.steady_scopes)))}


def capability_claims(preset: Preset) -> str:
    """The `claims` parameter that says what this program can do; empty where the provider is told nothing.

    learn.microsoft.com/entra/identity-platform/claims-challenge, "Client capabilities": in the requests to the
    authorize and to the token endpoint.
    """
    if not preset.client_capabilities:
        return ""
    able = {"access_token": {"xms_cc": {"values": list(preset.client_capabilities)}}}
    return json.dumps(able, separators=(",", ":"))


def exchange_params(upstream: UpstreamSettings, resource: str) -> dict[str, str]:
    """What a token exchange asks for (RFC 8693 section 2.1): the server by its written name, else by its URI."""
    target = {"audience": upstream.audience[0]} if upstream.audience else {"resource": resource}
    return {**target, **({"scope": " ".join(upstream.scopes)} if upstream.scopes else {})}


def expected_audiences(upstream: UpstreamSettings, preset: Preset, resource: str) -> tuple[str, ...]:
    """The values of which a token for `upstream` must name one in `aud`."""
    if upstream.audience:
        return upstream.audience
    if not preset.uri_scopes:
        return (resource,)
    found: list[str] = []
    for scope in upstream.scopes:
        app = scope.rpartition("/")[0]
        found.append(app)
        if guid := re.fullmatch(rf"api://({_GUID})", app):
            found.append(guid[1])  # v2 tokens carry the application's id, v1 tokens its URI
    return tuple(dict.fromkeys(found))


def purpose_scopes(upstream: UpstreamSettings, preset: Preset) -> tuple[str, ...]:
    """The scopes that a token without `aud` must have to be one for `upstream`; none where it must have an `aud`."""
    return tuple(scope for scope in upstream.scopes if "/" in scope) if preset.audience_by_scope else ()


def check_scopes(upstream: UpstreamSettings, preset: Preset) -> None:
    """Refuses scopes that the provider would answer with another resource's token.

    Raises `Failure(configuration_invalid)`.
    """
    if preset.audience_by_scope and not upstream.audience and not any("/" in scope for scope in upstream.scopes):
        raise Failure(
            "configuration_invalid",
            f"Upstream {upstream.name} has no scope of a resource server, and tokens of this provider may have "
            f"nothing else to tell what they are for (preset {preset.name}).",
            'Write one in full, such as scopes = ["https://finance.example.com/read"].',
        )
    if not preset.uri_scopes:
        return
    bare = [scope for scope in upstream.scopes if not _URI_SCOPE.fullmatch(scope)]
    apps = {scope.rpartition("/")[0] for scope in upstream.scopes}
    if not upstream.scopes:
        problem = "has no scopes, and this provider knows by them which token is meant"
    elif bare:
        problem = f"has the scope {bare[0]!r}, which this provider takes for one of another resource"
    elif len(apps) > 1:
        problem = f"has scopes of {len(apps)} resources ({', '.join(sorted(apps))}); a token is for one"
    else:
        return
    raise Failure(
        "configuration_invalid",
        f"Upstream {upstream.name} {problem} (preset {preset.name}).",
        'Write scopes in full, such as scopes = ["api://<application>/<scope>"] or "api://<application>/.default".',
    )


def check_identity(identity: IdentitySettings) -> None:
    """Refuses a `require_account` that a stranger's tenant could satisfy.

    Anybody may create a tenant and write any e-mail address into it. Raises
    `Failure(configuration_invalid)`.
    """
    preset = preset_of(identity)
    if "domain" in identity.require_account and preset.tenant(identity.issuer) in preset.any_tenant:
        raise Failure(
            "configuration_invalid",
            f"The issuer {identity.issuer} lets every tenant in, and each can claim any domain.",
            'Name your own tenant in `issuer`, or require its id: require_account = { tid = "…" }.',
        )
