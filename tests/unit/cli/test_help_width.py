"""The help of each command fits into a terminal of 80 columns."""

import pytest

from acp_stdio.cli import main as command_line


@pytest.mark.parametrize("command", ["", *command_line.COMMANDS])
def test_no_line_of_the_help_is_broken_by_the_terminal(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        command_line.main([*command.split(), "--help"])
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 3
    assert [line for line in lines if len(line) > 80] == []
