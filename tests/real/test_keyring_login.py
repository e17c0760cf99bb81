"""A person's whole way with the token in a real keyring: sign in, look, be locked out, sign out."""

import re
import secrets
from pathlib import Path

import pytest

from acp_stdio.identity.model import Grant
from acp_stdio.secrets import Secret
from acp_stdio.settings.model import StorageSettings
from acp_stdio.vault.grants import GrantVault
from acp_stdio.vault.open import open_vault
from tests.kit import leaks
from tests.kit.oidc_provider import oidc_provider
from tests.kit.secret_service import nobody_answers, secret_service
from tests.kit.signing_in import Machine, mcp_server, revocations

pytestmark = pytest.mark.real

EXIT_KEYRING = 6


class KeyringMachine(Machine):
    """A machine whose configuration leaves the choice of the keyring to us."""

    def configure(self) -> None:
        super().configure()
        config = self.home / "config" / "config.toml"
        config.write_text(re.sub(r"\[storage\].*", '[storage]\nbackend = "auto"\n', config.read_text(), flags=re.S))


def test_a_person_signs_in_and_out_with_the_token_in_the_keyring_only(tmp_path: Path) -> None:
    with (
        secret_service(tmp_path / "desktop") as service,
        oidc_provider() as idp,
        mcp_server(idp.issuer, idp.add_resource) as url,
    ):
        machine = KeyringMachine(
            tmp_path / "home",
            idp.issuer,
            url,
            upstream_lines='scopes = ["finance.read"]',
            extra_environment={"XDG_RUNTIME_DIR": service.environ["XDG_RUNTIME_DIR"]},
        )
        told: list[str] = []

        def run(*words: str) -> int:
            done = machine.run(*words)
            told.extend([done.stdout, done.stderr])
            return done.returncode

        try:
            assert run("login") == 0, told
            assert "keyring" in told[0]
            assert run("status", "--check") == 0, told
            assert machine.json("status")["signed_in"] is True
            assert [label for label in service.secrets() if "/default/" in label]
            assert leaks.scan(idp.issued(), tmp_path, texts=told) == []

            service.lock()
            with nobody_answers(service) as prompter:
                assert run("status") == 0, told
                assert run("status", "--check") == EXIT_KEYRING, told
            assert prompter.opened == 0
            service.unlock()

            assert run("logout") == 0, told
            assert service.sign_ins() == []
            assert revocations(idp.log()) > 0
            assert machine.json("status")["signed_in"] is False
            assert leaks.scan(idp.issued(), tmp_path, texts=told) == []
        finally:
            leaks.remember(*idp.issued())


def test_a_grant_of_9_kb_comes_back_and_its_token_is_nowhere_to_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = secrets.token_urlsafe(6750)
    leaks.remember(token)
    grant = Grant(Secret(token), "https://login.example.com", "acp-stdio", "alice", 1.5, generation=3, rotation=2)

    def store() -> GrantVault:
        vault = open_vault(StorageSettings("auto"), tmp_path, may_prompt=False)
        return GrantVault(vault, "default", lambda: (grant.issuer, grant.client_id))

    with secret_service(tmp_path / "desktop") as service:
        service.exported(monkeypatch)
        store().save(grant)
        assert store().load() == grant
        assert store().name == "secret-service"
        assert service.secrets()
        assert leaks.scan([token], tmp_path) == []
        store().delete()
        assert store().load() is None
        assert service.sign_ins() == []
