"""What a server says while nobody listens is kept, within bounds."""

import json

import pytest

from acp_stdio.upstream.channel import MAX_UNHEARD, MAX_UNHEARD_BYTES, Channel, Reply
from tests.unit.upstream.loopback import Answer

pytestmark = pytest.mark.anyio


def said(number: int, size: int = 0) -> bytes:
    frame = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"number": number, "data": "x" * size}}
    return json.dumps(frame).encode()


def heard(channel: Channel) -> list[int]:
    """What somebody hears who begins to listen now, by number."""
    listener = Answer()
    channel.listen(Reply(listener))
    events = [line.removeprefix(b"data: ") for line in listener.body.split(b"\n") if line]
    return [json.loads(event)["params"]["number"] for event in events]


async def test_the_newest_are_kept() -> None:
    channel = Channel()
    for number in range(MAX_UNHEARD + 3):
        channel.receive(said(number))
    assert heard(channel) == list(range(3, MAX_UNHEARD + 3))


async def test_large_ones_are_kept_in_smaller_numbers() -> None:
    channel = Channel()
    for number in range(6):
        channel.receive(said(number, MAX_UNHEARD_BYTES // 4))
    assert heard(channel) == [3, 4, 5]


async def test_what_is_too_large_by_itself_is_not_kept_and_what_follows_is() -> None:
    channel = Channel()
    for number, size in enumerate((1, MAX_UNHEARD_BYTES, 1)):
        channel.receive(said(number, size))
    assert heard(channel) == [2]


async def test_what_was_heard_makes_room() -> None:
    channel = Channel()
    for _ in range(3):
        for number in range(3):
            channel.receive(said(number, MAX_UNHEARD_BYTES // 4))
        assert heard(channel) == [0, 1, 2]
        channel.close("the end")
