"""One JSON-RPC message: its envelope as data, everything else as the bytes that came.

A relay that decodes and encodes what it passes on rounds numbers, loses members it does not
know and dies of what it did not expect. So only the envelope is read (msgspec, 0.2 us where
`json.loads` takes 2, and 2 ms a megabyte where it takes 23) and `raw` goes on as it came.
"""

import json
import re
from typing import Any, Final, NoReturn, cast

import msgspec
from msgspec import UNSET, Raw, UnsetType

from acp_stdio.wire import methods
from acp_stdio.wire.framing import MAX_LINE
from acp_stdio.wire.members import members

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
MAX_NAME: Final = 60
"""Characters of a peer's text that an error repeats."""
_READ_OF_MESSAGE: Final = frozenset({"method", "id", "params"})
_READ_OF_PARAMS: Final = frozenset({"name", "arguments", "uri", "_meta"})
_READ: Final = _READ_OF_MESSAGE | _READ_OF_PARAMS
_LONGEST_READ: Final = max(map(len, _READ))


class BadFrame(Exception):
    """Not a JSON-RPC message. `code` is the JSON-RPC 2.0 section 5.1 error for it."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A JSON-RPC request, notification or response.

    `id`, `params`, `result` and `error` are the member's own JSON text; None where absent.
    """

    raw: bytes
    method: str | None
    id: bytes | None
    params: Raw | None
    result: Raw | None
    error: Raw | None

    @property
    def is_request(self) -> bool:
        return self.method is not None and self.id is not None

    @property
    def is_response(self) -> bool:
        return self.method is None


class _Envelope(msgspec.Struct, gc=False):
    method: str | UnsetType = UNSET
    id: Raw | UnsetType = UNSET
    params: Raw | UnsetType = UNSET
    result: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET


_ID = re.compile(rb'\s*(?:null|-?[0-9][0-9.eE+-]*|"(?:[^"\\]|\\.)*")\s*', re.DOTALL)
_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_batch = msgspec.json.Decoder(list[Raw]).decode


