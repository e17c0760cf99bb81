"""The session bus is found where a host has forgotten to say where it is, and only if it is ours."""

import os
import socket
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from acp_stdio.errors import Failure
from acp_stdio.vault import session_bus
from acp_stdio.vault.session_bus import ADDRESS, repair_address
from tests.kit.fake_bus import COLLECTION, FakeBus


@pytest.fixture
def runtime() -> Generator[Path]:
    """A short folder with a listening socket `bus`."""
    with tempfile.TemporaryDirectory(prefix="rt", dir="/tmp") as name, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{name}/bus")
        listener.listen()
        yield Path(name)


def repaired(environ: dict[str, str], run_user: Path) -> str | None:
    repair_address(environ, run_user)
    return environ.get(ADDRESS)


def test_a_missing_address_is_found_in_the_runtime_folder(runtime: Path, tmp_path: Path) -> None:
    assert repaired({"XDG_RUNTIME_DIR": str(runtime)}, tmp_path) == f"unix:path={runtime}/bus"


def test_a_host_that_passes_six_variables_is_enough(runtime: Path, tmp_path: Path) -> None:
    (tmp_path / str(os.getuid())).symlink_to(runtime)
    assert repaired({"HOME": "/"}, tmp_path) == f"unix:path={tmp_path}/{os.getuid()}/bus"


def test_an_address_that_is_there_is_left_alone(runtime: Path, tmp_path: Path) -> None:
    environ = {ADDRESS: "unix:path=/nowhere", "XDG_RUNTIME_DIR": str(runtime)}
    assert repaired(environ, tmp_path) == "unix:path=/nowhere"


def test_a_path_with_the_address_syntax_in_it_is_escaped(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="r,=;t", dir="/tmp") as name, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{name}/bus")
        address = repaired({"XDG_RUNTIME_DIR": name}, tmp_path)
    assert address is not None
    assert not set(",;") & set(address.removeprefix("unix:path="))


@pytest.mark.parametrize("kind", ["nothing", "file", "link", "another user's"])
def test_what_is_not_a_socket_of_ours_is_not_used(
    kind: str, runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "file":
        (tmp_path / "bus").touch()
    elif kind == "link":
        (tmp_path / "bus").symlink_to(runtime / "bus")
    elif kind == "another user's":
        owner = (runtime / "bus").stat().st_uid
        (tmp_path / "bus").hardlink_to(runtime / "bus")
        monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    assert repaired({"XDG_RUNTIME_DIR": str(tmp_path)}, tmp_path / "run") is None


@pytest.mark.parametrize("address", ["unix:path=/nowhere/bus", "tcp:host=localhost", "nonsense", "unix:path"])
def test_an_address_that_leads_nowhere_is_a_failure_with_the_ways_out(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ADDRESS, address)
    for may_prompt in (True, False):
        with pytest.raises(Failure) as caught:
            session_bus.look(may_prompt=may_prompt)
        assert caught.value.reason == "keyring_locked"
        assert '[storage] backend = "file"' in caught.value.advice


def test_no_address_and_no_bus_is_a_failure_with_the_ways_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(ADDRESS, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))

    def nothing_found(_environ: object) -> None:
        """This machine may have a bus at the usual place."""

    monkeypatch.setattr(session_bus, "repair_address", nothing_found)
    with pytest.raises(Failure, match="no D-Bus session") as caught:
        session_bus.look(may_prompt=False)
    assert '[storage] backend = "file"' in caught.value.advice


def test_a_bus_that_accepts_and_says_nothing_is_not_waited_for_longer_than_allowed(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_bus, "ANSWER_WITHIN", 0.2)
    monkeypatch.setenv(ADDRESS, f"unix:path={runtime}/bus")
    with pytest.raises(TimeoutError):
        session_bus.look(may_prompt=False)


@pytest.mark.parametrize("may_prompt", [True, False])
def test_a_collection_that_is_away_for_a_moment_is_looked_for_again(
    may_prompt: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = FakeBus("/", "/", COLLECTION)
    bus.install(monkeypatch)
    assert session_bus.look(may_prompt=may_prompt) == COLLECTION
    assert bus.asked == 3


def test_a_collection_that_stays_away_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    bus = FakeBus("/")
    bus.install(monkeypatch)
    with pytest.raises(Failure, match="no default collection yet"):
        session_bus.look(may_prompt=False)
    assert bus.asked > 1
    assert session_bus.look(may_prompt=True) == "", "the service may make one, and asks the person for a pass phrase"


def test_a_locked_collection_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bus = FakeBus(COLLECTION, locked=True)
    bus.install(monkeypatch)
    with pytest.raises(Failure, match="is locked"):
        session_bus.look(may_prompt=False)
    assert session_bus.look(may_prompt=True) == COLLECTION
    assert bus.asked == 2
