"""The token helper's manners on its pipes. With a real provider: tests/real/test_refresh.py."""

import io
import threading
from pathlib import Path

import pytest

from acp_stdio.errors import Failure
from acp_stdio.identity.model import AccessToken
from acp_stdio.secrets import Secret
from acp_stdio.tokens import helper, refresh
from acp_stdio.tokens.messages import (
    Request,
    Revocation,
    Sent,
    decode_answer,
    decode_revoked,
    encode_request,
    encode_revocation,
    no_answer,
)
from tests.kit.scripted_idp import ScriptedIdp

CONFIG = """\
version = 1
[identity]
issuer = "https://idp.example.com"
client_id = "acp-stdio"
[upstreams.finance]
url = "https://finance.example.com/mcp"
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ACP_STDIO_HOME", str(tmp_path))
    path = tmp_path / "company.toml"
    path.write_text(CONFIG)
    return path


def ask(line: bytes) -> tuple[int, list[AccessToken | Failure | Sent]]:
    stdout = io.BytesIO()
    code = helper.main(io.BytesIO(line), stdout)
    return code, [decode_answer(line) for line in stdout.getvalue().splitlines()]


def request(config: Path, upstream: str = "finance") -> bytes:
    return encode_request(Request(str(config), "", (), upstream))


def the_failure(answers: list[AccessToken | Failure | Sent]) -> Failure:
    assert len(answers) == 1
    assert isinstance(answers[0], Failure)
    return answers[0]


def test_who_is_not_signed_in_is_told_so_with_words(config: Path) -> None:
    code, answers = ask(request(config))
    assert code == 0
    assert the_failure(answers).reason == "login_required"
    assert "not signed in yet" in the_failure(answers).message


def test_a_configuration_that_is_gone_is_a_failure_with_words(tmp_path: Path, config: Path) -> None:
    config.unlink()
    _, answers = ask(request(config))
    assert the_failure(answers).reason == "configuration_invalid"


def test_an_upstream_that_was_removed_is_named(config: Path) -> None:
    _, answers = ask(request(config, "payroll"))
    assert the_failure(answers).reason == "configuration_invalid"
    assert "payroll" in the_failure(answers).message


@pytest.mark.parametrize("line", [b"", b"\n", b"not json\n", b"{}\n", b"[" * 70_000])
def test_what_is_no_request_gets_an_answer_all_the_same(line: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    code, answers = ask(line)
    assert code == 1
    assert the_failure(answers).message == no_answer().message
    assert capsys.readouterr().out == ""


def test_a_bug_is_named_by_its_place_and_its_text_is_kept_to_itself(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def bug(*_args: object, **_how: object) -> AccessToken:
        raise RuntimeError("secret-in-a-text")

    monkeypatch.setattr(refresh, "obtain_token", bug)
    code, answers = ask(request(config))
    assert code == 1
    assert the_failure(answers).message == no_answer().message
    err = capsys.readouterr().err
    assert "RuntimeError at " in err
    assert "secret-in-a-text" not in err


def test_a_helper_that_hangs_gives_up_by_itself(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given_up = threading.Event()

    def hang(*_args: object, **_how: object) -> AccessToken:
        assert given_up.wait(30), "the watchdog did not come"
        raise AssertionError("its answer comes too late")

    monkeypatch.setattr(refresh, "obtain_token", hang)
    monkeypatch.setattr(helper, "WATCHDOG", 0.05)
    stdout = io.BytesIO()
    helper.main(io.BytesIO(request(config)), stdout, give_up=given_up.set)
    lines = stdout.getvalue().splitlines()
    assert [the_failure([decode_answer(line)]).message for line in lines] == [no_answer().message]


@pytest.mark.parametrize(("held", "outcome"), [(True, "revoked"), (False, "failed")])
def test_a_held_token_is_given_back_whether_anybody_waits_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: bool, outcome: str
) -> None:
    monkeypatch.setenv("ACP_STDIO_HOME", str(tmp_path))
    with ScriptedIdp() as idp:
        path = tmp_path / "company.toml"
        path.write_text(CONFIG.replace("https://idp.example.com", idp.issuer))
        issuer = idp.issuer if held else f"{idp.issuer}/nobody"
        wanted = Revocation(str(path), "", (), "finance", issuer, idp.client_id, Secret("at-held"))
        stdout = io.BytesIO()
        helper.main(io.BytesIO(encode_revocation(wanted)), stdout)  # its input has ended by then
        assert decode_revoked(stdout.getvalue()) == outcome
        asked = [(form["token"], form["token_type_hint"]) for name, form in idp.requests if name == "/revoke"]
    assert asked == ([("at-held", "access_token")] if held else [])


def test_a_held_token_of_default_endpoints_cannot_be_given_back_and_that_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACP_STDIO_HOME", str(tmp_path))
    with ScriptedIdp() as idp:
        idp.metadata_paths = ()
        path = tmp_path / "company.toml"
        path.write_text(CONFIG.replace('issuer = "https://idp.example.com"\n', ""))
        wanted = Revocation(str(path), "", (), "finance", idp.issuer, idp.client_id, Secret("at-held"), True)
        stdout = io.BytesIO()
        helper.main(io.BytesIO(encode_revocation(wanted)), stdout)
        assert decode_revoked(stdout.getvalue()) == "unsupported"


def test_a_held_token_of_another_identity_is_given_back_as_that_identitys_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACP_STDIO_HOME", str(tmp_path))
    secret = tmp_path / "secret"
    secret.touch(0o600)
    secret.write_text("s3cret")
    with ScriptedIdp() as idp:
        path = tmp_path / "company.toml"
        path.write_text(
            f"""{CONFIG}identity = "customers"
[identities.customers]
issuer = "{idp.issuer}"
client_id = "{idp.client_id}"
client_secret_ref = "file:{secret}"
"""
        )
        wanted = Revocation(str(path), "", (), "finance", idp.issuer, idp.client_id, Secret("at-held"))
        stdout = io.BytesIO()
        helper.main(io.BytesIO(encode_revocation(wanted)), stdout)
        assert decode_revoked(stdout.getvalue()) == "revoked"
        (form,) = [form for name, form in idp.requests if name == "/revoke"]
    assert form["client_secret"] == "s3cret"
