"""A host's file is replaced in one step, backed up, and left alone where anything is odd."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acp_stdio.errors import Failure
from acp_stdio.hosts import edit, file
from acp_stdio.hosts.entry import Wanted
from acp_stdio.hosts.known import BY_NAME
from acp_stdio.hosts.plan import install, look, rivals, uninstall

DESKTOP = BY_NAME["claude-desktop"]
URL = "https://finance.example.com/mcp"
KEY = "a-key-that-nobody-may-see-0123456789"
FINANCE = Wanted(
    "finance", (URL,), "default", frozenset({"finance", URL, ""}), "/opt/bin/acp-stdio", ("run", "finance")
)
ENTRY = {"command": "/opt/bin/acp-stdio", "args": ["run", "finance"]}
POSIX = pytest.mark.skipif(os.name != "posix", reason="modes and links of POSIX")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "claude_desktop_config.json"


def _write(path: Path, value: Any) -> bytes:
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")
    return path.read_bytes()


def _install(path: Path, *replace: str, wanted: Wanted = FINANCE) -> Path | None:
    return install(look(DESKTOP, path), [wanted], replace).apply()


def _servers(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8-sig"))["mcpServers"])


def test_a_missing_file_is_made_for_this_user_alone(path: Path) -> None:
    inside = path.parent / "LocalCache" / "Claude" / path.name
    assert _install(inside) is None
    assert _servers(inside) == {"finance": ENTRY}
    if os.name == "posix":
        assert stat.S_IMODE(inside.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_no_obstacle(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    _install(path)
    assert _servers(path) == {"finance": ENTRY}


def test_install_backs_up_adds_and_the_second_time_does_nothing(path: Path) -> None:
    before = _write(path, {"theme": "dark", "mcpServers": {"files": {"command": "npx"}}, "z": 1})
    backup = _install(path)
    assert backup is not None
    assert backup.name.startswith(f"{path.name}.bak-")
    assert backup.read_bytes() == before
    assert list(json.loads(path.read_text())) == ["theme", "mcpServers", "z"]
    assert _servers(path) == {"files": {"command": "npx"}, "finance": ENTRY}
    after = path.stat()
    again = install(look(DESKTOP, path), [FINANCE], ())
    assert (again.changed, again.entries, again.diff()) == (False, {"finance": "already there"}, "")
    assert again.apply() is None
    assert path.stat() == after
    assert sorted(path.parent.iterdir()) == [path, backup]


def test_uninstall_gives_the_same_bytes_back(path: Path) -> None:
    before = _write(path, {"mcpServers": {"files": {"command": "npx", "args": []}}, "x": [1.5, 1e40]})
    _install(path)
    assert uninstall(look(DESKTOP, path)).apply() is not None
    assert path.read_bytes() == before
    assert uninstall(look(DESKTOP, path)).apply() is None


@given(
    whole=st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.text()), max_size=4),
    servers=st.dictionaries(
        st.text(), st.dictionaries(st.text(), st.text() | st.lists(st.text()), max_size=3), max_size=4
    ),
    indent=st.sampled_from([None, 2, "\t"]),
)
def test_install_then_uninstall_leaves_every_value_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, whole: dict[str, Any], servers: dict[str, Any], indent: Any
) -> None:
    path = tmp_path_factory.mktemp("host") / "config.json"
    servers.pop("finance", None)
    whole["mcpServers"] = servers
    path.write_text(json.dumps(whole, indent=indent), encoding="utf-8")
    _install(path)
    assert _servers(path) == {**servers, "finance": ENTRY}
    uninstall(look(DESKTOP, path)).apply()
    assert json.loads(path.read_text(encoding="utf-8")) == whole


def test_uninstall_removes_ours_under_any_name_and_nothing_else(path: Path) -> None:
    others = {"finance": {"command": "npx"}, "ctl": {"command": "/opt/bin/acp-stdio", "args": ["doctor"]}}
    _write(path, {"mcpServers": {"mine": ENTRY, **others, "acp": {"command": r"C:\x\acp-stdio.exe", "args": ["run"]}}})
    change = uninstall(look(DESKTOP, path))
    assert change.entries == {"mine": "removed", "acp": "removed"}
    change.apply()
    assert _servers(path) == others


def test_an_entry_of_ours_is_updated_and_what_the_person_added_stays(path: Path) -> None:
    old = {
        "command": "/old/acp-stdio",
        "args": ["run"],
        "env": {"MINE": "1", "ACP_STDIO_HOME": "/gone"},
        "disabled": True,
    }
    _write(path, {"mcpServers": {"money": old}})
    _install(path)
    assert _servers(path) == {"money": {**ENTRY, "env": {"MINE": "1"}, "disabled": True}}


def test_two_profiles_have_an_entry_each(path: Path) -> None:
    work = Wanted("finance-work", (URL,), "work", frozenset({"finance", URL}), "/opt/bin/acp-stdio",
                  ("run", "finance", "--profile", "work"), {"ACP_STDIO_HOME": "/srv"})  # fmt: skip
    _install(path)
    _install(path, wanted=work)
    _install(path)
    assert list(_servers(path)) == ["finance", "finance-work"]
    assert _servers(path)["finance-work"]["env"] == {"ACP_STDIO_HOME": "/srv"}


def test_a_typed_host_gets_the_type_and_its_own_section(path: Path) -> None:
    install(look(BY_NAME["vscode"], path), [FINANCE], ()).apply()
    assert json.loads(path.read_text()) == {"servers": {"finance": {"type": "stdio", **ENTRY}}}


def test_a_foreign_entry_of_our_name_is_never_overwritten_unasked(path: Path) -> None:
    foreign = {"command": "npx", "args": ["mcp-remote", URL, "--header", f"Authorization: Bearer {KEY}"]}
    before = _write(path, {"mcpServers": {"finance": foreign, "last": {}}})
    config = look(DESKTOP, path)
    (rival,) = rivals(config, [FINANCE])
    assert (rival.same_url, rival.same_name, rival.credential) == (True, True, "a header in its arguments")
    change = install(config, [FINANCE], ())
    assert (change.changed, change.entries) == (False, {})
    assert path.read_bytes() == before
    change = install(config, [FINANCE], {"finance"})
    assert change.entries == {"finance": "replaced"}
    assert KEY not in change.diff()
    change.apply()
    assert _servers(path) == {"finance": ENTRY, "last": {}}


def test_a_rival_makes_room_when_it_is_named(path: Path) -> None:
    _write(path, {"mcpServers": {"old": {"url": URL}, "keyed": {"env": {"TOKEN": KEY}}, "plain": {}}})
    found = rivals(look(DESKTOP, path), [FINANCE])
    assert [(r.name, r.same_url, r.credential) for r in found] == [
        ("old", True, ""),
        ("keyed", False, "the variable TOKEN"),
    ]
    change = install(look(DESKTOP, path), [FINANCE], {"old", "unknown"})
    assert change.entries == {"finance": "added", "old": "removed"}
    change.apply()
    assert list(_servers(path)) == ["keyed", "plain", "finance"]


def test_the_diff_shows_our_lines_and_of_others_only_names(path: Path) -> None:
    other = {"command": KEY, "args": [KEY], "env": {"TOKEN": KEY, "PORT": 8080808080}, KEY[:1]: {"deep": [KEY]}}
    path.write_text(json.dumps({"mcpServers": {"keyed": other}}, indent=2)[:-2] + f"\n  // {KEY}\n}}")
    change = install(look(DESKTOP, path), [FINANCE], {"keyed"})
    for shown in (change.diff(), install(look(DESKTOP, path), [FINANCE], ()).diff()):
        assert KEY not in shown
        assert "8080808080" not in shown
        assert '+      "command": "/opt/bin/acp-stdio"' in shown
    assert '-    "keyed": {' in change.diff()


def test_what_a_person_added_to_our_entry_is_not_shown_either(path: Path) -> None:
    old = {"command": "/old/acp-stdio", "args": ["run"], "env": {"MINE": KEY, "ACP_STDIO_HOME": "/gone"}, "note": KEY}
    _write(path, {"mcpServers": {"finance": old}})
    shown = install(look(DESKTOP, path), [FINANCE], ()).diff()
    assert KEY not in shown
    assert '-      "command": "/old/acp-stdio"' in shown
    assert '-        "ACP_STDIO_HOME": "/gone"' in shown


def test_replace_takes_no_other_entry_of_ours(path: Path) -> None:
    people = {"command": "/opt/bin/acp-stdio", "args": ["run", "people"]}
    _write(path, {"mcpServers": {"people": people}})
    _install(path, "people")
    assert _servers(path) == {"people": people, "finance": ENTRY}


def test_an_edit_that_would_touch_other_parts_is_never_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(path, {"theme": "dark"})
    config = look(DESKTOP, path)

    def broken(text: str, path: Any, value: Any) -> str:
        return text.replace("dark", "light")

    monkeypatch.setattr(edit, "put", broken)
    with pytest.raises(AssertionError, match="somebody else's part"):
        install(config, [FINANCE], ())


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b'{\n  "mcpServers": {\n    "a": 1\n    "b": 2\n  }\n}', 4),
        (b'{"mcpServers": {', 1),
        (b"[]", 1),
        (b'{\n"mcpServers": []}', 2),
        (b'{"mcpServers": {"a": {},\n"a": {}}}', 2),
        (b'{"mcpServers": {"a": {"command": "acp-stdio",\n"args": ["run"],\n"env": {},\n"env": {}}}}', 4),
        (b'{"mcpServers": {"a": {"command": "acp-stdio",\n"args": ["run"],\n"args": ["run"]}}}', 3),
        (b'{\n"a": "\xff\xfe"}', 2),
    ],
)
def test_a_garbled_file_is_left_as_it_is_and_its_line_is_named(path: Path, content: bytes, line: int) -> None:
    path.write_bytes(content)
    with pytest.raises(Failure) as caught:
        look(DESKTOP, path)
    assert f"{path}:{line}: " in caught.value.message
    assert caught.value.meaning.exit_code == 3
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_a_file_of_utf_16_is_not_guessed_at(path: Path) -> None:
    path.write_bytes("{}".encode("utf-16"))
    with pytest.raises(Failure, match="not UTF-8"):
        look(DESKTOP, path)


@pytest.mark.parametrize("late", [b'{"changed": 1}', None])
def test_a_change_by_another_program_is_noticed_and_kept(path: Path, late: bytes | None) -> None:
    _write(path, {"theme": "dark"})
    change = install(look(DESKTOP, path), [FINANCE], ())
    path.write_bytes(late) if late is not None else path.unlink()
    with pytest.raises(Failure, match=r"changed by another program|cannot be written"):
        change.apply()
    assert (path.read_bytes() if path.exists() else None) == late
    assert [each for each in path.parent.iterdir() if each != path] == []


def test_a_file_that_came_into_being_meanwhile_is_kept(path: Path) -> None:
    change = install(look(DESKTOP, path), [FINANCE], ())
    path.write_text("{}")
    with pytest.raises(Failure, match="changed by another program"):
        change.apply()
    assert path.read_text() == "{}"


@POSIX
def test_mode_and_owner_stay_and_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles" / "claude.json"
    real.parent.mkdir()
    _write(real, {})
    real.chmod(0o640)
    path.symlink_to(real)
    if os.getuid() == 0:
        os.chown(real, 12345, 12345)
    backup = _install(path)
    assert path.is_symlink()
    assert backup is not None
    for written in (real, backup):
        facts = written.stat()
        assert stat.S_IMODE(facts.st_mode) == 0o640
        assert os.getuid() != 0 or (facts.st_uid, facts.st_gid) == (12345, 12345)
    assert _servers(path) == {"finance": ENTRY}


@POSIX
def test_what_is_no_file_is_refused_without_waiting_for_it(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(Failure, match="is not a file"):
        look(DESKTOP, path)


@POSIX
def test_a_folder_that_cannot_be_written_is_said_and_nothing_is_left(path: Path) -> None:
    blocked = path.parent / "file" / path.name
    blocked.parent.write_text("in the way")
    with pytest.raises(Failure) as caught:
        file.replace(file.Snapshot(blocked, blocked, None), "{}")
    assert caught.value.meaning.exit_code == 3
    assert list(path.parent.iterdir()) == [blocked.parent]


def test_two_backups_within_one_second_are_two_files(path: Path) -> None:
    _write(path, {})
    kept = {_install(path), uninstall(look(DESKTOP, path)).apply(), _install(path)}
    assert len(kept) == 3
    assert all(each is not None and each.exists() for each in kept)
