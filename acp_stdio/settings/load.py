"""From files, environment and command line to one `Settings`, or to every problem at once.

Strongest first: the administrator's managed file, the command line, the environment, the
user's file, defaults. A key that the managed file sets cannot be changed below it. `[policy]` tables are
not laid over each other: each file's is a layer, and a call needs all of them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from acp_stdio.errors import Failure
from acp_stdio.settings import checks, managed, sections
from acp_stdio.settings.model import DEFAULT, Settings
from acp_stdio.settings.paths import Paths, user_paths
from acp_stdio.settings.revocations import KEY
from acp_stdio.settings.sources import Entry, Problems, Source, closest, parse
from acp_stdio.settings.table import Table
from acp_stdio.settings.targets import select

if TYPE_CHECKING:
    from acp_stdio.policy.rules import Policy

EXAMPLE: Final = """\
version = 1

[identity]
issuer = "https://login.example.com"
client_id = "acp-stdio"

[upstreams.finance]
url = "https://finance.example.com/mcp"
"""

_NAMED: Final = {"upstreams": ("an upstream", "finance"), "identities": ("an identity", "customers")}
"""Tables of tables: what one of them is called in words, and an example's name."""
_SECTIONS: Final = ("identity", "audit", "network", "storage", "host")

Tables = dict[tuple[str, ...], dict[str, Entry]]
"""Table name, such as ("upstreams", "finance"), to its keys; () holds the keys above the first table."""


def load(
    *,
    config: Path | None = None,
    profile: str = "",
    targets: Sequence[str] = (),
    environ: Mapping[str, str],
    bare: bool = False,
    signed: bool = True,
) -> Settings:
    """The settings for one command.

    `config` and `profile` are the command line's, None and "" where it has none; `targets` are
    names of upstreams or URLs, none for all upstreams. `bare`: where somebody has signed in by URL alone,
    the command does without a file. `signed`: reads signed rules, too, which `run` does at its first call and not
    at its start. Raises `configuration_invalid`.
    """
    paths = user_paths(environ)
    chosen = chosen_file(config, environ)
    problems = Problems()
    user = chosen or paths.config_file
    sources = read_sources(managed.PLACE, user, required=chosen is not None, problems=problems)
    profile = profile or environ.get("ACP_STDIO_PROFILE", "") or DEFAULT
    if problem := checks.name(profile):
        problems.say(f"The profile's name {profile!r} {problem}")
    signed_in = bare and not problems.found and (paths.state / profile / "session.json").is_file()
    if not sources and not targets and not signed_in:
        problems.stop_if_any()
        raise Failure(
            "configuration_invalid",
            f"There is no configuration yet: {user} does not exist.",
            f"Write {user} with your company's values, for example:\n\n{EXAMPLE}",
        )
    return build(sources, user=user, paths=paths, profile=profile, targets=targets, problems=problems, signed=signed)


