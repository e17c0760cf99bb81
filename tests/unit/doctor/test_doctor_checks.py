"""Each check's table of failures, on real files, locks and keyrings."""

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from acp_stdio.doctor import directories, installation, keyring, lock, processes, provider, session, trail, upstream
from acp_stdio.doctor.check import Case, Check, examine
from acp_stdio.errors import EXIT_AUDIT, EXIT_CONFIGURATION, EXIT_KEYRING, EXIT_NETWORK, EXIT_SIGN_IN_REQUIRED, Failure
from acp_stdio.identity.model import Account, Session
from acp_stdio.settings.model import AuditSettings, IdentitySettings, StorageSettings, UpstreamSettings
from acp_stdio.tokens.session_file import SessionFile
from acp_stdio.vault.lock import FileLock
from tests.kit.scripted_idp import ScriptedIdp
from tests.kit.secret_service import secret_service
from tests.unit.doctor.conftest import MakeCase

FINANCE = UpstreamSettings("finance", "https://finance.example.com/mcp")
NOW = 1_795_459_327.0
SIGNED_IN = Session(
    generation=7,
    signed_in=True,
    account=Account("a", "alice@example.com", "a", "https://login.example.com"),
    issuer="https://login.example.com",
    client_id="acp-stdio",
    storage="file",
    resources={"finance": "https://finance.example.com/mcp"},
    obtained_at=NOW - 600,
    confirmed_at=NOW - 60,
)


# --- directories


def test_directories_are_made_as_run_would_make_them(make_case: MakeCase) -> None:
    case = make_case()
    assert directories.probe(case).state == "ok"
    assert case.settings.state_dir.stat().st_mode & 0o777 == 0o700
    assert list(case.settings.state_dir.iterdir()) == []


@pytest.mark.parametrize(("mode", "state"), [(0o700, "ok"), (0o750, "warning"), (0o777, "problem")])
def test_a_directory_that_others_can_get_into_is_told(make_case: MakeCase, mode: int, state: str) -> None:
    case = make_case()
    case.settings.state_dir.mkdir(parents=True)
    case.settings.state_dir.chmod(mode)
    found = directories.probe(case)
    assert found.state == state
    assert found.next == ("" if state == "ok" else f"Run `chmod 700 {case.settings.state_dir}`.")


def test_a_directory_that_cannot_be_made_is_a_problem_of_the_configuration(make_case: MakeCase) -> None:
    case = make_case()
    case.settings.paths.state.write_text("a file is in the way")
    found = directories.probe(case)
    assert (found.state, found.exit_code) == ("problem", EXIT_CONFIGURATION)


def test_a_network_file_system_is_known_by_the_closest_mount(tmp_path: Path) -> None:
    home, local = tmp_path / "my home", tmp_path / "my home" / "local"
    local.mkdir(parents=True)
    mounts = tmp_path / "mounts"
    escaped = str(home).replace(" ", "\\040")
    mounts.write_text(f"/dev/a / ext4 rw 0 0\nserver:/h {escaped} nfs4 rw 0 0\n/dev/b {escaped}/local ext4 rw 0 0\n")
    assert directories.remote_kind(home / "state", mounts) == "nfs4"
    assert directories.remote_kind(local / "state", mounts) == ""
    assert directories.remote_kind(tmp_path, mounts) == ""
    assert directories.remote_kind(tmp_path, tmp_path / "none") == ""


# --- lock, trail, processes, installation


def test_the_lock_is_refused_to_a_second_process_and_given_back(make_case: MakeCase) -> None:
    case = make_case()
    assert lock.probe(case).state == "ok"
    left = FileLock(case.settings.state_dir / "doctor.lock")
    assert left.try_acquire()
    left.release()


def test_a_file_system_that_does_not_lock_is_found_out(make_case: MakeCase, monkeypatch: pytest.MonkeyPatch) -> None:
    class Careless(FileLock):
        def try_acquire(self) -> bool:
            return True

    monkeypatch.setattr(lock, "FileLock", Careless)
    found = lock.probe(make_case())
    assert (found.state, found.exit_code) == ("problem", EXIT_CONFIGURATION)
    assert "at once" in found.message


