"""The administrator's word reaches a process that runs; a logout ends also the access token that it held."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from acp_stdio.identity.model import Held
from acp_stdio.runtime import helper_tools
from acp_stdio.settings import managed
from tests.kit.host import reason_of, text_of
from tests.protocol.stage import META, Stage

pytestmark = pytest.mark.skipif(os.name != "posix", reason="watches POSIX pipes on the event loop")


class Administrator:
    """Who may write the managed file."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def writes(self, content: str, mode: int = 0o644) -> None:
        self._place.write_text(content, encoding="utf-8")
        self._place.chmod(mode)
        os.utime(self._place, (1_700_000_000, 1_700_000_000))  # at rest, as any file a moment later


@pytest.fixture
def administrator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Administrator:
    place = tmp_path / "managed" / "config.toml"
    place.parent.mkdir()
    monkeypatch.setattr(managed, "PLACE", place)
    monkeypatch.setattr(managed, "ADMINISTRATOR", tmp_path.stat().st_uid)
    return Administrator(place)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(tmp_path, monkeypatch)


def play(stage: Stage, act: Callable[[], Awaitable[None]]) -> None:
    async def on_stage() -> None:
        async with stage.running():
            stage.give(stage.token())
            await act()

    anyio.run(on_stage)


def test_a_revoked_person_is_refused_from_the_next_call_on_until_the_word_is_taken_back(
    stage: Stage, administrator: Administrator
) -> None:
    async def act() -> None:
        stage.call()
        await stage.until(lambda: len(stage.connector.sent) == 1)

        administrator.writes('revoked = ["bob", "alice"]\n')
        stage.call()
        refused = await stage.read()
        assert reason_of(refused) == "denied"
        assert text_of(refused).startswith(
            "Nothing was sent. Your administrator has withdrawn your access on this computer."
        )
        assert len(stage.connector.sent) == 1

        administrator.writes('revoked = ["bob"]\n')
        stage.call()
        await stage.until(lambda: len(stage.helpers) == 2)
        stage.give(stage.token())
        await stage.until(lambda: len(stage.connector.sent) == 2)

    play(stage, act)


def test_our_own_tools_tell_a_revoked_person_who_signed_them_out_and_open_no_page(
    stage: Stage, administrator: Administrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(helper_tools, "LoginProcess", None)  # it is not to be started

    async def tool(name: str) -> str:
        stage.write({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "_meta": META}})
        return text_of(await stage.read())

    async def act() -> None:
        assert (await tool("acp_status")).startswith("Signed in as alice@example.com")
        administrator.writes('revoked = ["alice"]\n')
        assert (await tool("acp_status")).startswith("Your administrator signed you out: ")
        assert (await tool("acp_login")).startswith("Your administrator has withdrawn your access on this computer.")

    play(stage, act)


def test_a_revoked_persons_sign_in_that_only_this_process_holds_ends_for_good(
    stage: Stage, administrator: Administrator
) -> None:
    stage.sign_out()

    async def act() -> None:
        stage.holding.hold(Held(stage.session, {"finance": stage.token()}), stage.holding.shared_generation())
        stage.call()
        await stage.until(lambda: len(stage.connector.sent) == 1)
        stage.connector.sent[0].answer("42")
        assert text_of(await stage.read()) == "42"
        administrator.writes('revoked = ["alice"]\n')
        stage.call()
        assert reason_of(await stage.read()) == "denied"
        assert [list(each.tokens) for each in stage.given_back] == [["finance"]]

        administrator.writes("")
        stage.call()
        refused = await stage.read()
        assert text_of(refused).startswith("Nothing was sent. Your administrator signed you out: ")
        assert len(stage.connector.sent) == 1

    play(stage, act)


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        ('revoked = ["bob"]', 0o666, "may be written by others than its owner"),
        ("revoked = [", 0o644, "is not valid TOML"),
        ("revoked = 1", 0o644, "revoked is not a list"),
    ],
)
def test_nothing_leaves_while_nobody_can_tell_whom_the_administrator_revoked(
    content: str, mode: int, why: str, stage: Stage, administrator: Administrator
) -> None:
    async def act() -> None:
        administrator.writes(content, mode)
        stage.call()
        refused = await stage.read()
        assert text_of(refused).startswith("Nothing was sent.")
        assert why in text_of(refused)
        assert stage.connector.sent == []

    play(stage, act)


def test_a_logout_has_the_access_token_of_a_running_process_ended_too(
    stage: Stage, administrator: Administrator
) -> None:
    async def act() -> None:
        stage.sign_out()
        await stage.until(lambda: len(stage.helpers) == 2)  # it looks around by itself
        asked = stage.helpers[-1].request
        assert asked is not None
        assert asked.revoke is not None
        assert asked.revoke.reveal() == "token-1"
        stage.call()
        assert reason_of(await stage.read()) == "login_required"
        assert len(stage.helpers) == 2, "once"

    play(stage, act)
