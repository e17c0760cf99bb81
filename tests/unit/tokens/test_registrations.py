"""A registration belongs to one server; its secret is in the vault and nowhere else."""

import json
import stat
from pathlib import Path

import pytest

from acp_stdio.errors import Failure
from acp_stdio.oauth.client import Credential
from acp_stdio.oauth.registration import Registration
from acp_stdio.secrets import Secret
from acp_stdio.tokens.clients import read_secret
from acp_stdio.tokens.registrations import Registrations
from acp_stdio.vault.store import Vault
from tests.kit.memory_vault import MemoryVault

ISSUER = "https://idp.example.com"
PUBLIC = Registration(ISSUER, "client-1", ("http://127.0.0.1:1/callback",), ("authorization_code",), 5.0)
SECRET = Registration(
    ISSUER, "client-2", ("http://127.0.0.1:2/callback",), (), 6.0, 7.0, Credential(Secret("hush"), "client_secret_post")
)


@pytest.fixture
def memory() -> MemoryVault:
    return MemoryVault()


@pytest.fixture
def store(tmp_path: Path, memory: MemoryVault) -> Registrations:
    return Registrations(tmp_path, "default", lambda: memory)


@pytest.mark.parametrize("registration", [PUBLIC, SECRET])
def test_a_registration_comes_back_as_it_was(store: Registrations, tmp_path: Path, registration: Registration) -> None:
    store.save(registration)
    assert store.load(ISSUER) == registration
    assert store.client_id(ISSUER) == registration.client_id
    (file,) = (tmp_path / "registrations").glob("*.json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "hush" not in file.read_text()


def test_no_other_servers_registration_is_ever_given(store: Registrations, tmp_path: Path) -> None:
    store.save(PUBLIC)
    assert store.load(f"{ISSUER}/") is None
    assert store.client_id("https://other.example.com") == ""
    (file,) = (tmp_path / "registrations").glob("*.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "issuer": "https://other.example.com"}))
    assert store.load(ISSUER) is None


def test_exactly_the_registration_that_is_void_is_dropped(store: Registrations, memory: MemoryVault) -> None:
    store.save(SECRET)
    assert not store.drop(ISSUER, "client-1"), "another process has registered anew"
    assert store.load(ISSUER) == SECRET
    assert store.drop(ISSUER, "client-2")
    assert not store.drop(ISSUER, "client-2")
    assert store.load(ISSUER) is None
    assert memory.keys() == set()


def test_a_new_registration_leaves_no_secret_of_the_old_one(store: Registrations, memory: MemoryVault) -> None:
    store.save(SECRET)
    store.save(PUBLIC)
    assert memory.keys() == set()
    store.drop_secret(ISSUER, "client-1")
    assert store.load(ISSUER) == PUBLIC, "it has no secret that must go"


def test_without_its_secret_a_registration_is_none(store: Registrations, memory: MemoryVault) -> None:
    store.save(SECRET)
    memory.delete(*memory.keys())
    assert store.load(ISSUER) is None


def test_a_keyring_that_refuses_leaves_the_registration_that_was(store: Registrations, memory: MemoryVault) -> None:
    store.save(PUBLIC)
    memory.fail_saves(1)
    with pytest.raises(Failure):
        store.save(SECRET)
    assert store.load(ISSUER) == PUBLIC


@pytest.mark.parametrize("content", ["", "{", "[]", '{"issuer": "https://idp.example.com"}', "[" * 100_000])
def test_a_damaged_file_is_no_registration(store: Registrations, tmp_path: Path, content: str) -> None:
    store.save(PUBLIC)
    (file,) = (tmp_path / "registrations").glob("*.json")
    file.write_text(content)
    assert store.load(ISSUER) is None
    store.save(PUBLIC)
    assert store.load(ISSUER) == PUBLIC


def test_a_public_registration_does_not_open_the_vault(tmp_path: Path) -> None:
    def closed() -> Vault:
        raise AssertionError

    store = Registrations(tmp_path, "default", closed)
    store.save(PUBLIC)
    assert store.load(ISSUER) == PUBLIC
    assert store.drop(ISSUER, "client-1")


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        (None, 0o600, "there is no file"),
        (b"", 0o600, "is empty"),
        (b"\xff", 0o600, "is not text"),
        (b"x", 0o640, "is open to others"),
    ],
)
def test_a_secrets_file_that_will_not_do_is_said(tmp_path: Path, content: bytes | None, mode: int, why: str) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    with pytest.raises(Failure, match=why) as caught:
        read_secret(f"file:{path}", may_prompt=False)
    assert caught.value.reason == "configuration_invalid"
