"""Each table of the configuration and what may stand in it."""

from pathlib import Path
from typing import Final

from acp_stdio.settings import checks
from acp_stdio.settings.model import (
    AuditSettings,
    HostSettings,
    IdentitySettings,
    NetworkSettings,
    Preset,
    StorageBackend,
    StorageSettings,
    TokenRequest,
    UpstreamSettings,
)
from acp_stdio.settings.presets import (
    entra_scope,
    identity_defaults,
    token_request_default,
)
from acp_stdio.settings.sources import Entry, Problems
from acp_stdio.settings.table import Table

# What the published format has and this version does not act on yet.
_LATER_PRESETS: Final = ("okta", "auth0", "google", "keycloak", "cognito", "ping", "github")
_LATER_IDENTITY: Final = ("client_metadata_url", "client_secret_ref")
_LATER_UPSTREAM: Final = ("command", "args", "env", "token_format", "principal", "identity", "assertion")
_LATER_AUDIT: Final = ("arguments", "survives", "retention", "otlp", "deliver", "max_backlog")

_DAY: Final = 86_400.0
Entries = dict[str, Entry]


def identity(entries: Entries | None, user: Path, problems: Problems) -> IdentitySettings:
    if entries is None:
        problems.say("needs [identity] with issuer and client_id, so that you can sign in", user)
        return identity_defaults("generic")
    table = Table(entries, problems, documented=_LATER_IDENTITY)
    preset: Preset = table.word("preset", "generic", ("generic", "entra"), later=_LATER_PRESETS)
    default = identity_defaults(preset)
    _needs(("identity",), entries, ("issuer", "client_id"), user, problems)

    identity = IdentitySettings(
        issuer=table.text("issuer", "", checks.issuer),
        client_id=table.text("client_id", "", checks.filled),
        preset=preset,
        flow=table.word("flow", default.flow, ("browser", "device")),
        redirect=table.text("redirect", default.redirect, checks.redirect),
        scopes=table.texts("scopes", default.scopes, checks.scope),
        require_account=table.claims("require_account"),
        recheck_identity=table.duration("recheck_identity", default.recheck_identity, least=1, most=30 * _DAY),
        user_key=table.texts("user_key", default.user_key, checks.filled),
        user_label=table.texts("user_label", default.user_label, checks.filled),
    )
    if "openid" not in identity.scopes:
        problems.at(entries["scopes"], 'needs "openid": without an ID token nobody knows who signed in')
    for key, claims in (("user_key", identity.user_key), ("user_label", identity.user_label)):
        if not claims:
            problems.at(entries[key], "must name at least one claim")
    table.finish()
    return identity


def _needs(table: tuple[str, ...], entries: Entries, keys: tuple[str, ...], user: Path, problems: Problems) -> None:
    """Notes the keys of `table` that must be written and are not, at the table's place in the user's file."""
    own = next((entry.source for entry in entries.values() if entry.source.path == user), None)
    for key in keys:
        if key not in entries:
            problems.say(f"[{'.'.join(table)}] needs {key}", user, own.line(table) if own else 0)


def upstream(name: str, entries: Entries, who: IdentitySettings, user: Path, problems: Problems) -> UpstreamSettings:
    table = Table(entries, problems, documented=_LATER_UPSTREAM)
    entra = who.preset == "entra"

    def scope(text: str) -> str:
        return checks.scope(text) or (entra_scope(text) if entra else "")

    table.word("transport", "auto", ("auto", "http"), later=("sse", "stdio"))
    url = table.text("url", "", checks.url)
    request: TokenRequest = table.word(
        "token_request",
        token_request_default(who.preset),
        ("resource", "audience", "scope", "omit"),
        later=("exchange",),
    )
    scopes = table.texts("scopes", (), scope)
    _needs(("upstreams", name), entries, ("url", "scopes") if request == "scope" else ("url",), user, problems)
    if request == "scope" and "scopes" in entries and not scopes:
        problems.at(entries["scopes"], "must not be empty: the scope says which API the token is for")
    audience = table.texts("audience", (), checks.filled, single=True)
    table.finish()
    return UpstreamSettings(name=name, url=url, token_request=request, audience=audience, scopes=scopes)


def storage(entries: Entries, problems: Problems) -> StorageSettings:
    table = Table(entries, problems)
    backend: StorageBackend = table.word("backend", "auto", ("auto", "secret-service", "macos", "windows", "file"))
    storage = StorageSettings(backend, key_file=table.path("key_file"), directory=table.path("directory"))
    for key in ("key_file", "directory"):
        if backend != "file" and key in entries:
            problems.at(entries[key], 'has a meaning only with backend = "file"')
    if backend == "file" and "key_file" not in entries:
        problems.at(entries["backend"], '= "file" needs key_file, the path of the store\'s key')
    table.finish()
    return storage


def network(entries: Entries, problems: Problems) -> NetworkSettings:
    table = Table(entries, problems)
    bundle = table.path("ca_bundle")
    if bundle is not None and not bundle.is_file():
        problems.at(entries["ca_bundle"], "names a file that does not exist")
    network = NetworkSettings(
        proxy=table.text("proxy", "", checks.proxy, empty=True), ca_bundle=str(bundle) if bundle else ""
    )
    table.finish()
    return network


def audit(entries: Entries, problems: Problems) -> AuditSettings:
    table = Table(entries, problems, documented=_LATER_AUDIT)
    audit = AuditSettings(path=table.path("path"))
    table.finish()
    return audit


def host(entries: Entries, problems: Problems) -> HostSettings:
    table = Table(entries, problems)
    default = HostSettings()
    host = HostSettings(
        helper_tools=table.flag("helper_tools", default.helper_tools),
        call_timeout=table.duration("call_timeout", default.call_timeout, least=1, most=_DAY),
    )
    table.finish()
    return host