def parse(raw: bytes) -> Frame:
    """Reads the envelope of one message.

    Raises `BadFrame`: not JSON, not an object, nested too deep, or neither a method nor an answer.
    """
    try:
        envelope = _decode_envelope(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        envelope = _envelope_the_slow_way(raw)
    method = None if envelope.method is UNSET else envelope.method
    result = None if envelope.result is UNSET else envelope.result
    error = None if envelope.error is UNSET else envelope.error
    if envelope.id is not UNSET and not _ID.fullmatch(bytes(envelope.id)):
        raise BadFrame(INVALID_REQUEST, "the id is not a string, a number or null")
    if method is None and result is None and error is None:
        raise BadFrame(INVALID_REQUEST, "neither a method, a result nor an error")
    return Frame(
        raw,
        method,
        None if envelope.id is UNSET else bytes(envelope.id),
        None if envelope.params is UNSET else envelope.params,
        result,
        error,
    )


def _envelope_the_slow_way(raw: bytes) -> _Envelope:
    """For what msgspec refuses though JSON allows it, such as a lone surrogate; else says why."""
    try:
        data: Any = json.loads(raw, parse_constant=_refuse_constant, parse_int=str, parse_float=str)
    except RecursionError:
        raise BadFrame(INVALID_REQUEST, "nested too deep") from None
    except ValueError:
        raise BadFrame(PARSE_ERROR, "not valid JSON") from None
    if not isinstance(data, dict):
        raise BadFrame(INVALID_REQUEST, "a message is one JSON object; only MCP 2025-03-26 has batches")
    given = members(raw)
    method = cast("dict[str, Any]", data).get("method", UNSET)
    if method is not UNSET and not bytes(given["method"]).startswith(b'"'):
        raise BadFrame(INVALID_REQUEST, "the method is not a string")
    return _Envelope(method, *(given.get(name, UNSET) for name in ("id", "params", "result", "error")))


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def messages(raw: bytes, *, batches: bool) -> list[Frame | BadFrame]:
    """What came in one line, event or body: one message, or those of a JSON-RPC batch (JSON-RPC 2.0 section 6).

    MCP 2025-03-26 alone has `batches`; elsewhere one is a `BadFrame` like what is no message at all.
    """
    if not batches or not raw.startswith(b"["):
        return [_read(raw)]
    try:
        parts = _decode_batch(raw)
    except (msgspec.MsgspecError, RecursionError):
        return [BadFrame(PARSE_ERROR, "not a valid JSON array")]
    return [_read(bytes(part)) for part in parts] or [BadFrame(INVALID_REQUEST, "an empty batch")]


def _read(raw: bytes) -> Frame | BadFrame:
    try:
        return parse(raw)
    except BadFrame as problem:
        return problem


def too_long() -> BadFrame:
    """For a line that was not kept."""
    return BadFrame(INVALID_REQUEST, f"a message is larger than {MAX_LINE >> 20} MiB")


def check_unambiguous(raw: bytes) -> None:
    """Raises `BadFrame` for a message that two readers can read in two ways.

    Of a name that stands twice in one object some readers take the first value and some the last (RFC 8259
    section 4), and some, Go's `encoding/json` for one, take `Name` for `name`: what is judged here would not be what
    the server carries out. Case counts only in the names that say what is asked for; arguments are the caller's.
    4 us for a call of 200 bytes; 2 ms a megabyte of text, 16 of small objects; no number is converted.
    """
    try:
        text = raw.decode(json.detect_encoding(raw), "surrogatepass")
        try:
            _look_through(text)
        except _PerhapsMisspelt:  # somewhere; only now it pays to find out where
            _check_spelling(_read_unique(text))
    except RecursionError:
        raise BadFrame(INVALID_REQUEST, "nested too deep") from None
    except ValueError:
        raise BadFrame(PARSE_ERROR, "not valid JSON") from None


class _PerhapsMisspelt(Exception):
    """A name differs from one that is read here by its case."""


_harmless: set[str] = set()
"""Names that were looked at and are not misspelt, some of them: messages have few others."""
_MOST_HARMLESS: Final = 512


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise BadFrame(INVALID_REQUEST, f"the name {twice[:MAX_NAME]!a} stands twice in one object")
    return names


def _look_at(pairs: list[tuple[str, Any]]) -> None:
    names = _unique(pairs)
    if names.keys() <= _harmless:
        return
    for name in names:
        if len(name) <= _LONGEST_READ:
            if name not in _READ and name.casefold() in _READ:
                raise _PerhapsMisspelt
            if len(_harmless) < _MOST_HARMLESS:
                _harmless.add(name)


_look_through = json.JSONDecoder(object_pairs_hook=_look_at, parse_int=str, parse_float=str).decode
_read_unique = json.JSONDecoder(object_pairs_hook=_unique, parse_int=str, parse_float=str).decode


def _check_spelling(message: dict[str, Any]) -> None:
    params: Any = message.get("params") if message.get("method") in methods.ASKING else None
    judged = cast("dict[str, Any]", params) if isinstance(params, dict) else {}
    for names, read in ((message, _READ_OF_MESSAGE), (judged, _READ_OF_PARAMS)):
        for name in names:
            if name not in read and (meant := name.casefold()) in read:
                raise BadFrame(INVALID_REQUEST, f"the name {name!a} would be read as {meant!r} by some servers")


def id_key(raw_id: bytes) -> bytes:
    """The same key for every spelling of one id; different for `1`, `"1"` and `1.0`.

    A peer may write `"\\u00e9"` where the other wrote the letter itself.
    """
    if b"\\" not in raw_id and raw_id.isascii():
        return raw_id
    try:
        return json.dumps(json.loads(raw_id)).encode()
    except ValueError:  # not UTF-8: nobody spells it another way
        return raw_id


def answer(raw_id: bytes, result: bytes) -> bytes:
    """A response with this result, both already JSON."""
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (raw_id, result)


def error_answer(raw_id: bytes | None, code: int, message: str, data: dict[str, Any] | None = None) -> bytes:
    """An error response; `raw_id` None where the request's id could not be read."""
    error: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    text = json.dumps(error).encode()  # not msgspec's: a name that is repeated here may hold half of an emoji
    return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (raw_id or b"null", text)


def notification(method: str) -> bytes:
    """A notification without parameters."""
    return b'{"jsonrpc":"2.0","method":%b}' % msgspec.json.encode(method)
