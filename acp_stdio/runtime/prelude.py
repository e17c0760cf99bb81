"""Answers the host's first word before the house is built.

A start spends most of its time on imports. If the host's handshake waits on stdin already and
this command line's handshakes are remembered, it is answered with `os` and `json` alone.
"""

import json
import os
import select
import sys

MAX_FIRST_LINE = 1024 * 1024
_MCP = "io.modelcontextprotocol/"


class Prelude:
    """What was read from the host, and which frame of it has been answered."""

    def __init__(self) -> None:
        self.parent = os.getppid()
        """Who started us. Looked at before anything is imported: a host can die within that time."""
        self.leftover = b""
        self.answered: bytes | None = None


def play(stdin: int, stdout: int, handshakes: dict[str, str]) -> Prelude:
    """Reads what is there, answers a first `initialize` or `server/discover` that is remembered.

    Never waits for the host: whoever has not spoken yet is served by the event loop.
    """
    prelude = Prelude()
    if not handshakes or sys.platform == "win32" or not select.select([stdin], [], [], 0)[0]:
        return prelude
    data = os.read(stdin, MAX_FIRST_LINE)
    line, end, rest = data.partition(b"\n")
    answer = answer_to(line, handshakes) if end else None
    if answer is None:
        prelude.leftover = data
        if not data:
            prelude.leftover = b"\n"  # end of input: the loop reads it again
        return prelude
    text = answer + b"\n"
    while text:
        text = text[os.write(stdout, text) :]
    prelude.answered, prelude.leftover = line, rest
    return prelude


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _is_modern(meta: dict[str, object]) -> bool:
    """Whether nothing is wrong with the request; if something is, the relay knows what to say."""
    return meta[f"{_MCP}protocolVersion"] == "2026-07-28" and f"{_MCP}clientCapabilities" in meta


def answer_to(line: bytes, handshakes: dict[str, str]) -> bytes | None:
    """The remembered answer to this handshake; None where it is none, or not remembered."""
    try:
        frame = json.loads(line, parse_constant=_refuse)
        method, request_id = frame["method"], frame["id"]
        if method == "initialize":
            result = handshakes.get(f"initialize {frame['params']['protocolVersion']}")
        elif method == "server/discover" and _is_modern(frame["params"]["_meta"]):
            result = handshakes.get(method)
        else:
            return None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if result is None or result == "null" or not isinstance(request_id, int | str):
        return None
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (json.dumps(request_id).encode(), result.encode())
