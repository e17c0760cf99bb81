"""The official conformance suite against `acp-stdio run`: `scripts/conformance` prints the same as a scorecard."""

from collections.abc import Generator

import pytest

from tests.conformance import client_leg, server_leg, suite
from tests.kit import leaks
from tests.kit.oidc_provider import OidcProvider

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def front() -> Generator[tuple[str, OidcProvider]]:
    with server_leg.signed_in_front() as front:
        yield front


@pytest.mark.parametrize("revision", suite.REVISIONS)
def test_whoever_speaks_to_a_server_through_us_finds_all_that_its_revision_requires(
    front: tuple[str, OidcProvider], revision: str
) -> None:
    url, provider = front
    verdicts = server_leg.verdicts(url, revision)
    leaks.remember(*provider.issued())
    assert suite.surprises(verdicts, suite.expected_failures("server", revision)) == []
    assert all(verdict.passed for verdict in verdicts.values() if verdict.required)


@pytest.mark.parametrize("revision", suite.REVISIONS)
def test_a_server_finds_in_us_the_client_that_its_revision_requires(revision: str) -> None:
    verdicts = client_leg.verdicts(revision)
    assert suite.surprises(verdicts, suite.expected_failures("client", revision)) == []
    assert all(verdict.passed for verdict in verdicts.values() if verdict.required)


@pytest.mark.parametrize("revision", suite.REVISIONS)
def test_a_server_with_the_authorization_of_2025_03_26_finds_in_us_its_client(revision: str) -> None:
    verdicts = client_leg.verdicts(revision, suite.backcompat())
    assert suite.surprises(verdicts, suite.expected_failures("backcompat", revision)) == []


@pytest.mark.parametrize("revision", suite.REVISIONS)
def test_a_host_finds_all_that_can_be_carried_at_a_server_of_the_other_era_alone(revision: str) -> None:
    verdicts = server_leg.crossed(revision)
    assert suite.surprises(verdicts, suite.expected_failures("crossed-server", revision)) == []


@pytest.mark.parametrize("revision", suite.REVISIONS)
def test_a_server_finds_all_that_can_be_carried_of_a_host_of_the_other_era_alone(revision: str) -> None:
    verdicts = client_leg.crossed(revision)
    assert suite.surprises(verdicts, suite.expected_failures("crossed-client", revision)) == []
