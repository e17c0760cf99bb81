"""The shell, the calls and the keeper together, with the two ends of the wire in the test's hands."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from acp_stdio.audit.chain import Head
from acp_stdio.errors import Failure
from acp_stdio.runtime import records
from tests.kit.host import reason_of, text_of
from tests.protocol.stage import CLAIMS, Stage, read_trail

pytestmark = pytest.mark.skipif(os.name != "posix", reason="watches POSIX pipes on the event loop")


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(tmp_path, monkeypatch)


def play(stage: Stage, act: Callable[[], Awaitable[None]]) -> None:
    async def on_stage() -> None:
        async with stage.running():
            await act()

    anyio.run(on_stage)


def test_the_intent_is_on_disk_before_the_request_leaves_and_travels_with_it(stage: Stage) -> None:
    async def act() -> None:
        stage.call()
        stage.give(stage.token())
        await stage.until(lambda: stage.connector.sent)
        (sent,) = stage.connector.sent
        assert sent.intents == [sent.headers["X-Request-Id"]]
        assert sent.headers["User-Agent"].endswith("(claude-code/3)")
        assert sent.headers["Authorization"] == "Bearer token-1"
        sent.answer("42")
        assert text_of(await stage.read()) == "42"
        assert stage.records() == [("call.intent", ""), ("call.outcome", "ok")]

    play(stage, act)


def test_calls_that_come_together_share_one_write_and_each_has_its_intent_on_disk_when_it_leaves(stage: Stage) -> None:
    written: list[int] = []
    write = stage.trail.append_all

    def counted(records: list[dict[str, Any]]) -> list[Head]:
        written.append(len(records))
        return write(records)

    stage.trail.append_all = counted  # type: ignore[method-assign]

    async def act() -> None:
        stage.call()
        stage.give(stage.token())
        await stage.until(lambda: stage.connector.sent)
        written.clear()
        ids = stage.calls_at_once(5)
        await stage.until(lambda: len(stage.connector.sent) == 6)
        assert written == [5]
        assert all(sent.headers["X-Request-Id"] in sent.intents for sent in stage.connector.sent)
        for sent in stage.connector.sent[1:]:
            sent.answer()
        assert [(await stage.read())["id"] for _ in ids] == ids
        assert written == [5, 5]

    play(stage, act)
    assert stage.records().count(("call.outcome", "ok")) == 5


def test_a_call_that_is_cancelled_before_its_turn_is_over_never_leaves(stage: Stage) -> None:
    async def act() -> None:
        stage.call("first")
        stage.give(stage.token())
        await stage.until(lambda: stage.connector.sent)
        first, second = stage.calls_at_once(2, cancelled=1)
        await stage.until(lambda: len(stage.connector.sent) == 2)
        assert json.loads(stage.connector.sent[1].body)["id"] == second, first

    play(stage, act)
    assert ("call.denied", "cancelled") in stage.records()


def test_what_is_wrong_with_one_call_keeps_none_of_the_others_of_its_turn(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, made, reported = records.intent, 0, list[object]()

    def fail_once(*parts: Any) -> records.Intent:
        nonlocal made
        made += 1
        if made == 2:
            raise TypeError
        return make(*parts)

    async def act() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, about: reported.append(about["exception"]))
        stage.give(stage.token())
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()  # the token is there: the calls need not wait for it
        first, _, third = stage.calls_at_once(3)
        await stage.until(lambda: len(stage.connector.sent) == 2)
        assert [json.loads(sent.body)["id"] for sent in stage.connector.sent] == [first, third]

    monkeypatch.setattr(records, "intent", fail_once)
    play(stage, act)
    assert [type(each) for each in reported] == [TypeError]
    outcomes = [("call.outcome", "cancelled"), ("call.denied", "cancelled"), ("call.outcome", "cancelled")]
    assert stage.records() == [("call.intent", "")] * 2 + outcomes


def test_a_trail_that_cannot_be_written_keeps_the_call_here(stage: Stage) -> None:
    stage.trail_dir.write_text("a file where the folder should be")

    async def act() -> None:
        stage.call()
        stage.give(stage.token())
        refused = await stage.read()
        assert reason_of(refused) == "audit_unavailable"
        assert text_of(refused).startswith("Nothing was sent. The audit trail in")
        assert stage.connector.sent == []
        stage.trail_dir.unlink()
        stage.call()
        await stage.until(lambda: stage.connector.sent)

    play(stage, act)
    assert stage.records() == [("call.intent", ""), ("call.outcome", "cancelled")]


@pytest.mark.parametrize("changes", [{"origin": "https://evil.example.com:443"}, {"upstream": "other"}])
def test_a_token_of_another_origin_or_upstream_goes_nowhere(stage: Stage, changes: dict[str, Any]) -> None:
    async def act() -> None:
        stage.call()
        stage.give(stage.token(**changes))
        refused = await stage.read()
        assert reason_of(refused) == "wrong_audience"
        assert text_of(refused).startswith("Nothing was sent.")

    play(stage, act)
    assert stage.connector.sent == []
    assert stage.records() == [("call.intent", ""), ("call.outcome", "denied")]


def test_a_token_of_an_earlier_login_is_thrown_away_and_another_is_fetched(stage: Stage) -> None:
    async def act() -> None:
        stage.give(stage.token(generation=0))
        await anyio.lowlevel.checkpoint()
        stage.call()
        await stage.until(lambda: len(stage.helpers) == 2)
        assert stage.connector.sent == []
        stage.give(stage.token())
        await stage.until(lambda: stage.connector.sent)

    play(stage, act)
    assert [sent.headers["Authorization"] for sent in stage.connector.sent] == ["Bearer token-2"]


def test_a_call_that_waited_over_another_login_is_refused_and_its_intent_names_nobody_wrong(stage: Stage) -> None:
    async def act() -> None:
        stage.call()
        stage.write(b"garbage")
        assert (await stage.read())["error"]["code"] == -32700  # so the call before it waits for its token now
        stage.session_file.write(replace(stage.session, generation=2, account=None))
        stage.give(stage.token())
        answer = await stage.read()
        assert "Ask again." in answer["result"]["content"][0]["text"]

    play(stage, act)
    assert stage.connector.sent == []
    assert ("call.intent", "") not in stage.records()


@pytest.mark.parametrize("count", [1, 3])
def test_a_logout_that_comes_between_the_intent_and_the_request_wins(stage: Stage, count: int) -> None:
    write = stage.trail.append_all

    def write_and_sign_out(records: list[dict[str, Any]]) -> list[Head]:
        heads = write(records)
        stage.sign_out()
        return heads

    stage.trail.append_all = write_and_sign_out  # type: ignore[method-assign]  # the one moment that no pipe can hit

    async def act() -> None:
        stage.give(stage.token())
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()  # the token is there: the calls need not wait for it
        stage.calls_at_once(count)
        for _ in range(count):
            refused = await stage.read()
            assert text_of(refused).startswith("Nothing was sent. You signed out.")

    play(stage, act)
    assert stage.connector.sent == []
    assert stage.records() == [("call.intent", "")] * count + [("call.outcome", "denied")] * count


def test_a_call_that_is_cancelled_while_it_waits_for_a_token_never_leaves(stage: Stage) -> None:
    async def act() -> None:
        stage.cancel(stage.call("first"))
        kept = stage.call("second")
        await stage.until(lambda: stage.records() == [("call.denied", "cancelled")])
        stage.give(stage.token())
        await stage.until(lambda: stage.connector.sent)
        (sent,) = stage.connector.sent
        assert sent.headers["Mcp-Name"] == "second"
        sent.answer()
        assert (await stage.read())["id"] == kept

    play(stage, act)


def test_a_call_that_is_cancelled_on_its_way_is_closed_and_its_late_answer_is_dropped(stage: Stage) -> None:
    async def act() -> None:
        stage.give(stage.token())
        request = stage.call("first")
        await stage.until(lambda: stage.connector.sent)
        (first,) = stage.connector.sent
        stage.cancel(request)
        await stage.until(lambda: first.aborted)
        second = stage.call("second")
        await stage.until(lambda: len(stage.connector.sent) == 2)
        stage.connector.sent[1].answer()
        assert (await stage.read())["id"] == second

    play(stage, act)
    assert ("call.outcome", "cancelled") in stage.records()


def test_many_calls_that_wait_share_one_helper(stage: Stage) -> None:
    async def act() -> None:
        ids = [stage.call() for _ in range(20)]
        await stage.until(lambda: stage.connector.sent or len(stage.helpers) == 1)
        stage.give(stage.token())
        await stage.until(lambda: len(stage.connector.sent) == 20)
        for sent in stage.connector.sent:
            sent.answer()
        assert [(await stage.read())["id"] for _ in ids] == ids

    play(stage, act)
    assert len(stage.helpers) == 1


def test_a_401_asks_for_a_newer_token_and_the_call_goes_again_once_and_the_trail_names_both(stage: Stage) -> None:
    async def act() -> None:
        stage.give(stage.token())
        stage.call()
        await stage.until(lambda: stage.connector.sent)
        stage.connector.sent[0].refuse()
        await stage.until(lambda: len(stage.helpers) == 2)
        assert stage.helpers[1].request is not None
        assert stage.helpers[1].request.rejected
        stage.give(stage.token(claims={**CLAIMS, "jti": "J2"}))
        await stage.until(lambda: len(stage.connector.sent) == 2)
        first, second = stage.connector.sent
        assert (first.headers["Authorization"], second.headers["Authorization"]) == ("Bearer token-1", "Bearer token-2")
        assert first.headers["X-Request-Id"] == second.headers["X-Request-Id"]
        second.refuse()
        assert text_of(await stage.read()).startswith("Nothing was carried out.")

    play(stage, act)
    assert len(stage.helpers) == 2
    assert stage.records() == [("call.intent", ""), ("call.outcome", "denied")]
    assert [record["token"]["jti"] for record in read_trail(stage.trail_dir)] == ["J1", "J2"]


def test_a_401_without_a_newer_token_says_that_the_call_was_sent_and_not_carried_out(stage: Stage) -> None:
    async def act() -> None:
        stage.give(stage.token())
        stage.call()
        await stage.until(lambda: stage.connector.sent)
        stage.connector.sent[0].refuse()
        await stage.until(lambda: len(stage.helpers) == 2)
        stage.give(Failure("idp_unreachable", "idp.example.com could not be reached.", "Try again."))
        assert text_of(await stage.read()).startswith("Nothing was carried out. idp.example.com could not be reached.")
        stage.call()
        assert text_of(await stage.read()).startswith("Nothing was sent. idp.example.com"), "the next one stays here"

    play(stage, act)
    assert len(stage.connector.sent) == 1


def test_a_refresh_that_failed_answers_who_comes_right_after_without_another_attempt(stage: Stage) -> None:
    async def act() -> None:
        stage.call()
        stage.give(Failure("idp_unreachable", "The provider is away.", "Try again."))
        assert reason_of(await stage.read()) == "idp_unreachable"
        stage.call()
        assert reason_of(await stage.read()) == "idp_unreachable"

    play(stage, act)
    assert (len(stage.helpers), stage.connector.sent) == (1, [])


def test_a_host_that_does_not_read_is_not_read_from_and_nothing_is_lost(stage: Stage) -> None:
    blob = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"%b"}}' % (b"x" * (1 << 20))
    count = 24

    async def act() -> None:
        stage.give(stage.token())
        stage.call("flood")
        await stage.until(lambda: stage.connector.sent)
        (flood,) = stage.connector.sent
        flood.receiver.on_head(200, {"content-type": "text/event-stream"})
        for _ in range(count):
            flood.receiver.on_data(b"data: " + blob + b"\n\n")
        stage.call("later")
        for _ in range(100):
            await anyio.lowlevel.checkpoint()
        assert len(stage.connector.sent) == 1, "its requests wait as long as it does not read"
        assert stage.connector.held, "and nothing more is read for it"
        read = [await stage.read() for _ in range(count)]
        assert [frame["method"] for frame in read] == ["notifications/message"] * count
        await stage.until(lambda: len(stage.connector.sent) == 2)
        assert not stage.connector.held
        stage.connector.sent[1].answer("read again")
        assert text_of(await stage.read()) == "read again"

    play(stage, act)


def test_garbage_is_answered_and_what_follows_is_served(stage: Stage) -> None:
    async def act() -> None:
        for line, code in ((b"{", -32700), (b"[]", -32600), (b"\xff\xfe", -32700), (b'{"id":1}', -32600)):
            stage.write(line)
            answer = await stage.read()
            assert (answer["id"], answer["error"]["code"]) == (None, code)
        stage.write(b"\r")
        stage.give(stage.token())
        stage.call()
        await stage.until(lambda: stage.connector.sent)

    play(stage, act)


def test_the_end_of_input_cancels_what_runs_and_says_so_in_the_trail(stage: Stage) -> None:
    async def act() -> None:
        stage.give(stage.token())
        stage.call()
        await stage.until(lambda: stage.connector.sent)
        stage.host_leaves()
        await stage.until(lambda: stage.ended_with)

    play(stage, act)
    assert stage.ended_with == "end of input"
    assert stage.connector.sent[0].aborted
    assert stage.records() == [("call.intent", ""), ("call.outcome", "cancelled")]


def test_a_helper_that_nobody_waits_for_is_told_when_the_host_leaves(stage: Stage) -> None:
    async def act() -> None:
        stage.call()
        await anyio.lowlevel.checkpoint()

    play(stage, act)
    assert [helper.left for helper in stage.helpers] == [True]
    assert stage.connector.sent == []


def test_a_logout_elsewhere_is_noticed_without_a_call(stage: Stage) -> None:
    async def act() -> None:
        stage.give(stage.token())
        stage.call()
        await stage.until(lambda: stage.connector.sent)
        stage.sign_out()
        refused = await stage.read()
        assert text_of(refused).startswith("This may have been carried out: check before repeating. You signed out.")
        assert stage.connector.sent[0].aborted

    play(stage, act)
    assert stage.records() == [("call.intent", ""), ("call.outcome", "cancelled")]