def test_a_trail_that_cannot_be_written_is_a_problem_of_the_trail(make_case: MakeCase, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    case = make_case()
    case = replace(case, settings=replace(case.settings, audit=AuditSettings(tmp_path / "file" / "audit")))
    found = trail.probe(case)
    assert (found.state, found.exit_code) == ("problem", EXIT_AUDIT)
    assert "no call is made without a record" in found.message


def test_looking_at_the_trail_leaves_nothing_in_it(make_case: MakeCase) -> None:
    case = make_case()
    assert trail.probe(case).state == "ok"
    assert list((case.settings.state_dir / "audit").iterdir()) == []


def test_live_processes_are_told_with_their_hosts(make_case: MakeCase) -> None:
    live: list[dict[str, Any]] = [{"pid": 7, "client": "claude-ai"}, {"pid": 8, "client": ""}]

    def running(_: Path) -> list[dict[str, Any]]:
        return live

    case = replace(make_case(), processes=running)
    assert processes.probe(case).message == "2 running: claude-ai (process 7), a host (process 8)"
    assert processes.probe(make_case()).message == "none runs now"


def test_another_program_first_on_the_path_is_worth_a_word(tmp_path: Path) -> None:
    own, other, link = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    own.touch()
    other.touch()
    link.symlink_to(own)
    assert installation.judge(own, str(other)).state == "warning"
    assert installation.judge(own, str(link)).state == "ok"
    assert installation.judge(own, None).state == "ok"
    assert installation.judge(None, str(other)).state == "ok"


# --- session


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]  # pytest runs it
    """The time of every test here, so that no slow machine makes a minute longer."""
    monkeypatch.setattr(time, "time", lambda: NOW)


def signed_in(case: Case, **changes: Any) -> Case:
    SessionFile(case.settings.state_dir).write(replace(SIGNED_IN, **changes))
    return case


def test_nobody_signed_in_is_a_problem_with_one_command(make_case: MakeCase) -> None:
    found = session.probe(make_case())
    assert (found.state, found.exit_code) == ("problem", EXIT_SIGN_IN_REQUIRED)
    assert "acp-stdio login" in found.next


def test_a_session_is_told_with_who_and_when_and_its_generation(make_case: MakeCase) -> None:
    found = session.probe(signed_in(make_case()))
    assert found.state == "ok"
    assert found.message.startswith("signed in as alice@example.com, confirmed by the provider 60 s ago")
    assert found.details["generation"] == 7


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"issuer": "https://other.example.com"}, "is with https://other.example.com"),
        ({"resources": {}}, "did not ask for finance"),
        ({"in_flight_since": NOW - 300}, "A renewal was broken off 5 min ago"),
    ],
)
def test_a_session_that_does_not_fit_is_worth_a_word(
    make_case: MakeCase, changes: dict[str, object], words: str
) -> None:
    found = session.probe(signed_in(make_case(), **changes))
    assert found.state == "warning"
    assert words in found.message


def test_a_renewal_under_way_is_not_a_broken_one(make_case: MakeCase) -> None:
    case = signed_in(make_case(), in_flight_since=NOW)
    with FileLock(case.settings.state_dir / "refresh.lock").held(1):
        assert session.probe(case).state == "ok"


def test_a_damaged_session_is_not_taken_for_signed_out(make_case: MakeCase) -> None:
    case = signed_in(make_case())
    SessionFile(case.settings.state_dir).path.write_text("{")
    found = examine([Check("session", session.probe)], case, lambda _: None)["session"]
    assert (found.state, found.exit_code) == ("problem", EXIT_CONFIGURATION)


# --- clock and access


@pytest.mark.parametrize(("offset", "state"), [(0, "ok"), (60, "ok"), (-60, "ok"), (61, "problem"), (-7200, "problem")])
def test_a_clock_may_be_a_minute_off_and_not_more(offset: float, state: str) -> None:
    found = provider.compare(1_000_000 + offset, 1_000_000, 60)
    assert found.state == state
    if state == "problem":
        assert found.exit_code == EXIT_NETWORK
        assert ("ahead of" if offset > 0 else "behind") in found.message


def test_a_narrower_clock_skew_is_a_narrower_check() -> None:
    assert provider.compare(1_000_006, 1_000_000, 5).state == "problem"
    assert provider.compare(1_000_005, 1_000_000, 5).state == "ok"


def test_the_way_to_a_provider_is_tried_where_a_sign_in_goes_first(make_case: MakeCase) -> None:
    settings, issuer = make_case().settings, "https://login.example.com"

    def first(**written: Any) -> str:
        return provider.address_of(replace(settings, identity=IdentitySettings(issuer, "c", **written)))

    assert first() == f"{issuer}/.well-known/oauth-authorization-server"
    assert first(discovery_url="https://sso.example.com/metadata") == "https://sso.example.com/metadata"
    own = {name: f"https://{name}.example.com/" for name in ("authorization", "token", "jwks")}
    assert first(endpoints=own) == "https://token.example.com/"
    assert provider.address_of(replace(settings, identity=IdentitySettings("", ""))) == ""


