"""Metadata and keys are fetched once, kept privately, and fetched again when that is needed."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import jwt
import pytest

from acp_stdio.errors import Failure
from acp_stdio.oauth import presets
from acp_stdio.oauth.cache import PublicCache
from acp_stdio.oauth.http import get_json, open_client
from acp_stdio.oauth.keys import signing_keys
from acp_stdio.oauth.metadata import discover
from acp_stdio.secrets import Secret
from acp_stdio.settings.model import NetworkSettings
from tests.kit.scripted_idp import ScriptedIdp

NOW = 1_800_000_000.0


@pytest.fixture
def client() -> Iterator[httpx2.Client]:
    with open_client(NetworkSettings()) as opened:
        yield opened


@pytest.fixture
def cache(tmp_path: Path) -> PublicCache:
    return PublicCache(tmp_path / "cache")


def test_a_document_is_kept_for_its_time_and_its_owner(cache: PublicCache, tmp_path: Path) -> None:
    cache.store("https://a.example", {"a": 1}, now=NOW)
    assert cache.load("https://a.example", max_age=60, now=NOW + 60) == {"a": 1}
    assert cache.load("https://a.example", max_age=60, now=NOW + 61) is None
    assert cache.load("https://a.example", max_age=60, now=NOW - 1) is None  # the clock was put back
    assert cache.load("https://b.example", max_age=60, now=NOW) is None
    if os.name == "posix":
        (file,) = (tmp_path / "cache").iterdir()
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"at": "x", "document": {}}', '{"at": 1, "document": []}', "[" * 99999]
)
def test_a_broken_file_is_no_document(cache: PublicCache, tmp_path: Path, content: str) -> None:
    cache.store("x", {"a": 1}, now=NOW)
    (file,) = (tmp_path / "cache").iterdir()
    file.write_text(content)
    assert cache.load("x", max_age=60, now=NOW) is None


def test_a_cache_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = PublicCache(tmp_path / "file" / "cache")
    cache.store("x", {"a": 1}, now=NOW)
    assert cache.load("x", max_age=60, now=NOW) is None


def test_metadata_is_not_asked_for_twice_and_checked_every_time(
    cache: PublicCache, client: httpx2.Client, tmp_path: Path
) -> None:
    with ScriptedIdp() as idp:
        found = discover(idp.issuer, presets.GENERIC, client, cache)
    assert discover(idp.issuer, presets.GENERIC, client, cache) == found  # nobody listens there any more
    cache.store(idp.issuer, {**idp.metadata(), "issuer": "https://evil.example"}, now=time.time())
    with pytest.raises(Failure) as caught:
        discover(idp.issuer, presets.GENERIC, client, cache)
    assert caught.value.reason == "configuration_invalid"
    (file,) = (tmp_path / "cache").iterdir()
    assert not any(secret in file.read_text() for secret in idp.issued)


def test_an_issuer_without_metadata_is_unreachable_and_the_addresses_are_named(client: httpx2.Client) -> None:
    with ScriptedIdp(metadata_paths=()) as idp, pytest.raises(Failure) as caught:
        discover(idp.issuer, presets.GENERIC, client)
    assert caught.value.reason == "idp_unreachable"
    assert "oauth-authorization-server" in caught.value.message
    assert "openid-configuration" in caught.value.message


def test_openid_metadata_serves_where_there_is_no_oauth_metadata(client: httpx2.Client) -> None:
    with ScriptedIdp(metadata_paths=("/.well-known/openid-configuration",)) as idp:
        assert discover(idp.issuer, presets.GENERIC, client).issuer == idp.issuer


class Counting(ScriptedIdp):
    """Counts how often its keys are asked for."""

    asked = 0

    def answer(self, method: str, path: str, form: dict[str, str]) -> tuple[int, dict[str, object] | str]:
        self.asked += path == "/keys"
        return super().answer(method, path, form)


def test_keys_are_fetched_again_for_an_unknown_key_but_not_again_and_again(
    cache: PublicCache, client: httpx2.Client
) -> None:
    def token(kid: str) -> Secret:
        return Secret(jwt.encode({}, "x" * 32, headers={"kid": kid}))

    with Counting() as idp:
        uri = f"{idp.issuer}/keys"
        for kid in ("good", "good", "foreign", "foreign"):
            assert [key.key_id for key in signing_keys(uri, client, token(kid), cache).keys] == ["good"]
        assert idp.asked == 1
        document = get_json(client, uri)
        assert document is not None
        cache.store(uri, document, now=time.time() - 31)
        before = idp.asked
        signing_keys(uri, client, token("good"), cache)
        assert idp.asked == before
        signing_keys(uri, client, token("foreign"), cache)
        signing_keys(uri, client, token("foreign"), cache)
        assert idp.asked == before + 1
        cache.store(uri, document, now=time.time() - 90000)
        signing_keys(uri, client, token("good"), cache)
        assert idp.asked == before + 2


def test_an_address_without_keys_is_said(client: httpx2.Client) -> None:
    with ScriptedIdp() as idp, pytest.raises(Failure) as caught:
        signing_keys(f"{idp.issuer}/.well-known/openid-configuration", client, Secret("x"))
    assert caught.value.reason == "idp_unreachable"
