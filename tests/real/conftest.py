"""The usual cast: one provider and one server a module, and a person's new machine a test, nobody signed in.

A module with another cast defines its own fixtures of these names.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.oidc_provider import OidcProvider, oidc_provider
from tests.kit.scene import Scene
from tests.kit.sdk_upstream import SdkUpstream, sdk_upstream


@pytest.fixture(scope="module")
def provider() -> Iterator[OidcProvider]:
    with oidc_provider() as provider:
        yield provider


@pytest.fixture(scope="module")
def upstream(provider: OidcProvider) -> Iterator[SdkUpstream]:
    with sdk_upstream(provider.issuer) as upstream:
        yield upstream


@pytest.fixture
def scene(provider: OidcProvider, upstream: SdkUpstream, tmp_path: Path) -> Scene:
    return Scene(tmp_path, provider, upstream)
