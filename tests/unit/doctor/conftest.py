"""What the doctor's checks look at, over a temporary home."""

from collections.abc import Callable
from pathlib import Path

import pytest

from acp_stdio.doctor.check import Case
from acp_stdio.settings.model import IdentitySettings, NetworkSettings, Settings, UpstreamSettings
from acp_stdio.settings.paths import user_paths
from tests.unit.upstream.conftest import anyio_backend as anyio_backend
from tests.unit.upstream.conftest import authority as authority

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXIES, *map(str.upper, PROXIES), "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


MakeCase = Callable[..., Case]


@pytest.fixture
def make_case(tmp_path: Path) -> MakeCase:
    def make(network: NetworkSettings | None = None, issuer: str = "https://login.example.com") -> Case:
        settings = Settings(
            IdentitySettings(issuer, "acp-stdio"),
            {"finance": UpstreamSettings("finance", "https://finance.example.com/mcp")},
            user_paths({"ACP_STDIO_HOME": str(tmp_path)}),
            network=network or NetworkSettings(),
        )
        return Case(settings, {"HOME": str(tmp_path)}, processes=lambda _: ())

    return make
