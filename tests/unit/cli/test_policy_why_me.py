"""`policy why --as me`: the claims are those that a call of this person would have, from a token fetched for it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from acp_stdio.cli.main import main
from acp_stdio.login.each import sign_in
from acp_stdio.login.flow import Choices
from acp_stdio.settings import managed
from acp_stdio.settings.load import load
from tests.kit import human, leaks
from tests.kit.scripted_idp import Form, ScriptedIdp
from tests.kit.signing_in import Machine, bare_upstream

RULES = """
[policy]
[[policy.rules]]
id = "finance-only"
effect = "deny"
tool = "transfer"
unless = { groups = ["finance"] }
"""


class _Grouping(ScriptedIdp):
    """Puts people into groups, in their access tokens."""

    groups = "staff"

    def access_claims(self, user: str, form: Form) -> dict[str, Any]:
        return {**super().access_claims(user, form), "groups": [self.groups]}


@pytest.fixture
def idp() -> Iterator[_Grouping]:
    with _Grouping() as idp:
        yield idp
        leaks.remember(*idp.issued)


@pytest.fixture
def machine(tmp_path: Path, idp: ScriptedIdp, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """A desk with rules, at which nobody has signed in yet."""
    monkeypatch.setattr(managed, "PLACE", tmp_path / "none")
    with bare_upstream() as upstream:
        machine = Machine(tmp_path / "home", idp.issuer, upstream)
        config = machine.home / "config" / "config.toml"
        config.write_text(config.read_text(encoding="utf-8") + RULES, encoding="utf-8")
        for name, value in machine.environment.items():
            monkeypatch.setenv(name, value)
        yield machine


def why(capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["policy", "why", "finance", "transfer", "--as", "me", "--json"])
    said = capsys.readouterr()
    told = json.loads(said.out)
    return code, told["decision"], told["rule"]


def test_the_groups_of_ones_own_token_decide_as_they_are_now(
    machine: Machine, idp: _Grouping, capsys: pytest.CaptureFixture[str]
) -> None:
    def opens(url: str) -> bool:
        human.sign_in(url, "alice")
        return True

    (outcome,) = sign_in(load(environ=machine.environment), Choices(opener=opens), lambda _: None)
    outcome.result()
    assert why(capsys) == (7, "deny", "user/finance-only")
    idp.groups = "finance"
    assert why(capsys) == (0, "allow", "user/default")


@pytest.mark.usefixtures("machine")
def test_nobody_who_has_not_signed_in_is_told_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "why", "finance", "transfer", "--as", "me"]) == 4
    assert "acp-stdio login" in capsys.readouterr().err