def test_a_provider_that_is_written_down_is_examined_as_a_sign_in_would_find_it(make_case: MakeCase) -> None:
    with ScriptedIdp(metadata_paths=()) as idp:
        case, own = (
            make_case(),
            {"authorization": "authorize", "token": "token", "jwks": "keys", "revocation": "revoke"},
        )
        endpoints = {name: f"{idp.origin}/{path}" for name, path in own.items()}
        written = IdentitySettings(idp.issuer, "c", endpoints=endpoints, allow_unadvertised_pkce=True)
        found = provider.discovery(replace(case, settings=replace(case.settings, identity=written)))
        assert (found.state, found.details["token_endpoint"]) == ("ok", f"{idp.origin}/token")
        assert "the configuration, not its metadata, says what these are" in found.message
        device = replace(written, flow="device")
        found = provider.discovery(replace(case, settings=replace(case.settings, identity=device)))
        assert (found.state, "has no device endpoint" in found.message) == ("problem", True)
        assert provider.clock(replace(case, settings=replace(case.settings, identity=written))).state == "ok"


@pytest.mark.parametrize(
    ("status", "headers", "state", "words"),
    [
        (401, {"www-authenticate": 'Bearer realm="x"'}, "ok", "refuses"),
        (401, {"www-authenticate": "DPoP"}, "ok", "refuses"),
        (401, {}, "warning", "not as RFC 6750"),
        (401, {"www-authenticate": "Basic"}, "warning", "not as RFC 6750"),
        (403, {}, "warning", "not as RFC 6750"),
        (200, {}, "warning", "does not check who is asking"),
        (202, {}, "warning", "does not check who is asking"),
        (307, {"location": "https://other.example.com/mcp"}, "problem", "redirects"),
        (404, {}, "problem", "does not seem to be an MCP server"),
        (429, {}, "problem", "a problem of its own"),
        (503, {}, "problem", "a problem of its own"),
    ],
)
def test_what_a_server_answers_to_nobody_says_whether_it_asks(
    status: int, headers: dict[str, str], state: str, words: str
) -> None:
    found = upstream.judge(status, headers, FINANCE)
    assert found.state == state
    assert words in found.message
    assert bool(found.next) is (state != "ok")


# --- keyring


@pytest.fixture
def ring_case(make_case: MakeCase) -> Case:
    case = make_case()
    return replace(case, settings=replace(case.settings, storage=StorageSettings("secret-service")))


@pytest.mark.real
def test_a_keyring_is_written_read_and_left_as_it_was(ring_case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    with secret_service() as service:
        service.exported(monkeypatch)
        found = keyring.probe(ring_case)
        assert service.secrets() == {}
    assert found.state == "ok"
    assert found.details["backend"] == "secret-service"


@pytest.mark.real
@pytest.mark.parametrize("trouble", ["locked", "frozen", "absent"])
def test_a_keyring_that_cannot_be_used_is_told_within_seconds(
    ring_case: Case, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    with secret_service(keyring=trouble != "absent") as service:
        service.exported(monkeypatch)
        if trouble == "locked":
            service.lock()
        elif trouble == "frozen":
            service.freeze()
        found = examine([Check("keyring", keyring.probe)], ring_case, lambda _: None)["keyring"]
    words = {"locked": "is locked", "frozen": "did not answer within", "absent": "There is no keyring"}[trouble]
    assert (found.state, found.exit_code) == ("problem", EXIT_KEYRING)
    assert words in found.message
    assert found.next


def test_a_file_store_without_its_key_is_a_problem_of_the_store(make_case: MakeCase, tmp_path: Path) -> None:
    case = make_case()
    storage = StorageSettings("file", key_file=tmp_path / "none.key")
    with pytest.raises(Failure, match="there is no key file"):
        keyring.probe(replace(case, settings=replace(case.settings, storage=storage)))


def test_a_file_store_that_works_is_said_to_stand_in_for_the_keyring(make_case: MakeCase, tmp_path: Path) -> None:
    key = tmp_path / "store.key"
    with open(os.open(key, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write("QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=\n")
    case = make_case()
    case = replace(case, settings=replace(case.settings, storage=StorageSettings("file", key_file=key)))
    found = keyring.probe(case)
    assert found.state == "ok"
    assert "in place of the OS keyring" in found.message
    assert list((case.settings.state_dir / "vault").iterdir()) == []
