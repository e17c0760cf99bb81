"""Providers' own error words, translated: what they mean here and which setting or whose work changes it.

A row is used wherever its words occur in an answer, whatever preset is configured: the wrong preset
is a frequent reason to see them.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

from acp_stdio.errors import Failure


@dataclass(frozen=True, slots=True)
class _Row:
    words: str
    """A regular expression, looked for in `error: error_description`."""
    reason: Literal["configuration_invalid", "denied", "login_required"]
    meaning: str
    advice: str


_ENTRA_RESOURCE: Final = "Entra was sent a `resource` (RFC 8707), and tells by scopes what a token is for"
_BY_DEVICE: Final = "Your company's Conditional Access lets in only"
_UNSEEN: Final = "and your browser showed Entra none"
_EXEMPT: Final = "ask your administrator to exempt `client_id` from that policy: this program has no broker."
_TABLE: Final = (
    # learn.microsoft.com/entra/identity-platform/reference-error-codes; 9010010: microsoft/powerbi-modeling-mcp#68.
    _Row(
        r"AADSTS9010010\b|AADSTS901002\b",
        "configuration_invalid",
        _ENTRA_RESOURCE,
        'Set preset = "entra", and leave token_request out or at "scope".',
    ),
    _Row(
        r"AADSTS650053\b",
        "configuration_invalid",
        "Entra looked for a scope in another API than your server's",
        'Write the upstream\'s scopes in full, such as scopes = ["api://APP-ID/finance.read"].',
    ),
    _Row(
        r"AADSTS50011\b",
        "configuration_invalid",
        "Entra does not have our redirect address in this client's registration",
        'Add http://localhost there under "Mobile and desktop applications", or set `redirect` to what is registered.',
    ),
    _Row(
        r"AADSTS700016\b",
        "configuration_invalid",
        "Entra does not know this client in this tenant",
        "Correct `client_id`, or the tenant in `issuer`.",
    ),
    _Row(
        r"AADSTS7000218\b",
        "configuration_invalid",
        "Entra takes this client for a confidential one",
        'Set "Allow public client flows" in its registration, or name its secret in `client_secret_ref`.',
    ),
    _Row(
        r"AADSTS53003\b",
        "denied",
        "A Conditional Access policy of your company blocks this sign-in",
        'Ask your administrator which; the device flow is blocked often, so try flow = "browser".',
    ),
    _Row(
        r"AADSTS500(?:72|74|76|78|79)\b",
        "login_required",
        "Entra wants a further proof of who you are (multi-factor)",
        "Run `acp-stdio login --force`, or approve the tool `acp_login`, then ask again.",
    ),
    _Row(
        r"AADSTS53000\b",
        "denied",
        f"{_BY_DEVICE} devices that its management calls compliant, {_UNSEEN}",
        f"Sign in with the browser of your work profile on an enrolled computer, or {_EXEMPT}",
    ),
    _Row(
        r"AADSTS53001\b",
        "denied",
        f"{_BY_DEVICE} devices that are joined to its domain, {_UNSEEN}",
        f"Sign in with the browser of your work profile on a joined computer, or {_EXEMPT}",
    ),
    _Row(
        r"AADSTS50097\b",
        "denied",
        f"{_BY_DEVICE} devices that it knows, {_UNSEEN}",
        f"Sign in with the browser of your work profile, or {_EXEMPT}",
    ),
    # entra/identity/conditional-access/concept-token-protection: for applications that sign in through the broker.
    _Row(
        r"AADSTS530084\b",
        "denied",
        f"{_BY_DEVICE} sign-ins that are bound to the device (token protection), which takes a broker",
        f"{_EXEMPT[0].upper()}{_EXEMPT[1:]}",
    ),
    _Row(
        r"AADSTS50105\b",
        "denied",
        "You are not assigned to this application in Entra",
        "Ask your administrator to assign you, or sign in with `acp-stdio login --force` as somebody who is.",
    ),
    _Row(
        r"AADSTS65001\b",
        "denied",
        "Nobody has consented yet that this client may use your server's API",
        "Ask your administrator to grant consent to `client_id` for the upstream's `scopes`.",
    ),
    # support.okta.com: "Policy evaluation failed for this request" Error When Logging Into OpenID Connect App
    # via a Custom Authorization Server.
    _Row(
        r"Policy evaluation failed for this request|no_matching_policy",
        "denied",
        "No access policy of Okta's authorization server fits this client, person and scopes",
        "Ask your administrator for a rule that covers `client_id` and every one of `scopes`.",
    ),
    # community.auth0.com/t/troubleshooting-invalid-audience-errors; the words come with `access_denied`.
    _Row(
        r"Service not found:? ?\S*",
        "configuration_invalid",
        "Auth0 has no API with this identifier",
        "Correct the upstream's `audience`, to the last /, or have the API created.",
    ),
    # developers.google.com/identity/protocols/oauth2/native-app, "Authorization errors".
    _Row(
        r"redirect_uri_mismatch",
        "configuration_invalid",
        "The provider does not have our redirect address in this client's registration",
        'Use a client of Google\'s type "Desktop app", or set `redirect` to what is registered.',
    ),
    _Row(
        r"client_secret is missing",
        "configuration_invalid",
        "The provider wants the client's secret, also of a desktop client",
        "Store the secret and name its place in `client_secret_ref`.",
    ),
    # …/limited-input-device, "Allowed scopes"; the words: hickford/git-credential-oauth#38, anxdpanic/
    # plugin.video.youtube#299.
    _Row(
        r"Invalid device flow scope:? ?\S*",
        "configuration_invalid",
        "Google allows only openid, email, profile and a few scopes of Drive and YouTube with a code",
        "Run `acp-stdio login --paste`, or take the others out of `scopes`.",
    ),
    _Row(
        r"Only clients of type .{1,6}TVs and Limited Input devices",
        "configuration_invalid",
        "Google starts the device flow only for a client of its type for TVs and limited input",
        "Run `acp-stdio login --paste`, or have such a client made and write its `client_id`.",
    ),
    # keycloak.org: the token endpoint's answers to a client without the scope or the person's role offline_access
    # (server_admin, "Offline access"), and to an unknown client.
    _Row(
        r"Offline tokens not allowed for the user or client",
        "denied",
        "Keycloak does not allow you, or this client, to stay signed in",
        'Ask for the role offline_access, or take "offline_access" out of `scopes`.',
    ),
    _Row(
        r"Client not found|Invalid client or Invalid client credentials",
        "configuration_invalid",
        "Keycloak does not know this client in this realm",
        "Correct `client_id`, or the realm in `issuer`; a confidential client needs `client_secret_ref`.",
    ),
    # docs.github.com/apps/oauth-apps/maintaining-oauth-apps: troubleshooting-oauth-app-access-token-request-errors.
    _Row(
        r"incorrect_client_credentials",
        "configuration_invalid",
        "GitHub does not accept this client and its secret",
        "Correct `client_id`, which begins with Iv, and what `client_secret_ref` names.",
    ),
    _Row(
        r"unverified_user_email",
        "denied",
        "GitHub wants your e-mail address verified first",
        "Verify it in GitHub's settings, then run `acp-stdio login`.",
    ),
    # RFC 9449 section 5.
    _Row(
        r"^invalid_dpop_proof\b",
        "configuration_invalid",
        "The provider did not accept the proof of your sign-in's key",
        'Check this computer\'s date and time; to do without, set dpop = "off" under [identity].',
    ),
    # RFC 6749 section 5.2.
    _Row(
        r"^invalid_client\b",
        "configuration_invalid",
        "The provider does not accept this client",
        "Correct `client_id`; a client that has a secret needs `client_secret_ref`.",
    ),
)


def explain(error: str, description: str) -> Failure | None:
    """The failure that the provider's `error` and `error_description`, made plain, stand for, where they are known."""
    said = f"{error}: {description}" if description else error
    for row in _TABLE:
        if match := re.search(row.words, said):
            return Failure(row.reason, f"{row.meaning} ({match[0]}).", row.advice)
    return None
