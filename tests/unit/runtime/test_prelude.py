"""The host's first word, answered before anything is imported."""

import json
import os
from collections.abc import Generator

import pytest

from acp_stdio.runtime.prelude import answer_to, play

HELLO = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}}
KNOWN = {"initialize 2025-11-25": '{"n":1.0}', "server/discover": "null"}


class Pipes:
    """A host's two pipes."""

    def __init__(self) -> None:
        self.stdin, self.host_writes = os.pipe()
        self.host_reads, self.stdout = os.pipe()


@pytest.fixture
def pipes() -> Generator[Pipes]:
    pipes = Pipes()
    yield pipes
    for descriptor in (pipes.stdin, pipes.host_writes, pipes.host_reads, pipes.stdout):
        os.close(descriptor)


def line(frame: object) -> bytes:
    return json.dumps(frame).encode() + b"\n"


def test_a_remembered_handshake_is_answered_with_the_servers_own_bytes(pipes: Pipes) -> None:
    os.write(pipes.host_writes, line(HELLO))
    played = play(pipes.stdin, pipes.stdout, KNOWN)
    assert os.read(pipes.host_reads, 1000) == b'{"jsonrpc":"2.0","id":0,"result":{"n":1.0}}\n'
    assert played.answered == line(HELLO).strip()


def test_what_came_behind_it_is_kept(pipes: Pipes) -> None:
    behind = line({"jsonrpc": "2.0", "method": "notifications/initialized"}) + b'{"half'
    os.write(pipes.host_writes, line(HELLO) + behind)
    assert play(pipes.stdin, pipes.stdout, KNOWN).leftover == behind


@pytest.mark.parametrize(
    "frame",
    [
        {**HELLO, "params": {"protocolVersion": "2024-11-05"}},
        {**HELLO, "id": None},
        {**HELLO, "id": [1]},
        {**HELLO, "method": "server/discover"},
        {**HELLO, "method": "tools/list"},
        {"jsonrpc": "2.0", "method": "initialize", "params": {"protocolVersion": "2025-11-25"}},
        [HELLO],
        "text",
    ],
)
def test_whatever_else_comes_first_is_left_to_the_loop(pipes: Pipes, frame: object) -> None:
    os.write(pipes.host_writes, line(frame))
    played = play(pipes.stdin, pipes.stdout, KNOWN)
    assert (played.answered, played.leftover) == (None, line(frame))


def test_a_host_that_has_not_spoken_is_not_waited_for(pipes: Pipes) -> None:
    played = play(pipes.stdin, pipes.stdout, KNOWN)
    assert (played.answered, played.leftover) == (None, b"")


def test_half_a_line_is_kept(pipes: Pipes) -> None:
    os.write(pipes.host_writes, b'{"jsonrpc"')
    assert play(pipes.stdin, pipes.stdout, KNOWN).leftover == b'{"jsonrpc"'


def test_nothing_is_read_where_nothing_is_remembered(pipes: Pipes) -> None:
    os.write(pipes.host_writes, line(HELLO))
    assert play(pipes.stdin, pipes.stdout, {}).leftover == b""
    assert os.read(pipes.stdin, 1000) == line(HELLO)


@pytest.mark.parametrize("request_id", [0, 2**70, -1, "a", "é", ""])
def test_the_id_comes_back_as_it_was(request_id: object) -> None:
    answer = answer_to(line({**HELLO, "id": request_id}), KNOWN)
    assert answer is not None
    assert json.loads(answer)["id"] == request_id
