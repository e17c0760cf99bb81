"""A child server's life: what it is given, how it is told, and that nothing of it is left."""

import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from acp_stdio.upstream import child, child_process
from acp_stdio.upstream.channel import Channel, Reply
from acp_stdio.upstream.child import ChildConnector
from acp_stdio.upstream.child_process import environment
from acp_stdio.wire import frames
from acp_stdio.wire.backoff import LONGEST, delay
from tests.unit.upstream.loopback import PATIENCE, Answer
from tests.unit.upstream.test_transports import POST, call, frames_of, greet, over_pipes

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(os.name != "posix", reason="ends process groups by POSIX signals")]

MODERN = b"Mcp-Method: tools/call\r\n"


@asynccontextmanager
async def running(code: str, *, quiet: bool = False) -> AsyncGenerator[ChildConnector]:
    """A child of one Python program."""
    environ = environment(os.environ, {})
    connector = ChildConnector("finance", sys.executable, ("-ISc", code), environ, jitter=lambda: -0.99, quiet=quiet)
    try:
        yield connector
    finally:
        await connector.aclose()


def ask(connector: ChildConnector, body: bytes = b'{"jsonrpc":"2.0","id":1,"method":"x"}') -> Answer:
    answer = Answer()
    connector.request("POST", "/", POST + MODERN, body, answer, head_timeout=None)
    return answer