def chosen_file(config: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The user file that the command line or `ACP_STDIO_CONFIG` names in place of the usual one."""
    named = config or (Path(environ["ACP_STDIO_CONFIG"]) if environ.get("ACP_STDIO_CONFIG") else None)
    return named.expanduser().absolute() if named else None


def config_files(paths: Paths, config: Path | None) -> tuple[Path, ...]:
    """The files that settings come from, present or not: a change of one outdates what was remembered.

    `config` is what `chosen_file` returned. Compare status-change times too: the managed file's
    owner and permissions count.
    """
    return (managed.PLACE, config or paths.config_file)


def build(
    sources: Sequence[Source],
    *,
    user: Path,
    paths: Paths,
    profile: str,
    targets: Sequence[str],
    problems: Problems,
    signed: bool = True,
) -> Settings:
    """Settings from parsed files, weakest first. Raises `configuration_invalid`.

    `user` is the file that a missing key belongs in.
    """
    tables = _merge(sources, problems)
    above = tables.pop((), {})
    top = Table(above, problems)
    if (version := top.entry("version")) and (type(version.value) is not int or version.value != 1):
        problems.at(version, "must be 1, the format that this version reads")
    allow_token_export = top.flag("allow_token_export", False)
    revoked = top.texts(KEY, (), checks.filled)
    if (listed := above.get(KEY)) and listed.source.path != managed.PLACE:
        problems.at(listed, "is the administrator's to say, in the managed file")
    top.finish()
    named = {key[1]: entries for key, entries in tables.items() if key[:1] == ("identities",)}
    written = {DEFAULT: tables.get(("identity",)), **named}
    identities = {name: sections.identity(entries, problems, name) for name, entries in written.items()}
    upstreams = {
        key[1]: sections.upstream(key[1], entries, identities, user, problems)
        for key, entries in tables.items()
        if key[:1] == ("upstreams",)
    }
    for name, entries in written.items():
        sections.needs_openid(entries, [each for each in upstreams.values() if each.identity == name], problems)
        sections.one_origin(identities[name], upstreams.values(), user, problems)
    who = identities.pop(DEFAULT)
    settings = Settings(
        identity=who,
        identities=identities,
        upstreams=select(upstreams, targets, who, problems),
        paths=paths,
        profile=profile,
        storage=sections.storage(tables.get(("storage",), {}), problems),
        network=sections.network(tables.get(("network",), {}), problems),
        audit=sections.audit(tables.get(("audit",), {}), problems),
        host=sections.host(tables.get(("host",), {}), problems),
        revoked=frozenset(revoked),
        allow_token_export=allow_token_export,
        user_file=user,
        config_file=user if any(source.path == user for source in sources) else None,
        policy=read_policy(sources, problems, paths.state if signed else None),
    )
    problems.stop_if_any()
    return settings


def read_sources(place: Path, user: Path, *, required: bool, problems: Problems) -> list[Source]:
    """The configuration files that there are, parsed, weakest first; what is wrong with them goes to `problems`."""
    sources: list[Source] = []
    try:
        sources.append(parse(user, _content(user), problems))
    except FileNotFoundError:
        if required:
            problems.say("does not exist, but --config or ACP_STDIO_CONFIG names it", user)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        problems.say(f"cannot be read: {getattr(error, 'strerror', None) or error}", user)
    try:
        if (content := managed.read(place)) is not None:
            sources.append(parse(place, content, problems))
    except (managed.UntrustedError, OSError) as error:
        problems.say(f"the managed configuration cannot be trusted: {error}", place)
    return sources


def read_policy(sources: Sequence[Source], problems: Problems, state: Path | None) -> "Policy | None":
    """The rules of all files; None, and nothing imported, where no file has any.

    `state`: where is kept which signed rules were seen; None leaves signed rules out, for a start that decides nothing.
    """
    layers = [
        ("managed" if source.path == managed.PLACE else "user", Entry(source.data["policy"], source, ("policy",)))
        for source in reversed(sources)
        if "policy" in source.data
    ]
    if not layers:
        return None
    from acp_stdio.settings import signed_rules
    from acp_stdio.settings.policy import read

    if (named := signed_rules.naming(sources)) is not None:
        signed = signed_rules.read(named, state, problems) if state is not None else None
        inside = [("managed", Entry(signed.source.data["policy"], signed.source, ("policy",)))] if signed else []
        layers = [*inside, *(layer for layer in layers if layer[0] != "managed")]
    return read(layers, problems)


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(managed.MAX_BYTES + 1)


def _merge(sources: Sequence[Source], problems: Problems) -> Tables:
    """Lays the sources over each other, key by key; the last one that writes a key has it."""
    tables: Tables = {(): {}}
    for source in sources:
        for key, value in source.data.items():
            entry = Entry(value, source, (key,))
            if key in _SECTIONS:
                _lay(tables, entry, problems)
            elif key in _NAMED:
                _lay_each(tables, entry, problems)
            elif key == "policy":
                continue  # its layers add up instead of replacing each other
            elif isinstance(value, dict):
                problems.at(entry, f"is not a known table{closest(key, (*_SECTIONS, *_NAMED, 'policy'))}")
            else:
                tables[()][key] = entry
    return tables


def _lay_each(tables: Tables, entry: Entry, problems: Problems) -> None:
    (key,) = entry.keys
    kind, example = _NAMED[key]
    value = entry.value
    if not isinstance(value, dict):
        problems.at(entry, f"must be tables such as [{key}.{example}]")
        return
    for name, table in cast("dict[str, object]", value).items():
        inner = Entry(table, entry.source, (key, name))
        if problem := checks.name(name):
            problems.at(inner, f"cannot be {kind}'s name, which {problem}")
        elif (key, name) == ("identities", DEFAULT):
            problems.at(inner, "is written [identity]")
        else:
            _lay(tables, inner, problems)


def _lay(tables: Tables, entry: Entry, problems: Problems) -> None:
    value = entry.value
    if not isinstance(value, dict):
        problems.at(entry, f"must be a table, written [{'.'.join(entry.keys)}]")
        return
    table = tables.setdefault(entry.keys, {})
    for key, inner in cast("dict[str, object]", value).items():
        table[key] = Entry(inner, entry.source, (*entry.keys, key))
