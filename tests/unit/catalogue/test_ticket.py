"""A start that is known is answered from memory; one that is not, is not."""

import json
from pathlib import Path

import pytest

from acp_stdio.catalogue import ticket
from acp_stdio.settings.paths import user_paths

RUN = ["run", "finance"]


@pytest.fixture
def known(tmp_path: Path) -> dict[str, str]:
    """An environment in which `run finance` has been started before."""
    environ = {"ACP_STDIO_HOME": str(tmp_path)}
    config = tmp_path / "config.toml"
    config.write_text("version = 1")
    remembered = tmp_path / "finance.handshakes.json"
    remembered.write_text(json.dumps({"server/discover": "{}"}))
    ticket.remember(RUN, environ, [str(config), str(tmp_path / "missing.toml")], str(remembered))
    return environ


def test_a_known_start_finds_its_handshakes(known: dict[str, str]) -> None:
    assert ticket.handshakes(RUN, known) == {"server/discover": "{}"}


@pytest.mark.parametrize("argv", [["run"], ["run", "other"], ["run", "finance", "--profile=b"]])
def test_another_command_line_is_another_start(known: dict[str, str], argv: list[str]) -> None:
    assert ticket.handshakes(argv, known) == {}


def test_another_environment_is_another_start(known: dict[str, str]) -> None:
    assert ticket.handshakes(RUN, {**known, "ACP_STDIO_PROFILE": "b"}) == {}


def test_a_changed_configuration_outdates_the_ticket(known: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("version = 1 # changed")
    assert ticket.handshakes(RUN, known) == {}


def test_a_configuration_that_appears_outdates_the_ticket(known: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "missing.toml").write_text("")
    assert ticket.handshakes(RUN, known) == {}


def test_a_logout_that_wiped_the_handshakes_leaves_a_ticket_to_nothing(known: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "finance.handshakes.json").unlink()
    assert ticket.handshakes(RUN, known) == {}


@pytest.mark.parametrize("content", ["", "[]", "{", '{"x":1}', "null"])
def test_a_damaged_file_only_costs_the_quick_start(known: dict[str, str], tmp_path: Path, content: str) -> None:
    (tmp_path / "cache" / "starts.json").write_text(content)
    assert ticket.handshakes(RUN, known) == {}
    ticket.remember(RUN, known, [], str(tmp_path / "finance.handshakes.json"))
    assert ticket.handshakes(RUN, known) == {"server/discover": "{}"}


@pytest.mark.parametrize(
    "environ",
    [
        {"HOME": "/home/sarah"},
        {"HOME": "/home/sarah", "XDG_CACHE_HOME": "/var/cache/sarah"},
        {"HOME": "/home/sarah", "XDG_CACHE_HOME": " "},
        {"HOME": "/home/sarah", "ACP_STDIO_HOME": "/tmp/x/../y"},
    ],
)
def test_the_quick_way_to_the_cache_is_the_same_as_the_usual_one(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOME", "XDG_CACHE_HOME", "ACP_STDIO_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert ticket.cache_root(environ) in {str(user_paths(environ).cache), str(user_paths(environ).cache.resolve())}


def test_only_the_latest_command_lines_are_kept(known: dict[str, str], tmp_path: Path) -> None:
    for number in range(100):
        ticket.remember(["run", str(number)], known, [], str(tmp_path / "finance.handshakes.json"))
    assert ticket.handshakes(["run", "99"], known) != {}
    assert len(json.loads((tmp_path / "cache" / "starts.json").read_text())) <= ticket.MAX_TICKETS + 1
