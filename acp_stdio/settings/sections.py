"""Each table of the configuration and what may stand in it."""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Final, cast

from acp_stdio.settings import checks, managed
from acp_stdio.settings.model import (
    DEFAULT,
    ENDPOINTS,
    ArgumentsMode,
    AuditSettings,
    Deliver,
    Dpop,
    HostSettings,
    IdentitySettings,
    NetworkSettings,
    Preset,
    Principal,
    StorageBackend,
    StorageSettings,
    Survives,
    TokenFormat,
    TokenRequest,
    Transport,
    UpstreamSettings,
)
from acp_stdio.settings.origin import origin_of
from acp_stdio.settings.presets import (
    PRESETS,
    entra_scope,
    identity_defaults,
    issuer_problem,
    scopes_problem,
    token_format_default,
    token_request_default,
    token_request_problem,
)
from acp_stdio.settings.sources import Entry, Problems
from acp_stdio.settings.table import Table

_CHILD: Final = ("command", "args", "env", "token_meta")

IDENTITY_KEYS: Final = tuple(each.name for each in fields(IdentitySettings) if each.name not in ("name", "origins"))
"""What may stand in `[identity]` and in `[identities.NAME]`."""

_DAY: Final = 86_400.0
Entries = dict[str, Entry]


def identity(entries: Entries | None, problems: Problems, name: str = DEFAULT) -> IdentitySettings:
    """Without an issuer it is discovered from each upstream, and so are the scopes that are not written."""
    if entries is None:
        plain = replace(identity_defaults("generic"), scopes=())
        return replace(plain, origins=_origins({}, plain))
    table = Table(entries, problems)
    preset: Preset = table.word("preset", "generic", PRESETS)
    default = identity_defaults(preset)
    dpop: Dpop = table.word("dpop", default.dpop, ("off", "auto", "require"))
    identity = IdentitySettings(
        issuer=table.text("issuer", "", checks.issuer),
        client_id=table.text("client_id", "", checks.filled),
        preset=preset,
        flow=table.word("flow", default.flow, ("browser", "device")),
        redirect=table.text("redirect", default.redirect, checks.redirect),
        scopes=table.texts("scopes", default.scopes if "issuer" in entries else (), checks.scope),
        require_account=table.named("require_account", "claims"),
        recheck_identity=table.duration("recheck_identity", default.recheck_identity, least=1, most=30 * _DAY),
        max_session_age=table.duration("max_session_age", 0.0, least=60, most=400 * _DAY),
        user_key=table.texts("user_key", default.user_key, checks.filled),
        user_label=table.texts("user_label", default.user_label, checks.filled),
        client_metadata_url=table.text("client_metadata_url", "", checks.client_document, empty=True),
        client_secret_ref=table.text("client_secret_ref", "", checks.secret_place, empty=True),
        authorize_params=table.named("authorize_params", "parameters", checks.own_parameter),
        discovery_url=table.text("discovery_url", "", checks.url, empty=True),
        endpoints=table.addresses("endpoints", ENDPOINTS, checks.url),
        allow_unadvertised_pkce=table.flag("allow_unadvertised_pkce", False),
        clock_skew=table.duration("clock_skew", default.clock_skew, least=0, most=default.clock_skew),
        dpop=dpop,
        name=name,
    )
    if identity.issuer and (problem := issuer_problem(identity.issuer, preset)):
        problems.at(entries["issuer"], problem)
    if "scopes" in entries and (problem := scopes_problem(identity.scopes, preset)):
        problems.at(entries["scopes"], problem)
    if identity.client_secret_ref and not ("issuer" in entries and "client_id" in entries):
        problems.at(
            entries["client_secret_ref"], "needs issuer and client_id: a secret is not shown to whom a server names"
        )
    _about_issuer(entries, problems)
    for key, claims in (("user_key", identity.user_key), ("user_label", identity.user_label)):
        if not claims:
            problems.at(entries[key], "must name at least one claim")
    table.finish()
    return replace(identity, origins=_origins(entries, identity))


