"""A host whose pipes the loop cannot watch, as on Windows: two threads serve it, within the same bounds."""

import asyncio
import os
from collections.abc import Callable

import anyio
import pytest

from acp_stdio.downstream import stdio
from acp_stdio.downstream.stdio import HIGH_WATER, Host

pytestmark = pytest.mark.anyio

PATIENCE = 30.0


async def until(holds: Callable[[], object]) -> None:
    with anyio.fail_after(PATIENCE):
        while not holds():  # noqa: ASYNC110 - the threads of the host set no event
            await anyio.sleep(0.005)


async def test_a_host_that_does_not_read_is_not_read_from_and_nothing_is_read_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stdio, "_watchable", _no)
    stdin, host_out = os.pipe()
    host_in, stdout = os.pipe()
    lines: list[bytes | None] = []
    held: list[bool] = []
    ended: list[str] = []
    host = Host(stdin, stdout, lines.extend, ended.append)
    host.on_pressure = held.append
    host.start()
    frame = b"x" * (HIGH_WATER // 8)
    for _ in range(10):
        host.send(frame)
    assert held == [True]
    os.write(host_out, b"read already\n")  # the thread was waiting for it
    await until(lambda: lines)
    os.write(host_out, b"later\n")
    for _ in range(100):
        await asyncio.sleep(0)
    assert lines == [b"read already"]
    left = 10 * (len(frame) + 1)
    while left:
        left -= len(await anyio.to_thread.run_sync(os.read, host_in, left))
    await until(lambda: len(lines) == 2)
    assert held == [True, False]
    for descriptor in (host_out, host_in):
        os.close(descriptor)
    await until(lambda: ended == ["end of input"])
    host.send(b"nobody reads it, and the thread ends")


def _no(descriptor: int) -> bool:
    return False
