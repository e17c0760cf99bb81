"""A person signs in against a certified OpenID provider, with our own command in a process of its own."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.kit import human, leaks
from tests.kit.oidc_provider import OidcProvider, oidc_provider
from tests.kit.signing_in import PATIENCE, Machine, bare_upstream, mcp_server, printed_link, revocations

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with bare_upstream() as url:
        yield url


@pytest.fixture
def idp(upstream: str) -> Iterator[OidcProvider]:
    with oidc_provider(resources=[upstream]) as provider:
        yield provider
        with contextlib.suppress(OSError):  # a test may have ended it
            leaks.remember(*provider.issued())


@pytest.fixture
def machine(tmp_path: Path, idp: OidcProvider, upstream: str) -> Machine:
    return Machine(tmp_path / "home", idp.issuer, upstream)


def _no_token_anywhere(machine: Machine, idp: OidcProvider, *texts: str) -> None:
    assert leaks.scan(idp.issued(), machine.home, texts=texts) == []


def _signed_in(machine: Machine) -> bool:
    return bool(machine.json("status")["signed_in"])


def test_the_browser_signs_in_and_the_last_line_says_who_and_where(machine: Machine, idp: OidcProvider) -> None:
    done = machine.run("login")
    assert done.stdout.startswith("Signed in as alice@example.com, until you sign out"), done.stderr
    assert "stored in" in done.stdout
    assert "127.0.0.1" in done.stderr  # the address is printed, too
    opened = machine.seen.read_text().split()
    assert len(opened) == 1
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{12}", opened[0])  # nothing of the request shows in `ps`
    assert _signed_in(machine)
    _no_token_anywhere(machine, idp, done.stdout, done.stderr)


def test_a_server_that_accepts_the_person_is_named_and_remembered(machine: Machine, idp: OidcProvider) -> None:
    with mcp_server(idp.issuer, idp.add_resource) as url:
        machine.upstream, machine.upstream_lines = url, 'scopes = ["finance.read"]'
        machine.configure()
        done = machine.run("login")
        assert done.returncode == 0, done.stderr
        assert re.search(r"finance accepts you and offers [1-9]\d* tools", done.stderr)
        assert machine.json("status")["upstreams"][0]["catalogue_age_s"] is not None
        _no_token_anywhere(machine, idp, done.stdout, done.stderr)


def test_a_server_that_is_no_mcp_server_is_said_and_the_sign_in_stands(machine: Machine) -> None:
    done = machine.run("login")
    assert done.returncode == 5
    assert "You are signed in, but" in done.stderr
    assert _signed_in(machine)


def test_a_second_login_says_so_and_opens_nothing(machine: Machine) -> None:
    machine.run("login")
    again = machine.run("login")
    assert again.returncode == 0
    assert again.stdout.startswith("Already signed in as alice@example.com")
    assert len(machine.seen.read_text().split()) == 1
    machine.user = "bob"
    assert "Signed in as bob@example.com" in machine.run("login", "--force").stdout


def test_the_reduced_environment_of_a_host_is_enough(machine: Machine) -> None:
    machine.extra_environment = {"BROWSER": ""}
    with machine.start("login", "--no-browser") as process:
        page = human.sign_in(printed_link(process), "alice")
        out, err = process.communicate(timeout=PATIENCE)
    assert "Signed in as alice@example.com." in page.text
    assert "Go back to Claude and ask again." in page.text
    assert "Signed in as alice@example.com" in out, err


def test_the_page_is_shown_only_after_the_sign_in_is_stored(machine: Machine) -> None:
    with machine.start("login", "--no-browser") as process:
        page = human.sign_in(printed_link(process), "alice")
        assert page.status == 200
        assert (machine.state / "session.json").exists()
        process.communicate(timeout=PATIENCE)


def test_the_device_flow_signs_in_and_opens_no_browser(machine: Machine, idp: OidcProvider) -> None:
    with machine.start("login", "--device") as process:
        assert process.stderr is not None
        told = ""
        while "whoever started it" not in told:
            line = process.stderr.readline()
            assert line, told
            told += line
        match = re.search(r"^\s+([A-Z]{4}-[A-Z]{4})$", told, re.MULTILINE)
        assert match is not None
        address = re.search(r"https?://\S+", told)
        assert address is not None
        human.sign_in(address[0], "alice", user_code=match[1])
        out, err = process.communicate(timeout=PATIENCE)
    assert "Signed in as alice@example.com" in out, err
    assert "Never give this code to anybody" in told + err
    assert not machine.seen.exists()
    assert _signed_in(machine)
    _no_token_anywhere(machine, idp, out, err)


def test_a_no_at_the_device_page_is_exit_7(machine: Machine) -> None:
    with machine.start("login", "--device") as process:
        assert process.stderr is not None
        told = ""
        while (match := re.search(r"^\s+(http\S+user_code=\S+)$", told, re.MULTILINE)) is None:
            line = process.stderr.readline()
            assert line, told
            told += line
        with contextlib.suppress(human.Stuck):  # the provider offers to type another code
            human.sign_in(match[1], "alice", decline=True)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 7
    assert not _signed_in(machine)


def test_the_address_can_be_pasted_by_hand(machine: Machine) -> None:
    with machine.start("login", "--paste") as process:
        link = printed_link(process)
        redirect = parse_qs(urlsplit(link).query)["redirect_uri"][0]
        final = human.sign_in(link, "alice", stop_at=redirect)
        out, err = process.communicate(final.url + "\n", timeout=PATIENCE)
    assert "Signed in as alice@example.com" in out, err


def test_the_wrong_account_is_refused_and_revoked(machine: Machine, idp: OidcProvider) -> None:
    machine.identity = 'require_account = { domain = "another.example" }'
    machine.configure()
    before = machine.files()
    with machine.start("login", "--no-browser") as process:
        page = human.sign_in(printed_link(process), "alice")
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 7
    assert "You are not signed in." in page.text
    assert "another.example" in page.text
    assert "another.example" in err
    assert revocations(idp.log()) >= 1
    assert machine.files() == before
    _no_token_anywhere(machine, idp, out, err)


def test_another_person_replaces_the_first_whose_grant_is_revoked(machine: Machine, idp: OidcProvider) -> None:
    machine.run("login")
    machine.user = "bob"
    machine.run("login", "--force")
    assert machine.json("status")["account"]["label"] == "bob@example.com"
    assert revocations(idp.log()) >= 1


@pytest.mark.parametrize("path", ["/token", "/jwks"])
def test_an_identity_provider_in_trouble_is_exit_5_and_keeps_nothing(
    path: str, machine: Machine, idp: OidcProvider
) -> None:
    idp.fault(path, "503", times=5)
    done = machine.run("login")
    assert done.returncode == 5, done.stderr
    assert "Traceback" not in done.stderr
    assert machine.files().keys() <= {"state/default/login.opened"}


def test_a_fixed_port_is_used(machine: Machine) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    machine.identity = f'redirect = "http://127.0.0.1:{port}/callback"'
    machine.configure()
    for words in (["login"], ["login", "--force"]):
        done = machine.run(*words)
        assert "Signed in as alice@example.com" in done.stdout, done.stderr
    assert machine.seen.read_text().count(f"http://127.0.0.1:{port}/") == 2
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        done = machine.run("login", "--force")
    assert done.returncode == 3
    assert str(port) in done.stderr


def test_an_idle_connection_does_not_hold_the_sign_in_up(machine: Machine) -> None:
    with machine.start("login", "--no-browser") as process:
        link = printed_link(process)
        with socket.create_connection((urlsplit(link).hostname, urlsplit(link).port)):
            assert human.sign_in(link, "alice").status == 200
            out, err = process.communicate(timeout=PATIENCE)
    assert "Signed in as" in out, err


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("signed_in_before", [True, False])
def test_ctrl_c_leaves_everything_as_it_was_and_closes_the_port(machine: Machine, signed_in_before: bool) -> None:
    if signed_in_before:
        machine.run("login")
    before = machine.files()
    with machine.start("login", "--force", "--no-browser") as process:
        link = printed_link(process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert out == ""
    assert machine.files() == before
    assert _signed_in(machine) is signed_in_before
    with (
        pytest.raises(ConnectionRefusedError),
        socket.create_connection((urlsplit(link).hostname, urlsplit(link).port)),
    ):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_during_the_exchange_keeps_nothing(machine: Machine, idp: OidcProvider) -> None:
    idp.fault("/token", "hold")
    with machine.start("login", "--no-browser") as process:
        link = printed_link(process)
        browser = subprocess.Popen([sys.executable, str(Path(human.__file__)), link], stdout=subprocess.DEVNULL)
        with browser:
            while not any(entry["path"] == "/token" for entry in idp.log()):
                assert process.poll() is None
            process.send_signal(signal.SIGINT)
            idp.release()
            process.communicate(timeout=PATIENCE)
            assert browser.wait(PATIENCE) == 1  # it was shown that this came to nothing
    assert process.returncode == 130
    assert not _signed_in(machine)


def test_two_logins_at_once_open_one_tab(machine: Machine) -> None:
    with machine.start("login", "--no-browser") as first:
        link = printed_link(first)
        second = machine.run("login")
        assert second.returncode == 7
        assert "under way already" in second.stderr
        assert not machine.seen.exists()
        assert human.sign_in(link, "alice").status == 200
        out, err = first.communicate(timeout=PATIENCE)
    assert "Signed in as" in out, err


def test_a_vault_that_cannot_be_used_is_said_before_a_browser_opens(machine: Machine) -> None:
    machine.key_file.unlink()
    done = machine.run("login")
    assert done.returncode == 6, done.stderr
    assert not machine.seen.exists()


def test_no_refresh_token_is_said_plainly_and_keeps_nothing(machine: Machine) -> None:
    machine.identity = 'scopes = ["openid"]'
    machine.configure()
    done = machine.run("login")
    assert done.returncode == 5, done.stderr
    assert "no refresh token" in done.stderr
    assert not _signed_in(machine)


def test_quiet_still_shows_the_address_that_nobody_opens(machine: Machine) -> None:
    with machine.start("login", "--no-browser", "--quiet") as process:
        assert human.sign_in(printed_link(process), "alice").status == 200
        process.communicate(timeout=PATIENCE)


@pytest.mark.parametrize("timeout", ["0", "-1", "inf", "nan", "soon"])
def test_a_timeout_that_is_none_is_exit_2(timeout: str, machine: Machine) -> None:
    assert machine.run("login", f"--timeout={timeout}").returncode == 2


def test_the_timeout_is_said_and_closes_the_port(machine: Machine) -> None:
    with machine.start("login", "--no-browser", "--timeout", "1") as process:
        link = printed_link(process)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 5
    assert "Nobody finished the sign-in page" in err
    with (
        pytest.raises(ConnectionRefusedError),
        socket.create_connection((urlsplit(link).hostname, urlsplit(link).port)),
    ):
        pass


def test_logout_ends_it_here_and_at_the_provider(machine: Machine, idp: OidcProvider) -> None:
    machine.run("login")
    done = machine.run("logout", "--reason", "the laptop goes back")
    assert done.returncode == 0, done.stderr
    assert "Signed out alice@example.com." in done.stdout
    assert revocations(idp.log()) >= 1
    assert machine.run("status").returncode == 4
    again = machine.json("logout")
    assert again["profiles"][0]["was_signed_in"] is False
    trail = "".join(path.read_text() for path in (machine.state / "audit").glob("*.jsonl"))
    assert '"event":"login"' in trail
    assert '"event":"logout"' in trail
    assert "the laptop goes back" in trail


def test_logout_without_the_provider_is_exit_8_and_signs_out_here(machine: Machine, idp: OidcProvider) -> None:
    machine.run("login")
    idp.stop()
    done = machine.run("logout")
    assert done.returncode == 8
    assert "could not be revoked" in done.stdout
    assert not _signed_in(machine)


def test_logout_of_all_profiles_ends_each(machine: Machine) -> None:
    machine.run("login")
    machine.run("login", "--profile", "work")
    ended = machine.json("logout", "--all-profiles")
    assert {each["profile"]: each["revocation"] for each in ended["profiles"]} == {
        "default": "revoked",
        "work": "revoked",
    }
    assert not machine.json("status", "--profile", "work")["signed_in"]


def test_status_says_who_where_and_what_next(machine: Machine) -> None:
    before = machine.run("status")
    assert before.returncode == 4
    assert "acp-stdio login" in before.stdout
    machine.run("login")
    text = machine.run("whoami")
    assert text.returncode == 0
    for word in ("alice@example.com", machine.issuer, machine.upstream, "stored in", "confirmed"):
        assert word in text.stdout
    facts = machine.json("status", "--check")
    assert facts["upstreams"][0]["token"]["aud"] == machine.upstream
    assert facts["account"]["sub"] == "alice"


def test_status_check_says_what_the_provider_says(machine: Machine, idp: OidcProvider) -> None:
    machine.run("login")
    idp.disable("alice")
    done = machine.run("status", "--check")
    assert done.returncode == 4
    assert not _signed_in(machine)


def test_a_reader_that_goes_away_is_no_error(machine: Machine) -> None:
    with machine.start("status") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read()
        process.wait(PATIENCE)
    assert "Traceback" not in err
    assert "Exception" not in err


def test_nothing_but_the_vault_was_left_in_the_open(machine: Machine, idp: OidcProvider) -> None:
    machine.run("login")
    machine.run("status", "--check")
    _no_token_anywhere(machine, idp)
    if os.name == "posix":
        loose = [path for path in machine.state.rglob("*") if path.stat().st_mode & 0o077]
        assert loose == []
