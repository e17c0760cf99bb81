"""Completion offers every command and flag that there is, in a real bash where one is here."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from acp_stdio.cli import completion
from acp_stdio.cli.main import COMMANDS, main


def completed(script: Path, *words: str) -> list[str]:
    """What bash offers for the last of these words."""
    asked = f"source {script}; COMP_WORDS=({' '.join(f'{word!r}' for word in words)}); COMP_CWORD={len(words) - 1}; "
    done = subprocess.run(
        ["bash", "--norc", "-c", asked + '_acp_stdio; printf "%s\\n" "${COMPREPLY[@]}"'],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.split()


@pytest.fixture
def script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["completion", "bash"]) == 0
    path = tmp_path / "acp-stdio"
    path.write_text(capsys.readouterr().out)
    return path


@pytest.mark.skipif(sys.platform == "win32" or not shutil.which("bash"), reason="needs bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("acp-stdio", "log"), ["login", "logout"]),
        (("acp-stdio", "--config", "login", "check"), ["check-backend"]),
        (("acp-stdio", "login", "--dev"), ["--device"]),
        (("acp-stdio", "--json", "completion", "f"), ["fish"]),
        (("acp-stdio", "nonsense", ""), []),
    ],
)
def test_bash_offers_what_fits(script: Path, words: tuple[str, ...], offered: list[str]) -> None:
    assert completed(script, *words) == offered


@pytest.mark.skipif(sys.platform == "win32" or not shutil.which("bash"), reason="needs bash")
def test_bash_offers_every_command(script: Path) -> None:
    assert set(COMMANDS) <= set(completed(script, "acp-stdio", ""))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_is_told_every_command_and_flag(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    told = capsys.readouterr().out
    for command in completion.commands():
        assert command.name in told
        for flag in command.flags:
            assert (flag.name if shell != "fish" else f" -l {flag.name[2:]} ") in told
    assert all(line.count("'") % 2 == 0 for line in told.splitlines())


def test_another_shell_is_a_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["completion", "tcsh"])
    assert ended.value.code == 2
    assert "bash" in capsys.readouterr().err
