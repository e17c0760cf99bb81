"""Each thing that a server can get wrong about tokens is found, and a server that gets nothing wrong is left alone."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest

from acp_stdio.errors import EXIT_BACKEND, EXIT_OK, Failure
from acp_stdio.identity.model import AccessToken, Account
from acp_stdio.oauth.presets import GENERIC
from acp_stdio.probe import backend_log
from acp_stdio.probe.backend_log import BackendLog, names
from acp_stdio.probe.examine import LATE, Case, Person, examine
from acp_stdio.probe.finding import Finding, Report
from acp_stdio.probe.visit import LEGACY, MODERN, Question
from acp_stdio.secrets import Secret
from acp_stdio.settings.model import NetworkSettings, UpstreamSettings
from tests.kit import leaks
from tests.unit.backend.issuers import ISSUER, Issuer, public_jwk
from tests.unit.probe.careless import KEY, Careless, careless

SARAH = Account("u-1001", "sarah@acme.example", "u-1001", ISSUER, "sarah@acme.example")
INTERN = Account("u-1002", "intern@acme.example", "u-1002", ISSUER, "intern@acme.example")
ERAS = (LEGACY, MODERN)


def token(server: Careless, text: str, *, expires_in: float = 300.0) -> AccessToken:
    leaks.remember(text)
    now = time.time()
    origin = server.url.removesuffix("/mcp")
    return AccessToken(Secret(text), "finance", origin, 1, now, now + expires_in)


def signed(server: Careless, **claims: Any) -> str:
    now = time.time()
    usual: dict[str, Any] = {"aud": server.url, "iat": now - 1, "exp": now + 300}
    return Issuer().token("ec1", **(usual | claims))


def case(server: Careless, **changes: Any) -> Case:
    given: dict[str, Any] = {
        "upstream": UpstreamSettings("finance", server.url),
        "network": NetworkSettings(),
        "preset": GENERIC,
        "issuer": ISSUER,
        "question": Question(),
        "own": Person(SARAH, token(server, signed(server)), "request-of-sarah"),
        "keys": jwt.PyJWKSet.from_dict({"keys": [public_jwk("ec1")]}),
        "foreign": ("made out to hr", token(server, signed(server, aud="https://hr.example/mcp"))),
    }
    return Case(**(given | changes))


def expired(server: Careless, given: Case) -> Case:
    """The same, when the person's token has just run out: the server's clock goes on at that moment."""

    def progress(what: str) -> None:
        if what.startswith("an expired token"):
            server.late = 1000.0

    late = replace(given.own.token, expires_at=time.time() - LATE)
    return replace(given, own=replace(given.own, token=late), progress=progress)


def found(given: Case, state: str) -> dict[str, Finding]:
    return {each.name: each for each in examine(given)[1] if each.state == state}


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """For logs in which a line never comes."""
    monkeypatch.setattr(backend_log.BackendLog.lines_with, "__defaults__", (0.3,))


@pytest.mark.parametrize("era", ERAS)
def test_a_careful_server_passes_everything(tmp_path: Path, era: str) -> None:
    with careless(tmp_path / "log", era=era) as server:
        given = expired(server, case(server, log=BackendLog(server.log)))
        spoken, findings = examine(given)
        assert spoken == era
        assert [each for each in findings if each.state != "pass"] == []
        tried = {each.name for each in findings}
        assert {"no token", "an expired token", "another issuer's token", "the log names you"} <= tried
        assert len(tried) >= 15
        assert set(server.called) <= {"server/discover", "initialize", "notifications/initialized", "tools/list"}
        assert not server.sessions, "each session was ended again"


WEAKNESSES = {
    "open": {"no token", "a made-up token", "forged: not signed (alg none)"},
    "anything": {"a made-up token", "another issuer's token", "an expired token"},
    "no signature": {
        "forged: not signed (alg none)",
        "forged: signed with another key",
        "forged: claims changed, old signature",
        "forged: brings its own key",
    },
    "alg none": {"forged: not signed (alg none)"},
    "password": {"forged: the public key used as a password"},
    "own key": {"forged: brings its own key"},
    "any issuer": {"another issuer's token", "asks strangers for keys"},
    "asks strangers": {"asks strangers for keys"},
    "no aud": {"a token for somebody else (made out to hr)"},
    "no exp": {"an expired token"},
    "no metadata": {"protected resource metadata"},
    "metadata issuer": {"protected resource metadata"},
    "metadata resource": {"protected resource metadata"},
    "names no issuer": {"protected resource metadata"},
    "no name": {"the log names you"},
    "no line": {"the log names you"},
    "leaks": {"no token in the log"},
}


@pytest.mark.parametrize("weak", WEAKNESSES)
def test_each_weakness_is_found_and_named(tmp_path: Path, weak: str) -> None:
    with careless(tmp_path / "log", weak) as server:
        failed = found(expired(server, case(server, log=BackendLog(server.log))), "fail")
    assert WEAKNESSES[weak] <= set(failed)
    if weak not in ("open", "anything", "no signature"):
        assert set(failed) == WEAKNESSES[weak]
    assert all(each.advice for each in failed.values())


def test_a_session_that_stands_for_its_person_is_found(tmp_path: Path) -> None:
    with careless(tmp_path / "log", "session", LEGACY) as server:
        assert set(found(case(server), "fail")) == {"no token, in your session"}


@pytest.mark.parametrize(
    ("weak", "names"),
    [
        ("no challenge", {"says how to sign in", "protected resource metadata"}),
        ("no pointer", {"protected resource metadata"}),
    ],
)
def test_what_makes_life_hard_for_clients_is_a_warning(tmp_path: Path, weak: str, names: set[str]) -> None:
    with careless(tmp_path / "log", weak) as server:
        assert set(found(case(server), "warning")) == names
        assert not found(case(server), "fail")


@pytest.mark.parametrize("weak", ["refuses within MCP", "breaks"])
def test_a_refusal_of_another_kind_is_not_a_hole_and_is_said(tmp_path: Path, weak: str) -> None:
    with careless(tmp_path / "log", weak) as server:
        assert "no token" in found(case(server), "warning")
        assert not found(case(server), "fail")


def test_a_shared_key_that_still_opens_is_found_and_its_line_shown(tmp_path: Path) -> None:
    with careless(tmp_path / "log", "shared key") as server:
        given = case(server, shared=token(server, KEY), log=BackendLog(server.log))
        assert set(found(given, "fail")) == {"the shared API key"}
        (line,) = [each.said for each in examine(given)[1] if each.name == "the log with the key"]
        assert "user=service-account" in line
    with careless(tmp_path / "log", "") as server:
        assert "the shared API key" in found(case(server, shared=token(server, KEY)), "pass")


def test_where_the_persons_own_token_is_refused_other_refusals_prove_nothing(tmp_path: Path) -> None:
    with careless(tmp_path / "log") as server:
        stale = Person(SARAH, token(server, signed(server, aud="https://another.example")), "r")
        given = case(server, own=stale)
        assert set(found(given, "fail")) == {"your own token"}
        assert "no token" in found(given, "not tested")


def test_two_people_with_different_rights_are_told_apart(tmp_path: Path) -> None:
    with careless(tmp_path / "log") as server:
        intern = Person(INTERN, token(server, signed(server, sub="u-1002")), "request-of-intern")
        given = case(server, other=intern, log=BackendLog(server.log))
        findings = {each.name: each for each in examine(given)[1]}
    told = findings["the token of intern@acme.example"]
    assert told.said == "another list of tools; only you: salary; only intern@acme.example: none"
    assert findings["the log names intern@acme.example"].state == "pass"


def test_a_tool_that_was_named_is_called_and_nothing_else_is(tmp_path: Path) -> None:
    with careless(tmp_path / "log") as server:
        assert not found(case(server, question=Question("report", {"quarter": "Q3"})), "fail")
        assert server.called.count("tools/call") == 1, "only the person's own token got that far"


def test_tokens_that_cannot_be_read_are_not_forged(tmp_path: Path) -> None:
    with careless(tmp_path / "log", "anything") as server:
        given = case(server, own=Person(SARAH, token(server, "opaque-token-of-sarah"), "r"))
        assert "forged tokens" in found(given, "not tested")


def test_a_token_that_a_server_repeats_is_not_in_the_report(tmp_path: Path) -> None:
    with careless(tmp_path / "log", "leaks") as server:
        given = case(server, log=BackendLog(server.log))
        report = str([each.to_json() for each in examine(given)[1]])
    assert given.own.token.value.reveal() not in report
    assert "•••" in report


def test_a_server_that_is_not_there_is_said(tmp_path: Path) -> None:
    with careless(tmp_path / "log") as server:
        given = case(server)
    with pytest.raises(Failure, match="cannot be reached") as failed:
        examine(given)
    assert failed.value.reason == "upstream_unreachable"


def test_the_exit_code_is_the_servers() -> None:
    def report(*states: Any) -> Report:
        rows = tuple(Finding("n", state, "s", f"change {state}") for state in states)
        return Report("t", "u", "a", "i", MODERN, "tools/list", "now", rows)

    assert report("pass", "warning", "not tested", "info").exit_code == EXIT_OK
    assert report("pass", "fail").exit_code == EXIT_BACKEND
    assert report("warning", "fail").next == "change fail"


@pytest.mark.parametrize(
    ("line", "is_named"),
    [
        ("user=sarah@acme.example tool=x", True),
        ('{"user":"sarah@acme.example"}', True),
        ('{"sub":"u-1001"}', True),
        ("USER=SARAH@ACME.EXAMPLE", True),
        ("user=not-sarah@acme.example", False),
        ("user=sarah@acme.example.evil", False),
        ("sub=u-10011", False),
        ("user=service-account", False),
    ],
)
def test_a_name_counts_only_as_a_whole(line: str, is_named: bool) -> None:
    assert names(line, (SARAH.label, SARAH.sub, "")) is is_named


def test_only_what_is_new_in_a_log_counts_also_when_it_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("request=r-1 old\n" * 100)
    log = BackendLog(path)
    assert log.lines_with("r-1") == []
    with path.open("a") as file:
        file.write("request=r-1 new\n")
    assert log.lines_with("r-1") == ["request=r-1 new"]
    path.write_text("request=r-1 newest\n")
    assert log.lines_with("r-1") == ["request=r-1 newest"]
    with pytest.raises(Failure, match="cannot be read"):
        BackendLog(tmp_path / "none")
