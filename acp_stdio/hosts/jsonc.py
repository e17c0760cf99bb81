"""JSON as people leave it, read with the place of every part, so that an edit can leave the rest alone.

RFC 8259, and besides it what hosts' files are found with: a byte order mark, `//` and `/* */`
comments, a comma behind the last member.
"""

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

_SPACE: Final = re.compile(r"[ \t\r\n]+")
_COMMENT: Final = re.compile(r"//[^\r\n]*|/\*.*?\*/", re.DOTALL)
_STRING: Final = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_WORD: Final = re.compile(r"true|false|null")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_WORDS: Final = {"true": True, "false": False, "null": None}


class NotJson(Exception):
    """The text cannot be understood. `line` counts from 1; `words` never quote the content."""

    def __init__(self, line: int, words: str) -> None:
        super().__init__(f"line {line}: {words}")
        self.line = line
        self.words = words


class Number(NamedTuple):
    """A number as it is written: reading it could round it."""

    text: str


@dataclass(frozen=True, slots=True)
class Node:
    """A value and its place, `text[start:end]`."""

    start: int
    end: int
    value: Any
    """Plain data with `Number` for numbers; of members with one name, the last."""
    members: "tuple[Member, ...] | None" = None
    """An object's members; None where this is no object."""
    items: "tuple[Node, ...]" = ()


@dataclass(frozen=True, slots=True)
class Member:
    """One `"key": value` of an object."""

    key: str
    start: int
    """Where the key begins."""
    node: Node
    comma: int
    """Where the comma behind it stands; -1 where there is none."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text and what is where in it."""

    text: str
    root: Node
    comments: tuple[tuple[int, int], ...]
    relaxed: bool
    """Whether strict readers would refuse it: comments, or a comma behind a last member."""

    def line(self, place: int) -> int:
        return self.text.count("\n", 0, place) + 1

    def member(self, node: Node, key: str) -> Member | None:
        """The member of that name. Raises `NotJson` where `node` is no object or names it twice."""
        if node.members is None:
            raise NotJson(self.line(node.start), f"there should be an object to hold {key!r}")
        found = [member for member in node.members if member.key == key]
        if len(found) > 1:
            raise NotJson(self.line(found[1].start), f"{key!r} is there a second time")
        return found[0] if found else None

    def find(self, *path: str) -> Node | None:
        """The value at a path of keys, or None. Raises `NotJson` like `member`."""
        node = self.root
        for key in path:
            member = self.member(node, key)
            if member is None:
                return None
            node = member.node
        return node


@lru_cache(maxsize=4)  # one change looks at the same two texts several times, and some hosts' files have megabytes
def parse(text: str) -> Document:
    """Reads one value; nobody may change what it returns. Raises `NotJson`, which names the line."""
    reader = _Reader(text)
    try:
        return reader.document()
    except RecursionError:
        raise NotJson(reader.line(), "it is nested too deep") from None


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 1 if text.startswith("\ufeff") else 0
        self._comments: list[tuple[int, int]] = []
        self._trailing = False

    def line(self) -> int:
        return self._text.count("\n", 0, self._at) + 1

    def document(self) -> Document:
        self._skip()
        root = self._value()
        self._skip()
        if self._at != len(self._text):
            raise self._wrong("there is something behind the end")
        return Document(self._text, root, tuple(self._comments), bool(self._comments) or self._trailing)

    def _wrong(self, words: str) -> NotJson:
        return NotJson(self.line(), words)

    def _skip(self) -> None:
        while True:
            if space := _SPACE.match(self._text, self._at):
                self._at = space.end()
            elif comment := _COMMENT.match(self._text, self._at):
                self._comments.append(comment.span())
                self._at = comment.end()
            else:
                return

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, letter: str) -> bool:
        if self._next() != letter:
            return False
        self._at += 1
        return True

    def _value(self) -> Node:
        start = self._at
        if self._take("{"):
            return self._object(start)
        if self._take("["):
            return self._array(start)
        if self._next() == '"':
            text = self._string()
            return Node(start, self._at, text)
        for shape in (_WORD, _NUMBER):
            if match := shape.match(self._text, self._at):
                self._at = match.end()
                word = match[0]
                return Node(start, self._at, _WORDS[word] if word in _WORDS else Number(word))
        raise self._wrong("a value is missing" if self._at < len(self._text) else "it ends too early")

    def _string(self) -> str:
        match = _STRING.match(self._text, self._at)
        if match is None:
            raise self._wrong("a text is not closed, or holds a control character")
        try:
            value: str = json.loads(match[0])
        except ValueError:
            raise self._wrong("a text has an escape that does not exist") from None
        self._at = match.end()
        return value

    def _object(self, start: int) -> Node:
        members: list[Member] = []
        while True:
            self._skip()
            if self._take("}"):
                break
            if members and members[-1].comma < 0:
                raise self._wrong("a comma is missing")
            place = self._at
            if self._next() != '"':
                raise self._wrong("a name in quotes is missing" if self._next() else "it ends too early")
            key = self._string()
            self._skip()
            if not self._take(":"):
                raise self._wrong("a colon is missing")
            self._skip()
            node = self._value()
            self._skip()
            comma = self._at
            members.append(Member(key, place, node, comma if self._take(",") else -1))
        self._trailing |= bool(members) and members[-1].comma >= 0
        return Node(start, self._at, {m.key: m.node.value for m in members}, tuple(members))

    def _array(self, start: int) -> Node:
        items: list[Node] = []
        comma = True
        while True:
            self._skip()
            if self._take("]"):
                break
            if not comma:
                raise self._wrong("a comma is missing")
            items.append(self._value())
            self._skip()
            comma = self._take(",")
        self._trailing |= bool(items) and comma
        return Node(start, self._at, [item.value for item in items], items=tuple(items))