def _about_issuer(entries: Entries, problems: Problems) -> None:
    """Notes what says where an issuer is, or what it may do without, and does not come from whoever names the issuer.

    An administrator who writes the issuer means its own addresses, and PKCE as the standards want it.
    """
    issuer = entries.get("issuer")
    for key in ("discovery_url", "endpoints", "allow_unadvertised_pkce"):
        if (entry := entries.get(key)) is None:
            continue
        if issuer is None:
            problems.at(entry, "needs an issuer: it says how that one is reached")
        elif _managed(issuer) and not _managed(entry):
            problems.at(entry, "is the administrator's to say: the managed file has the issuer")


def _managed(entry: Entry) -> bool:
    return entry.source.path == managed.PLACE


def _origins(entries: Mapping[str, Entry], identity: IdentitySettings) -> dict[str, str]:
    """Where each value of an identity came from. No variable and no flag sets one of them."""
    plain = IdentitySettings("", "")
    default = identity_defaults(identity.preset)
    found: dict[str, str] = {}
    for key in IDENTITY_KEYS:
        differs = getattr(default, key) != getattr(plain, key)
        found[key] = _origin(entries.get(key), identity.preset if differs else "")
    return found


def _origin(entry: Entry | None, preset: str) -> str:
    """Where a value came from that is written in `entry`, or else by `preset` (nothing: it is the usual default)."""
    if entry is not None:
        return f"managed file {entry.source.path}" if _managed(entry) else f"file {entry.source.path}"
    return f"preset {preset}" if preset else "default"


def one_origin(who: IdentitySettings, upstreams: Iterable[UpstreamSettings], user: Path, problems: Problems) -> None:
    """Notes upstreams on several origins, where a token says nothing of whom it is for: it is bound to one."""
    mine = [each for each in upstreams if each.identity == who.name and each.url]
    if who.preset == "github" and any(origin_of(each.url) != origin_of(mine[0].url) for each in mine):
        names = ", ".join(each.name for each in mine)
        problems.say(
            f"{names} are on several origins, and GitHub's tokens are good everywhere: one identity each", user
        )


def needs_openid(entries: Entries | None, upstreams: Iterable[UpstreamSettings], problems: Problems) -> None:
    """Notes scopes that bring no ID token, where an upstream is not content with an unknown person."""
    scopes = (entries or {}).get("scopes")
    written: object = scopes.value if scopes else None
    if scopes is None or not isinstance(written, list):
        return
    if "openid" not in cast("list[object]", written) and any(
        upstream.principal == "required" and upstream.takes_token for upstream in upstreams
    ):
        problems.at(scopes, 'needs "openid": without an ID token nobody knows who signed in')


def _needs(table: tuple[str, ...], entries: Entries, keys: tuple[str, ...], user: Path, problems: Problems) -> None:
    """Notes the keys of `table` that must be written and are not, at the table's place in the user's file."""
    own = next((entry.source for entry in entries.values() if entry.source.path == user), None)
    for key in keys:
        if key not in entries:
            problems.say(f"[{'.'.join(table)}] needs {key}", user, own.line(table) if own else 0)