def lives(pid: int) -> bool:
    """Whether it runs; one that only waits to be reaped does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return Path("/proc").exists() is False
    except ProcessLookupError:
        return False


async def until_gone(pid: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while lives(pid):  # noqa: ASYNC110 - the end of somebody else's child sets no event
            await asyncio.sleep(0.005)


# -- what it is given --------------------------------------------------------------------------------


def test_a_child_gets_what_hosts_hand_on_and_what_the_configuration_adds_and_nothing_else() -> None:
    ours = {"HOME": "/h", "PATH": "/bin", "ACP_STDIO_HOME": "/x", "AWS_SECRET": "s", "SHELL": "() { :; }"}
    assert environment(ours, {"TZ": "UTC"}) == {"HOME": "/h", "PATH": "/bin", "TZ": "UTC"}


async def test_what_it_really_sees_is_only_that() -> None:
    answer = "json.dumps({'jsonrpc': '2.0', 'id': 1, 'result': sorted(os.environ)})"
    code = f"import json, os; input(); print({answer}, flush=True); input()"
    async with running(code) as connector:
        (frame,) = frames_of(await ask(connector).end())
    assert set(frame["result"]) <= {*child_process.HANDED_ON, "LC_CTYPE"}  # Python sets the last one itself


# -- messages ----------------------------------------------------------------------------------------


async def test_the_modern_era_needs_no_session_and_what_is_said_meanwhile_comes_with_the_request() -> None:
    async with over_pipes() as (near, far):
        asked = near.post(call(1), MODERN)
        request = await far.heard.get()
        await far.say({"method": "notifications/progress", "params": {"progress": 1}})
        await far.answer(request, "done")
        assert [frame.get("method", "answer") for frame in frames_of(await asked.end())] == [
            "notifications/progress",
            "answer",
        ]


async def test_closing_a_request_of_the_modern_era_tells_the_child() -> None:
    async with over_pipes() as (near, far):
        near.post(call(1), MODERN)
        await far.heard.get()
        near.last.abort()
        told = await far.heard.get()
        assert (told["method"], told["params"]) == ("notifications/cancelled", {"requestId": 1})


async def test_in_a_legacy_session_only_the_host_says_what_is_cancelled() -> None:
    async with over_pipes() as (near, far):
        await greet(near, far)
        near.post(call(1))
        await far.heard.get()
        near.last.abort()
        near.post(call(2))
        assert (await far.heard.get())["id"] == 2


async def test_a_server_that_is_silent_to_discover_counts_as_legacy_and_takes_an_initialize(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(child, "DISCOVER_WAIT", 0.05)
    async with over_pipes() as (near, far):
        silent = await near.post(call(1, "server/discover"), MODERN).end()
        assert silent.status == 405
        assert (await far.heard.get())["method"] == "server/discover"
        await greet(near, far)
        assert far.begun == 1, "the same child"


async def test_whoever_was_answered_without_the_server_hears_nothing_more_and_frees_its_id() -> None:
    channel, request = Channel(), frames.parse(json.dumps(call(1, "server/discover")).encode())
    silent, next_one, stream = Reply(Answer(), request), Reply(Answer(), request), Answer()
    assert channel.expect(silent)
    silent.end(405)
    channel.receive(b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}')
    channel.listen(Reply(stream))
    assert frames_of(stream)[0]["method"] == "notifications/tools/list_changed"
    assert channel.expect(next_one)


async def test_the_wait_before_another_start_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    def an_hour(failures: int, jitter: float) -> float:
        return 3600.0

    monkeypatch.setattr(child, "DISCOVER_WAIT", 0.0)
    monkeypatch.setattr(child, "delay", an_hour)
    async with running("import os; os._exit(7)") as connector:
        await ask(connector).failure()
        asked = ask(connector, b'{"jsonrpc":"2.0","id":1,"method":"server/discover"}')
        for _ in range(3):  # turns of the loop, in which a wait of 0 s would be over
            await asyncio.sleep(0)
        assert not asked.over


async def test_a_message_with_a_carriage_return_between_its_words_is_one() -> None:
    async with over_pipes() as (near, far):
        asked = near.post(call(1), MODERN)
        await far.heard.get()
        await far.raw(b'{"jsonrpc":"2.0",\r"method":"notifications/message"}\n{"jsonrpc":"2.0","id":1,\r"result":1}\n')
        assert [frame.get("result") for frame in frames_of(await asked.end())] == [None, 1]


@pytest.mark.parametrize(("version", "split"), [("2025-03-26", True), ("2025-06-18", False), ("2024-11-05", False)])
async def test_a_servers_batch_is_split_in_the_one_revision_that_has_them(version: str, split: bool) -> None:
    async with over_pipes() as (near, far):
        await greet(near, far, version)
        one, two = near.post(call(1)), near.post(call(2))
        await far.heard.get()
        await far.heard.get()
        await far.raw(b'[{"jsonrpc":"2.0","id":1,"result":"a"},{"jsonrpc":"2.0","id":2,"result":"b"}]\n')
        await far.raw(b'{"jsonrpc":"2.0","id":1,"result":"c"}\n{"jsonrpc":"2.0","id":2,"result":"d"}\n')
        found = [frames_of(await asked.end())[-1]["result"] for asked in (one, two)]
        assert found == (["a", "b"] if split else ["c", "d"])


async def test_what_is_no_message_disturbs_nothing() -> None:
    async with over_pipes() as (near, far):
        await greet(near, far)
        stream, waiting = near.stream(), near.post(call(1))
        request = await far.heard.get()
        await far.raw(b"DEBUG listening on 8080\n\n\xff\xfe\n[]\n")
        await far.answer(request, "done")
        assert frames_of(await waiting.end())[-1]["result"] == "done"
        assert not stream.over


# -- its end -----------------------------------------------------------------------------------------


async def test_a_program_that_is_not_there_is_said_so_and_nothing_was_sent() -> None:
    connector = ChildConnector("finance", "/no/such/program", (), {}, jitter=lambda: 0.0)
    sent, why = await ask(connector).failure()
    await connector.aclose()
    assert (sent, why) == (False, "its command /no/such/program could not be started: No such file or directory")


async def test_a_call_that_was_on_its_way_when_the_child_crashed_may_have_been_carried_out() -> None:
    async with running("input(); import os; os._exit(7)") as connector:
        sent, why = await ask(connector).failure()
    assert sent
    assert "exited with 7" in why


@pytest.mark.parametrize(
    ("failures", "jitter", "seconds"), [(0, 0.0, 1.0), (1, 0.0, 2.0), (1, 0.5, 3.0), (50, 1.0, 2 * LONGEST)]
)
def test_each_attempt_after_a_failure_waits_longer_up_to_a_bound_and_not_all_alike(
    failures: int, jitter: float, seconds: float
) -> None:
    assert delay(failures, jitter) == seconds


async def test_a_child_that_crashes_is_started_again_later_and_later(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[int] = []

    def note(failures: int, jitter: float) -> float:
        waits.append(failures)
        return 0.0

    monkeypatch.setattr(child, "delay", note)
    async with running("input(); import os; os._exit(7)") as connector:
        for _ in range(3):
            await ask(connector).failure()
    assert waits == [0, 1], "the first one starts at once"


TREE = """
import os, signal, subprocess, sys
{first}
other = subprocess.Popen([sys.executable, "-ISc", {other!r}])
input()
print('{{"jsonrpc":"2.0","id":1,"result":[%d,%d]}}' % (os.getpid(), other.pid), flush=True)
{last}
"""
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pthread_sigmask(0, []); signal.pause()"


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("", "sys.stdin.read()"),
        ("signal.signal(signal.SIGTERM, signal.SIG_IGN)", "while True: signal.pause()"),
        ("", "os._exit(0)"),
    ],
    ids=["ends with its input", "ignores everything", "exits and leaves another behind"],
)
async def test_nothing_of_its_tree_is_left(first: str, last: str) -> None:
    async with running(TREE.format(first=first, last=last, other=STUBBORN)) as connector:
        (frame,) = frames_of(await ask(connector).end())
    for pid in frame["result"]:
        await until_gone(pid)


async def test_closing_while_it_is_being_started_leaves_nothing_either() -> None:
    async with running("input()") as connector:
        answer = ask(connector)
        await asyncio.sleep(0)
    sent, why = await answer.failure()
    assert not sent
    assert why


# -- its words ---------------------------------------------------------------------------------------


WORDY = """
import sys
for n in range(1000):
    print("word %d \\x1b[31m" % n, file=sys.stderr)
print("x" * 100000, file=sys.stderr, flush=True)
input()
print('{"jsonrpc":"2.0","id":1,"result":{}}', flush=True)
input()
"""


@pytest.mark.parametrize("quiet", [False, True])
async def test_its_stderr_is_drained_and_a_bounded_part_of_it_is_in_our_log(
    quiet: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "acp_stdio")
    async with running(WORDY, quiet=quiet) as connector:
        await ask(connector).end()
    lines = [record.message for record in caplog.records if "says:" in record.message]
    assert len(lines) == (0 if quiet else child_process.MAX_WORDY)
    assert not any("\x1b" in line for line in lines)
