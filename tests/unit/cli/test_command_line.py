"""Every failure has its exit code and its words; nothing ends in a traceback."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from acp_stdio import __version__
from acp_stdio.cli import main as command_line
from acp_stdio.cli.crash import scrub
from acp_stdio.cli.render import Output, clean, table
from acp_stdio.errors import REASONS, Failure

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzYXJhaCJ9.c2lnbmF0dXJlLXNpZ25hdHVyZQ"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("ACP_STDIO_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ACP_STDIO_HOME", str(tmp_path))
    return tmp_path


def _command(monkeypatch: pytest.MonkeyPatch, action: Any) -> None:
    """A command `probe` that does `action(args)`."""

    def add_arguments(parser: Any) -> None:
        parser.add_argument("--wish", help="a wish", default=None)
        parser.add_argument("--much", help="a switch", action="store_true")
        parser.add_argument("--many", help="a list", action="append", default=[])

    module = SimpleNamespace(EXAMPLES="  acp-stdio probe", add_arguments=add_arguments, run=action)
    monkeypatch.setitem(sys.modules, "probe_command", module)
    monkeypatch.setitem(command_line.COMMANDS, "probe", ("try things", "probe_command"))


def _recording(seen: list[Any]) -> Any:
    def action(args: Any) -> int:
        seen.append(args)
        return 0

    return action


def _raising(error: BaseException) -> Any:
    def action(_: Any) -> int:
        raise error

    return action


@pytest.mark.parametrize("reason", REASONS)
def test_a_failure_says_what_and_what_to_do_and_has_its_exit_code(
    reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _command(monkeypatch, _raising(Failure(reason, "It broke.", "Mend it.")))
    assert command_line.main(["probe"]) == REASONS[reason].exit_code
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "It broke.\nMend it.\n")


def test_a_failure_is_json_where_json_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _command(monkeypatch, _raising(Failure("denied", "It broke.", "Mend it.")))
    assert command_line.main(["--json", "probe"]) == 7
    assert json.loads(capsys.readouterr().out) == {
        "error": {"reason": "denied", "message": "It broke.", "advice": "Mend it."}
    }


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _command(monkeypatch, _raising(KeyboardInterrupt()))
    assert command_line.main(["probe"]) == 130
    assert capsys.readouterr().err == "Interrupted.\n"


def test_a_bug_names_the_log_which_holds_the_traceback_and_no_token(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _command(monkeypatch, _raising(RuntimeError(f"odd answer {TOKEN}")))
    assert command_line.main(["probe"]) == 1
    captured = capsys.readouterr()
    log = home / "log" / "acp-stdio.log"
    assert str(log) in captured.err
    assert "Traceback" not in captured.err
    assert "Traceback" in log.read_text()
    assert "RuntimeError: odd answer •••" in log.read_text()
    assert TOKEN not in log.read_text() + captured.err + captured.out
    if os.name == "posix":
        assert stat.S_IMODE(log.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "secret",
    [
        TOKEN,
        "https://127.0.0.1:1/callback?code=abc&state=def",
        "refresh_token=short",
        "{'access_token': 'opaque-1'}",
        "Authorization: Bearer abc",
        '"client_secret":"x y"',
        "Zm9vYmFyYmF6cXV4MTIzNDU2",
    ],
)
def test_scrub_leaves_no_secret(secret: str) -> None:
    scrubbed = scrub(f'  File "/usr/lib/python3/site-packages/module.py", line 3\nValueError: {secret}')
    assert "module.py" in scrubbed
    for part in ("abc", "def", "short", "opaque-1", "eyJ", '"x', "Zm9v"):
        assert part not in scrubbed.split("\n")[1].removeprefix("ValueError")


def test_every_flag_has_its_variable_and_the_command_line_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    _command(monkeypatch, _recording(seen))
    monkeypatch.setenv("ACP_STDIO_WISH", "from the environment")
    monkeypatch.setenv("ACP_STDIO_MUCH", "yes")
    monkeypatch.setenv("ACP_STDIO_MANY", "a b")
    monkeypatch.setenv("ACP_STDIO_PROFILE", "work")
    assert command_line.main(["probe"]) == 0
    assert command_line.main(["probe", "--wish", "mine", "--profile", "home"]) == 0
    assert (seen[0].wish, seen[0].much, seen[0].many, seen[0].profile) == (
        "from the environment", True, ["a", "b"], "work",
    )  # fmt: skip
    assert (seen[1].wish, seen[1].profile) == ("mine", "home")


@pytest.mark.parametrize("argv", [["--json", "probe"], ["probe", "--json"]])
def test_common_options_stand_before_or_after_the_command(argv: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    _command(monkeypatch, _recording(seen))
    assert command_line.main(argv) == 0
    assert seen[0].json is True


def test_a_word_that_is_both_a_value_and_a_command_is_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    _command(monkeypatch, _recording(seen))
    assert command_line.main(["--profile", "login", "probe"]) == 0
    assert seen[0].profile == "login"


def test_control_characters_from_outside_never_reach_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Output().warn("name\x1b[2J\u202eevil")
    assert capsys.readouterr().err == "name[2Jevil\n"
    assert clean("a\nb\tc\r") == "a\nbc"


def test_a_table_leaves_out_what_is_not_known() -> None:
    assert table([("account", "sarah"), ("tenant", ""), ("id", "1")]) == "account  sarah\nid       1"


def _acp(*argv: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "acp_stdio", *argv],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_version_and_help_answer() -> None:
    assert _acp("--version").stdout == f"acp-stdio {__version__}\n"
    top = _acp("--help")
    assert top.returncode == 0
    for command in command_line.COMMANDS.keys() - {"probe"}:
        assert command in top.stdout


@pytest.mark.parametrize("command", ["run", "login", "logout", "status"])
def test_each_commands_help_has_an_example_and_the_variables(command: str) -> None:
    done = _acp(command, "--help")
    assert done.returncode == 0, done.stderr
    assert f"acp-stdio {command}" in done.stdout.split("examples:")[1]
    assert "ACP_STDIO_CONFIG" in done.stdout


@pytest.mark.parametrize("argv", [["unknown"], ["login", "--unknown"], ["--conf", "x", "login"]])
def test_a_wrong_word_is_exit_2(argv: list[str]) -> None:
    done = _acp(*argv)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_no_configuration_is_exit_3_and_says_where_it_belongs(home: Path) -> None:
    done = _acp("login")
    assert done.returncode == 3
    assert str(home) in done.stderr