def upstream(
    name: str, entries: Entries, identities: Mapping[str, IdentitySettings], user: Path, problems: Problems
) -> UpstreamSettings:
    table = Table(entries, problems)
    identity = _identity_of(entries, table, identities, problems)
    who = identities[identity]
    entra = who.preset == "entra"

    def scope(text: str) -> str:
        return checks.scope(text) or (entra_scope(text) if entra else "")

    transport: Transport = table.word("transport", "auto", ("auto", "http", "sse", "stdio"))
    command, env, token_meta = _child(table, entries, problems, child=transport == "stdio")
    url = table.text("url", "", checks.url)
    if transport == "stdio":
        url = f"stdio:{shlex.join(command)}"
    request: TokenRequest = table.word(
        "token_request",
        token_request_default(who.preset),
        ("resource", "audience", "scope", "exchange", "omit"),
    )
    if problem := token_request_problem(request, who.preset):
        problems.at(entries["token_request"], problem)
    scopes = table.texts("scopes", (), scope)
    where = "command" if transport == "stdio" else "url"
    _needs(("upstreams", name), entries, (where, "scopes") if request == "scope" else (where,), user, problems)
    if token_meta and not who.issuer:
        problems.at(entries["token_meta"], "needs an issuer: a child does not say whose tokens it takes")
    if request == "scope" and "scopes" in entries and not scopes:
        problems.at(entries["scopes"], "must not be empty: the scope says which API the token is for")
    audience = table.texts("audience", (), checks.filled, single=True)
    principal: Principal = table.word("principal", "required", ("required", "unverified"))
    default_format = token_format_default(who.preset)
    token_format: TokenFormat = table.word("token_format", default_format, ("jwt", "opaque", "id_token"))
    if token_format == "opaque" and "audience" in entries:  # noqa: S105 - its kind, not a token
        problems.at(entries["audience"], 'says nothing about a token that cannot be read (token_format = "opaque")')
    assertion = table.flag("assertion", False)
    if token_meta and not audience and (request == "resource" or token_format != "opaque"):  # noqa: S105 - as above
        problems.at(entries["token_meta"], "needs audience: a child has no address that could stand for it")
    if token_meta and who.dpop != "off":
        problems.at(entries["token_meta"], f'cannot be with dpop = "{who.dpop}": a child has no key to prove anything')
    if token_format == "id_token" and who.dpop == "require":  # noqa: S105 - as above
        problems.at(entries["token_format"], 'cannot be with dpop = "require": an ID token is bound to no key')
    table.finish()
    return UpstreamSettings(
        name=name,
        url=url,
        transport=transport,
        token_request=request,
        audience=audience,
        scopes=scopes,
        principal=principal,
        token_format=token_format,
        identity=identity,
        assertion=assertion,
        command=command,
        env=env,
        token_meta=token_meta,
        origins={
            **{key: _origin(entries.get(key), "") for key in ("audience", "scopes", "principal")},
            "token_request": _origin(
                entries.get("token_request"),
                who.preset if token_request_default(who.preset) != token_request_default("generic") else "",
            ),
            "token_format": _origin(
                entries.get("token_format"),
                who.preset if default_format != token_format_default("generic") else "",
            ),
        },
    )


def _child(
    table: Table, entries: Entries, problems: Problems, *, child: bool
) -> tuple[tuple[str, ...], dict[str, str], str]:
    """A child's command line, what its environment gets, and under which key it gets the token."""
    program = table.text("command", "", checks.filled)
    # A repeated argument counts twice, unlike a repeated scope.
    arguments = table.words("args")
    env = table.variables("env")
    token_meta = table.text("token_meta", "", checks.meta_key, empty=True)
    for key in _CHILD if not child else ("url", "assertion"):
        if key in entries:
            problems.at(
                entries[key], f'has {"no" if child else "a"} meaning {"" if child else "only "}with transport = "stdio"'
            )
    return (program, *arguments) if program else (), env, token_meta


def _identity_of(entries: Entries, table: Table, identities: Mapping[str, IdentitySettings], problems: Problems) -> str:
    """The identity that an upstream's table names. Whose person a managed upstream is for, its administrator says."""
    name = table.word("identity", DEFAULT, tuple(identities))
    chosen = entries.get("identity")
    administered = any(_managed(entry) for entry in entries.values())
    if chosen is not None and administered and not _managed(chosen):
        problems.at(chosen, "is the administrator's to say: the managed file has this upstream")
        return DEFAULT
    return name


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
    table = Table(entries, problems)
    arguments: ArgumentsMode = table.word("arguments", "digest", ("none", "digest", "full"))
    survives: Survives = table.word("survives", "crash", ("crash", "power_loss"))
    deliver: Deliver = table.word("deliver", "best_effort", ("best_effort", "required"))
    default = AuditSettings()
    audit = AuditSettings(
        path=table.path("path"),
        arguments=arguments,
        survives=survives,
        retention=table.duration("retention", default.retention, least=_DAY, most=3650 * _DAY),
        otlp=table.text("otlp", "", checks.collector, empty=True),
        deliver=deliver,
        max_backlog=table.count("max_backlog", default.max_backlog, least=1, most=1_000_000),
    )
    for key, without in (("deliver", audit.otlp), ("max_backlog", deliver == "required")):
        if key in entries and not without and entries[key].value != "best_effort":
            problems.at(entries[key], "needs otlp" if key == "deliver" else 'needs deliver = "required"')
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
