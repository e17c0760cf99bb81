"""What a person reads of an examination, and what only a terminal gets."""

import sys
from pathlib import Path

import pytest

from acp_stdio.cli import doctor, main
from acp_stdio.cli.render import Output
from acp_stdio.doctor.examination import Request
from acp_stdio.doctor.finding import ok, problem, warning
from acp_stdio.doctor.report import Report
from acp_stdio.errors import EXIT_CONFIGURATION
from acp_stdio.settings import managed

REPORT = Report(
    {
        "installation": ok("acp-stdio 1"),
        "provider/network": problem("idp_unreachable", "It is down.\nReally.", "Wait."),
        "trail": warning("It is nearly full.", "Make room."),
    }
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ACP_STDIO_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(managed, "PLACE", tmp_path / "none")
    return tmp_path


def examined(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """The examination is answered with `REPORT`; what was asked for is kept."""
    asked: list[Request] = []

    def examine_all(request: Request, progress: object) -> Report:
        assert callable(progress)
        progress("trail")
        asked.append(request)
        return REPORT

    monkeypatch.setattr(doctor, "examine_all", examine_all)
    return asked


def test_every_finding_has_a_line_and_the_last_line_is_the_one_step(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    examined(monkeypatch)
    assert main.main(["doctor"]) == 5
    assert capsys.readouterr().out == (
        "ok       installation      acp-stdio 1\n"
        "problem  provider/network  It is down.\n"
        "                           Really.\n"
        "warning  trail             It is nearly full.\n"
        "                           Make room.\n"
        "\n"
        "next: Wait.\n"
    )


def test_quiet_leaves_out_what_is_well(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    examined(monkeypatch)
    main.main(["doctor", "--quiet"])
    assert "installation" not in capsys.readouterr().out


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_for_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], terminal: bool
) -> None:
    examined(monkeypatch)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    main.main(["doctor"])
    assert capsys.readouterr().err == ("checking trail ...\n" if terminal else "")


@pytest.mark.parametrize(
    ("words", "terminal", "may_prompt"),
    [(["doctor"], True, False), (["doctor", "--unlock"], True, True), (["doctor", "--unlock"], False, False)],
)
def test_a_keyring_asks_only_where_it_was_allowed_to_and_somebody_is_there(
    monkeypatch: pytest.MonkeyPatch, words: list[str], terminal: bool, may_prompt: bool
) -> None:
    asked = examined(monkeypatch)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: terminal)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    main.main(words)
    assert asked[0].may_prompt is may_prompt


def test_a_process_of_its_own_gets_the_same_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = examined(monkeypatch)
    main.main(["doctor", "--config", "/c.toml", "--profile", "work", "finance"])
    main.main(["doctor"])
    assert asked[0].arguments == ("--config=/c.toml", "--profile=work", "--", "finance")
    assert asked[1].arguments == ()


def test_without_a_configuration_the_step_is_to_write_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["doctor"]) == EXIT_CONFIGURATION
    out = capsys.readouterr().out
    assert "There is no configuration yet" in out
    assert "next: Write " in out
    assert "not checked: configuration has a problem" in out


def test_the_text_holds_no_query(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report({"a": warning("https://a.example/mcp?key=hidden", "See https://a.example/?key=hidden")})
    assert "hidden" not in doctor._words(report, Output())  # pyright: ignore[reportPrivateUsage]  # the rendering itself
