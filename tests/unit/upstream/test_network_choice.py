"""Which way out an upstream is reached, and what cannot be used as one."""

import pytest

from acp_stdio.errors import Failure
from acp_stdio.settings.model import NetworkSettings
from acp_stdio.upstream.network import connect

FAR = "https://finance.example.com:443"


@pytest.mark.parametrize("proxy", ["socks5://proxy:1080", "https://proxy:3128"])
def test_a_proxy_that_cannot_be_used_is_a_problem_of_the_configuration(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(Failure, match="only proxies of the form http://host:port") as caught:
        connect(FAR, NetworkSettings())
    assert caught.value.reason == "configuration_invalid"


def test_a_proxy_is_not_asked_for_hosts_that_no_proxy_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "socks5://unusable:1")
    monkeypatch.setenv("no_proxy", "finance.example.com")
    connect(FAR, NetworkSettings())


def test_this_machine_is_reached_without_a_proxy() -> None:
    connect("http://127.0.0.1:8080", NetworkSettings(proxy="http://proxy:3128"))
