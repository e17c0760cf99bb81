"""`acp-stdio demo` without what it needs."""

import argparse
import json

import pytest

from acp_stdio.cli import demo
from acp_stdio.errors import EXIT_USAGE


@pytest.mark.parametrize("as_json", [True, False])
def test_without_its_servers_one_sentence_says_what_installs_them(
    as_json: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("acp_stdio.cli.demo._NEEDS", ("a_package_that_nobody_has",))
    assert demo.run(argparse.Namespace(json=as_json, quiet=False, verbose=False)) == EXIT_USAGE
    said = capsys.readouterr()
    advice = json.loads(said.out)["error"]["advice"] if as_json else said.err
    assert "pip install 'acp-stdio[demo]'" in advice
