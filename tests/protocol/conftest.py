"""Who signs in where nothing but an MCP server's address is known."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from acp_stdio.settings.model import IdentitySettings, UpstreamSettings
from tests.kit import leaks
from tests.kit.discoverable import Discoverable
from tests.kit.person_by_address import Person


@pytest.fixture
def idp() -> Iterator[Discoverable]:
    with Discoverable() as running:
        yield running
        leaks.remember(*running.issued)


@pytest.fixture
def person(tmp_path: Path, idp: Discoverable) -> Person:
    return Person(tmp_path, IdentitySettings("", "", scopes=()), UpstreamSettings("finance", idp.url))
