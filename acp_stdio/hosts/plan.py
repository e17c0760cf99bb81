"""What installing or uninstalling would make of a host's file. Reads the file; `Change.apply` alone writes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast

from acp_stdio.errors import Failure
from acp_stdio.hosts import diff, edit, file
from acp_stdio.hosts.entry import MANAGED, Wanted, is_ours
from acp_stdio.hosts.jsonc import Document, NotJson, parse
from acp_stdio.hosts.known import Host
from acp_stdio.hosts.others import Rival, credential_in, leads_to

Outcome = Literal["added", "updated", "already there", "removed", "replaced"]
_FIELDS: Final = ("type", "command", "args")


@dataclass(frozen=True, slots=True)
class Config:
    """A host's file, understood."""

    host: Host
    snapshot: file.Snapshot
    text: str
    entries: dict[str, Any]
    relaxed: bool
    """Whether it has comments or trailing commas."""

    @property
    def ours(self) -> list[str]:
        """The names of our entries."""
        return [name for name, entry in self.entries.items() if is_ours(entry)]


@dataclass(frozen=True, slots=True)
class Change:
    """The file as it will be. Nothing is written before `apply`."""

    config: Config
    text: str
    entries: dict[str, Outcome]
    """Name to what happens to it; names that nothing happens to are not in it."""

    @property
    def changed(self) -> bool:
        return self.text != self.config.text

    def diff(self) -> str:
        """The lines that change, without anybody else's values."""
        before = self.config.text if self.config.snapshot.content is not None else ""
        return diff.unified(before, self.text, self.config.host.section, str(self.config.snapshot.path))

    def apply(self) -> Path | None:
        """Writes the file and returns the backup, if there was something to back up. Raises `Failure`."""
        return file.replace(self.config.snapshot, self.text) if self.changed else None


def look(host: Host, path: Path) -> Config:
    """Reads a file; one that does not exist has no entries.

    Raises `Failure` configuration_invalid, with the line, where it cannot be understood.
    """
    snapshot = file.read(path)
    text = snapshot.text

    try:
        document = parse(text)
        holder = document.find(host.section)
        if holder is not None and holder.members is None:
            raise NotJson(document.line(holder.start), f"{host.section!r} should be an object")
        for member in (holder.members or ()) if holder else ():
            _unambiguous(document, (host.section, member.key))
    except NotJson as problem:
        raise Failure(
            "configuration_invalid",
            f"{path}:{problem.line}: {problem.words}. The file was left as it is.",
            "Correct that line and run the command again.",
        ) from None
    entries = cast("dict[str, Any]", holder.value) if holder else {}
    return Config(host, snapshot, text, entries, document.relaxed)


def _unambiguous(document: Document, path: tuple[str, ...]) -> None:
    """Raises `NotJson` where the name, or in an entry of ours a part that we may change, is there twice."""
    entry = document.find(*path)
    if entry is None or not is_ours(entry.value):
        return
    for key in _FIELDS:
        document.find(*path, key)
    env = document.find(*path, "env")
    for key in MANAGED if env is not None and env.members is not None else ():
        document.find(*path, "env", key)


def rivals(config: Config, wanted: Sequence[Wanted]) -> list[Rival]:
    """Entries that lead to the same servers, have a name that ours would take, or hold a credential."""
    taken = {each.name for each in wanted if not _present(config, each)}
    served = {name for each in wanted for name in config.entries if each.is_in(config.entries[name])}
    found: list[Rival] = []
    for name, entry in config.entries.items():
        if name not in taken and (name in served or is_ours(entry)):
            continue
        same_url = not is_ours(entry) and any(leads_to(entry, url) for each in wanted for url in each.urls)
        rival = Rival(name, same_url, name in taken, credential_in(entry))
        if rival.same_url or rival.same_name or rival.credential:
            found.append(rival)
    return found


def install(config: Config, wanted: Sequence[Wanted], replace: Collection[str]) -> Change:
    """Puts an entry for each wanted one; those named in `replace`, and ours that it makes spare, make room for them.

    Leaves out wanted ones whose name is taken and not in `replace`. Raises `Failure` like `look`.
    """
    text = config.text
    section = config.host.section
    outcome: dict[str, Outcome] = {}
    for each in wanted:
        present = _present(config, each)
        if present:
            text, outcome[present] = _update(config, text, present, each)
        elif each.name not in config.entries or each.name in replace:
            text = edit.put(text, (section, each.name), _value(config.host, each))
            outcome[each.name] = "replaced" if each.name in config.entries else "added"
    there = [each for each in wanted if each.name in outcome or _present(config, each)]
    for name, entry in config.entries.items():
        named = name in replace and not is_ours(entry)
        if name not in outcome and (named or any(each.makes_spare(entry) for each in there)):
            text = edit.drop(text, (section, name))
            outcome[name] = "removed"
    return _checked(Change(config, text, outcome))


def uninstall(config: Config) -> Change:
    """Takes out our entries and nothing else."""
    text = config.text
    for name in config.ours:
        text = edit.drop(text, (config.host.section, name))
    return _checked(Change(config, text, dict.fromkeys(config.ours, "removed")))


def _present(config: Config, wanted: Wanted) -> str:
    """The entry that serves this upstream already, by its own name if there are several; "" for none."""
    names = [name for name, entry in config.entries.items() if wanted.is_in(entry)]
    return wanted.name if wanted.name in names else next(iter(names), "")


def _value(host: Host, wanted: Wanted) -> dict[str, Any]:
    kind = {"type": "stdio"} if host.typed else {}
    env = {"env": dict(wanted.env)} if wanted.env else {}
    return {**kind, "command": wanted.command, "args": list(wanted.args), **env}


def _update(config: Config, text: str, name: str, wanted: Wanted) -> tuple[str, Outcome]:
    """Sets what is ours in an entry and leaves what the person added to it."""
    entry = cast("dict[str, Any]", config.entries[name])
    path = (config.host.section, name)
    value = _value(config.host, wanted)
    before = text
    for key in _FIELDS:
        if key in value and entry.get(key) != value[key]:
            text = edit.put(text, (*path, key), value[key])
    held = entry.get("env")
    env = cast("dict[str, Any]", held) if isinstance(held, dict) else {}
    if wanted.env and held is not None and not isinstance(held, dict):
        text = edit.put(text, (*path, "env"), dict(wanted.env))
    for key in MANAGED:
        if key in wanted.env and env.get(key) != wanted.env[key]:
            text = edit.put(text, (*path, "env", key), wanted.env[key])
        elif key in env and key not in wanted.env:
            text = edit.drop(text, (*path, "env", key))
    return text, "updated" if text != before else "already there"


def _checked(change: Change) -> Change:
    """The change, after a look that nobody else's part is different: a wrong edit of ours is never written."""
    section = change.config.host.section

    def rest(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
        whole = cast("dict[str, Any]", parse(text).root.value)
        others = {key: value for key, value in whole.get(section, {}).items() if key not in change.entries}
        return {key: value for key, value in whole.items() if key != section}, others

    if rest(change.text) != rest(change.config.text):
        raise AssertionError("an edit would have changed somebody else's part of the file")
    return change
