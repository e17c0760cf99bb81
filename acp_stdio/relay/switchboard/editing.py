"""Changing one member deep in a message and leaving the rest as the text that came."""

import json
from collections.abc import Callable, Mapping

from msgspec import Raw

from acp_stdio.wire import members
from acp_stdio.wire.frames import Frame

Edit = Callable[[Raw], Raw]
"""From a member's text to another; the very same object where nothing changes."""


def edited(raw: Raw, edits: Mapping[str, Edit]) -> Raw:
    """A JSON object with these members edited where it has them; itself where that changes nothing."""
    parts = members.members(raw)
    changed = False
    for name, edit in edits.items():
        part = parts.get(name)
        if part is not None and (new := edit(part)) is not part:
            parts[name], changed = new, True
    return Raw(members.joined(parts)) if changed else raw


def each(edit: Edit) -> Edit:
    """Edits every item of a JSON array."""

    def edit_all(raw: Raw) -> Raw:
        old = members.items(raw)
        new = [edit(item) for item in old]
        same = all(a is b for a, b in zip(old, new, strict=True))
        return raw if same else Raw(b"[%b]" % b",".join(map(bytes, new)))

    return edit_all


def every(edit: Edit) -> Edit:
    """Edits the value of every member of a JSON object."""
    return lambda raw: edited(raw, dict.fromkeys(members.members(raw), edit))


def text(show: Callable[[str], str]) -> Edit:
    """Edits a string; what is none stays."""

    def edit(raw: Raw) -> Raw:
        old = members.text(raw)
        new = show(old) if old else old
        return raw if new == old else string(new)

    return edit


def string(value: str) -> Raw:
    """A string as a member. Not msgspec's: a peer's may hold half of an emoji that a model cut."""
    return Raw(json.dumps(value).encode())


def within(**edits: Edit) -> Edit:
    """Edits members of an object that is a member itself."""
    return lambda raw: edited(raw, edits)


def at(*path: str, edit: Edit) -> Edit:
    """Edits the member that this path of names leads to, where there is one."""
    for name in reversed(path):
        edit = within(**{name: edit})
    return edit


def put(value: Raw | bytes) -> Edit:
    """Whatever was there, this stands there now."""
    new = Raw(value)
    return lambda _: new


def in_frame(frame: Frame, **edits: Edit) -> bytes:
    """A message with members of its envelope edited: `id`, `params`, `result`."""
    envelope = _envelope(frame)
    new = {name: edit(envelope[name]) for name, edit in edits.items() if name in envelope}
    changed = {name: part for name, part in new.items() if part is not envelope[name]}
    return replaced(frame, **changed) if changed else frame.raw


def replaced(frame: Frame, **parts: Raw | bytes) -> bytes:
    """A message with these members of its envelope in place of its own."""
    return members.joined({**_envelope(frame), **members.members(frame.raw), **parts})


def _envelope(frame: Frame) -> dict[str, Raw]:
    """What is known of a message, also where its text cannot be read again."""
    known = {
        "jsonrpc": Raw(b'"2.0"'),
        "id": None if frame.id is None else Raw(frame.id),
        "method": None if frame.method is None else string(frame.method),
        "params": frame.params,
        "result": frame.result,
        "error": frame.error,
    }
    return {name: part for name, part in known.items() if part is not None}
