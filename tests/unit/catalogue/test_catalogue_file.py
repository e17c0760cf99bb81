"""The catalogue on disk: for this user alone, and worth nothing to anybody else."""

from pathlib import Path

import pytest

from acp_stdio.catalogue.file import CatalogueFile

CATALOGUE = {"initialize 2025-11-25": b'{"n":1.0}', "legacy tools/list ": '{"tools":["é"]}'.encode()}


@pytest.fixture
def file(tmp_path: Path) -> CatalogueFile:
    return CatalogueFile(tmp_path / "cache", "finance", "https://finance.example.com/mcp")


def test_what_was_saved_comes_back_byte_for_byte(file: CatalogueFile) -> None:
    file.save(dict(CATALOGUE))
    assert file.load() == CATALOGUE


def test_both_files_are_for_this_user_alone(file: CatalogueFile) -> None:
    file.save(dict(CATALOGUE))
    for path in (file.handshakes, file.lists):
        assert path.stat().st_mode & 0o777 == 0o600
    assert file.lists.parent.stat().st_mode & 0o777 == 0o700


def test_a_save_adds_to_what_another_era_left(file: CatalogueFile) -> None:
    file.save({"server/discover": b"null"})
    file.save(dict(CATALOGUE))
    assert file.load() == {"server/discover": b"null", **CATALOGUE}


def test_of_a_list_whose_cursors_are_new_each_time_the_latest_pages_are_kept(file: CatalogueFile) -> None:
    pages: dict[str, bytes] = {}
    for day in range(3):
        pages = {
            "legacy tools/list ": b'{"tools":[],"nextCursor":"a %d"}' % day,
            f"legacy tools/list a {day}": b'{"tools":[],"nextCursor":"b %d"}' % day,
            f"legacy tools/list b {day}": b'{"tools":[],"nextCursor":"a %d"}' % day,  # a server that goes in circles
        }
        file.save(pages)
    assert file.load() == pages


def test_an_upstream_that_moved_has_a_catalogue_of_its_own(file: CatalogueFile, tmp_path: Path) -> None:
    file.save(dict(CATALOGUE))
    assert CatalogueFile(tmp_path / "cache", "finance", "https://elsewhere.example.com/mcp").load() == {}


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"a":1}', b"\xff"])
def test_a_damaged_file_reads_as_nothing(file: CatalogueFile, content: bytes) -> None:
    file.save(dict(CATALOGUE))
    file.lists.write_bytes(content)
    assert file.load() == {k: v for k, v in CATALOGUE.items() if k.startswith("initialize")}


def test_a_cache_that_cannot_be_written_loses_nothing_but_the_quick_start(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("not a directory")
    CatalogueFile(tmp_path / "cache", "finance", "https://finance.example.com/mcp").save(dict(CATALOGUE))


def test_forgetting_removes_both(file: CatalogueFile) -> None:
    file.save(dict(CATALOGUE))
    file.forget()
    file.forget()
    assert file.load() == {}
