"""Reads one table of the configuration strictly: a wrong value is noted and the default used meanwhile."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from acp_stdio.settings.durations import seconds, spell
from acp_stdio.settings.sources import Entry, Problems, closest

Check = Callable[[str], str]
Word = TypeVar("Word", bound=str)

UNSUPPORTED = "is not supported by this version: remove it"
_SECRET = re.compile(r"secret|passw|token|api_?key|private_?key|credential|bearer", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_TYPES: Final[tuple[tuple[type, str], ...]] = (
    (bool, "true or false"),
    (str, "text"),
    (int, "a number"),
    (float, "a number"),
    (list, "a list"),
    (dict, "a table"),
)


def _kind(value: object) -> str:
    return next((words for kind, words in _TYPES if isinstance(value, kind)), "a date or time")


class Table:
    """The keys of one table. Every read names a key; `finish` reports the keys that nobody asked for."""

    def __init__(self, entries: Mapping[str, Entry], problems: Problems, *, documented: tuple[str, ...] = ()) -> None:
        """`documented`: keys of the published format that this version does not act on yet."""
        self.written = frozenset(entries)
        """The keys that stand in the file."""
        self._left = dict(entries)
        self._known: set[str] = set()
        self._documented = documented
        self._problems = problems

    def entry(self, key: str) -> Entry | None:
        self._known.add(key)
        return self._left.pop(key, None)

    def text(self, key: str, default: str, check: Check, *, empty: bool = False) -> str:
        """Text that passes `check`; `empty` text counts as not written."""
        entry = self.entry(key)
        if entry is None or (empty and entry.value == ""):
            return default
        if not isinstance(entry.value, str):
            return self._wrong(entry, "text", default)
        if problem := check(entry.value):
            self._problems.at(entry, problem)
            return default
        return entry.value

    def word(self, key: str, default: Word, allowed: tuple[Word, ...], *, later: tuple[str, ...] = ()) -> Word:
        """One of `allowed`; words in `later` belong to the format but not to this version."""
        entry = self.entry(key)
        if entry is None:
            return default
        for word in allowed:
            if entry.value == word:
                return word
        choices = ", ".join(allowed)
        if entry.value in later:
            self._problems.at(entry, f'= "{entry.value}" is not supported by this version: use {choices}')
        else:
            hint = closest(entry.value, allowed) if isinstance(entry.value, str) else ""
            self._problems.at(entry, f"must be one of {choices}{hint}")
        return default

    def texts(self, key: str, default: tuple[str, ...], check: Check, *, single: bool = False) -> tuple[str, ...]:
        """A list of texts that pass `check`, without repetitions; `single`: one text will do as well."""
        entry = self.entry(key)
        if entry is None:
            return default
        value = [entry.value] if single and isinstance(entry.value, str) else entry.value
        if not isinstance(value, list):
            return self._wrong(entry, "a list of texts", default)
        items = [item for item in cast("list[object]", value) if isinstance(item, str)]
        if len(items) != len(cast("list[object]", value)):
            return self._wrong(entry, "a list of texts", default)
        for problem in {check(item): None for item in items}:
            if problem:
                self._problems.at(entry, problem)
        return tuple(dict.fromkeys(items))

    def words(self, key: str) -> tuple[str, ...]:
        """A list of texts as they stand, such as a command's arguments."""
        entry = self.entry(key)
        if entry is None:
            return ()
        value = entry.value
        if not isinstance(value, list):
            return self._wrong(entry, "a list of texts", ())
        items = tuple(item for item in cast("list[object]", value) if isinstance(item, str) and "\0" not in item)
        return items if len(items) == len(cast("list[object]", value)) else self._wrong(entry, "a list of texts", ())

    def variables(self, key: str) -> dict[str, str]:
        """A table of environment variables. One that is named like a secret is none for this file."""
        entry = self.entry(key)
        if entry is None:
            return {}
        value = entry.value
        if not isinstance(value, dict):
            return self._wrong(entry, "a table of texts", {})
        table = cast("dict[str, object]", value)
        found = {name: value for name, value in table.items() if isinstance(value, str) and _VARIABLE.fullmatch(name)}
        if len(found) != len(table) or any("\0" in value for value in found.values()):
            self._problems.at(entry, "must name environment variables and the text each shall have")
        for name in found:
            if _SECRET.search(name):
                self._problems.at(entry, f"has {name}, which looks like a secret, and no secret belongs in this file")
        return found

    def flag(self, key: str, default: bool) -> bool:
        entry = self.entry(key)
        if entry is None:
            return default
        return entry.value if isinstance(entry.value, bool) else self._wrong(entry, "true or false", default)

    def duration(self, key: str, default: float, *, least: float, most: float) -> float:
        """Seconds, within bounds, from a text such as `15m`."""
        entry = self.entry(key)
        if entry is None:
            return default
        try:
            value = seconds(entry.value) if isinstance(entry.value, str) else -1.0
        except ValueError:
            value = -1.0
        if least <= value <= most:
            return value
        bounds = f"from {spell(least)} to {spell(most)}"
        self._problems.at(entry, f'must be a length of time such as "90s" or "1h30m", {bounds}')
        return default

    def count(self, key: str, default: int, *, least: int, most: int) -> int:
        """A whole number within bounds."""
        entry = self.entry(key)
        if entry is None:
            return default
        if type(entry.value) is int and least <= entry.value <= most:
            return entry.value
        self._problems.at(entry, f"must be a whole number from {least} to {most}")
        return default

    def path(self, key: str) -> Path | None:
        """An absolute path, `~` resolved, for a host starts us where it likes. Empty: not written."""
        entry = self.entry(key)
        if entry is None or entry.value == "":
            return None
        if not isinstance(entry.value, str):
            return self._wrong(entry, "text", None)
        try:
            path = Path(entry.value).expanduser()
        except RuntimeError:  # a home directory that cannot be determined
            path = Path()
        if path.is_absolute() and "\0" not in entry.value:
            return path
        self._problems.at(entry, "must be an absolute path, or begin with ~/")
        return None

    def named(self, key: str, what: str, check: Check = lambda _: "") -> dict[str, str]:
        """A table of `what`, such as claims, and the text each must have; their names pass `check`."""
        entry = self.entry(key)
        if entry is None:
            return {}
        table = entry.value
        if not isinstance(table, dict):
            return self._wrong(entry, f"a table of {what}", {})
        found = {k: v for k, v in cast("dict[str, object]", table).items() if isinstance(v, str) and v and k}
        if len(found) != len(cast("dict[str, object]", table)):
            self._problems.at(entry, f"must name {what} and the text each must have")
        for name in found:
            if problem := check(name):
                self._problems.at(entry, f"has {name}, which {problem}")
        return found

    def addresses(self, key: str, names: tuple[str, ...], check: Check) -> dict[str, str]:
        """A table of addresses that pass `check`, each under one of `names`."""
        entry = self.entry(key)
        if entry is None:
            return {}
        table = entry.value
        if not isinstance(table, dict):
            return self._wrong(entry, "a table of addresses", {})
        found: dict[str, str] = {}
        for name, url in cast("dict[str, object]", table).items():
            if name not in names:
                self._problems.at(entry, f"has {name}, which is none of {', '.join(names)}{closest(name, names)}")
            elif problem := check(url) if isinstance(url, str) else "must be text":
                self._problems.at(entry, f"has {name}, which {problem}")
            else:
                found[name] = str(url)
        return found

    def finish(self) -> None:
        """Notes every key that was not read: nobody shall believe in a setting that does nothing."""
        for key, entry in self._left.items():
            if key in self._documented:
                self._problems.at(entry, UNSUPPORTED)
            elif _SECRET.search(key):
                self._problems.at(entry, "looks like a secret, and no secret belongs in this file: remove it")
            else:
                self._problems.at(entry, f"is not a known key{closest(key, self._known)}")

    def _wrong(self, entry: Entry, expected: str, default: Any) -> Any:
        self._problems.at(entry, f"must be {expected}, not {_kind(entry.value)}")
        return default
