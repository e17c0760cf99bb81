"""JSON-RPC batches belong to MCP 2025-03-26 and to no other revision."""

import pytest

from tests.kit.playbook import Playbook, hello, welcome


@pytest.mark.parametrize("version", ["2025-03-26", "2025-06-18", "2025-11-25", "2024-11-05"])
def test_a_session_has_batches_where_its_revision_has_them(version: str) -> None:
    book = Playbook()
    assert not book.relay.batches
    posted = book.call_of(book.host(id=0, method="initialize", params=hello(version)))
    book.upstream(posted, id=0, result=welcome(version))
    assert book.relay.batches == (version == "2025-03-26")


def test_the_modern_era_has_none() -> None:
    book = Playbook()
    book.modern_call(name="pay")
    assert not book.relay.batches
