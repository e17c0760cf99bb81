"""The session that all processes share."""

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from acp_stdio.errors import Failure
from acp_stdio.identity.model import Account, Session
from acp_stdio.tokens import session_file
from acp_stdio.tokens.session_file import SessionFile, decode, encode

SARAH = Account("sub-1", "sarah@example.com", "sub-1", "https://idp.example.com", "sarah@example.com", "tenant-1")
SESSION = Session(
    generation=3,
    signed_in=True,
    account=SARAH,
    issuer="https://idp.example.com",
    client_id="acp-stdio",
    storage="file",
    scopes=("openid", "offline_access"),
    resources={"finance": "https://finance.example.com/mcp"},
    obtained_at=1000.25,
    confirmed_at=1100.5,
    in_flight_since=1200.125,
    access_ttl=300.0,
    ended_at=0.0,
    ended_because="",
)
TOMBSTONE = Session(generation=4, signed_in=False, account=None, ended_at=2000.0, ended_because="logout")


@pytest.mark.parametrize("session", [SESSION, TOMBSTONE])
def test_what_is_written_is_what_is_read(tmp_path: Path, session: Session) -> None:
    file = SessionFile(tmp_path / "state")
    file.write(session)
    assert file.read() == session
    assert file.current() == session


def test_who_never_signed_in_has_no_session(tmp_path: Path) -> None:
    assert SessionFile(tmp_path).read() is None
    assert SessionFile(tmp_path).current() is None


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    file = SessionFile(tmp_path / "state")
    file.write(SESSION)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b"\xff\xfe",
        encode(SESSION)[:-20],
        encode(SESSION).replace(b'"version": 1', b'"version": 2'),
        encode(SESSION).replace(b'"generation": 3', b'"generation": null'),
        encode(SESSION).replace(b'"resources": {', b'"resources": 7, "x": {'),
    ],
)
def test_a_damaged_file_is_named_and_not_taken_for_signed_out(tmp_path: Path, content: bytes) -> None:
    file = SessionFile(tmp_path)
    file.path.write_bytes(content)
    for look in (file.read, file.current):
        with pytest.raises(Failure) as caught:
            look()
        assert caught.value.reason == "configuration_invalid"
        assert str(file.path) in caught.value.message


def test_a_directory_in_its_place_is_a_failure_with_words(tmp_path: Path) -> None:
    file = SessionFile(tmp_path)
    file.path.mkdir()
    with pytest.raises(Failure, match=r"session\.json"):
        file.current()


def test_an_unchanged_file_costs_one_stat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = SessionFile(tmp_path)
    file.write(SESSION)
    first = file.current()

    def no_read(_content: bytes) -> Session:
        raise AssertionError("the file was read again")

    monkeypatch.setattr(session_file, "decode", no_read)
    assert file.current() is first


def test_another_process_writing_is_seen_at_the_next_look(tmp_path: Path) -> None:
    mine, theirs = SessionFile(tmp_path), SessionFile(tmp_path)
    theirs.write(SESSION)
    assert mine.current() == SESSION
    theirs.write(TOMBSTONE)
    assert mine.current() == TOMBSTONE
    theirs.path.unlink()
    assert mine.current() is None
    theirs.write(SESSION)
    assert mine.current() == SESSION


def test_a_writer_killed_half_way_leaves_the_old_session(tmp_path: Path) -> None:
    file = SessionFile(tmp_path)
    file.write(SESSION)
    (tmp_path / "session.tmp").write_bytes(encode(TOMBSTONE)[:40])
    assert file.read() == SESSION
    file.write(TOMBSTONE)
    assert file.read() == TOMBSTONE
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["session.json"]


def test_a_failed_change_changes_nothing(tmp_path: Path) -> None:
    file = SessionFile(tmp_path)
    file.write(SESSION)

    def refuse(_session: Session | None) -> Session:
        raise Failure("login_required", "signed out meanwhile")

    with pytest.raises(Failure):
        file.update(refuse)
    assert file.read() == SESSION
    assert file.update(lambda old: replace(old or TOMBSTONE, generation=9)).generation == 9
    assert file.read() == replace(SESSION, generation=9)


def test_an_announced_session_counts_once_it_is_promoted(tmp_path: Path) -> None:
    file = SessionFile(tmp_path)
    file.write(SESSION)
    file.write_next(replace(SESSION, generation=5))
    assert file.current() == SESSION
    file.promote()
    assert file.current() == replace(SESSION, generation=5)
    assert file.read_next() is None


def test_a_file_of_a_newer_minor_version_is_understood() -> None:
    assert decode(encode(SESSION).replace(b'"storage"', b'"later": [1], "storage"')) == SESSION
