"""For each person the backend decides the same, asked directly or through acp-stdio; our rules only take away."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from acp_stdio.demo.agent import Agent
from acp_stdio.demo.parts import Parts
from acp_stdio.demo.people import INTERN, SARAH, Person
from acp_stdio.demo.processes import Child
from acp_stdio.demo.stage import Desk
from tests.real.test_demo_servers import Idp, SignIn, ask

pytestmark = pytest.mark.real

QUESTIONS: list[tuple[str, dict[str, str]]] = [
    ("quarterly_report", {"quarter": "Q3"}),
    ("quarterly_report", {"quarter": "Q9"}),
    ("salary", {"person": "ceo"}),
    ("salary", {"person": "nobody"}),
    ("salary", {"wrong": "argument"}),
    ("no_such_tool", {}),
]
RULES = """
[policy]
[[policy.rules]]
effect = "deny"
tool = "salary"
unless = { groups = ["accounting"] }
message = "Pay is for accounting."
"""


@dataclass
class Office:
    parts: Parts
    idp: Idp
    finance: Child
    url: str

    def line(self) -> dict[str, str]:
        """What the backend's log says of the last call, but for its time and request."""
        pairs = dict(pair.split("=", 1) for pair in self.finance.line(30).split() if "=" in pair)
        return {name: pairs[name] for name in ("user", "sub", "agent", "tool", "outcome")}


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    parts = Parts(tmp_path_factory.mktemp("office"))
    with parts.idp() as idp:
        facts: dict[str, Any] = idp.facts()
        with parts.finance_with_tokens(facts["issuer"]) as finance:
            yield Office(parts, Idp(**facts), finance, finance.facts()["url"])


def desk_of(office: Office, person: Person, folder: Path) -> Desk:
    """A computer on which this person is signed in."""
    desk = Desk(person, folder / person.account)
    desk.furnish(office.idp.issuer, office.url)
    office.parts.login(desk)
    return desk


@pytest.mark.parametrize("person", [SARAH, INTERN], ids=lambda person: person.account)
def test_the_backend_decides_the_same_for_a_direct_and_a_relayed_call(
    office: Office, person: Person, tmp_path: Path
) -> None:
    token = SignIn(office.idp, person.account, office.url).tokens()["access_token"]
    desk = desk_of(office, person, tmp_path)
    office.finance.lines_so_far()
    decided: list[tuple[bool, str]] = []
    with office.parts.agent(desk) as agent:
        agent.start()
        for tool, arguments in QUESTIONS:
            direct = ask(office.url, token, tool, **arguments)
            told = [] if tool == "no_such_tool" or "wrong" in arguments else [office.line()]
            relayed = agent.call(tool, **arguments)
            told += [office.line()] if told else []
            assert (relayed.refused, relayed.text, relayed.reason) == (direct.refused, direct.text, "")
            assert told[:1] == told[1:], "its log says the same of both"
            assert all(line["user"] == person.email for line in told)
            decided.append((direct.refused, direct.text))
    assert not office.finance.lines_so_far()
    assert [refused for refused, _ in decided[:3]] == ([False, True, False] if person is SARAH else [True] * 3)


def test_our_rules_take_away_by_the_groups_in_the_token_and_leave_the_rest_to_the_backend(
    office: Office, tmp_path: Path
) -> None:
    with ExitStack() as end:
        agents: dict[str, Agent] = {}
        for person in (SARAH, INTERN):
            desk = desk_of(office, person, tmp_path)
            config = desk.folder / "config" / "config.toml"
            config.write_text(config.read_text(encoding="utf-8") + RULES, encoding="utf-8")
            agents[person.account] = end.enter_context(office.parts.agent(desk))
            agents[person.account].start()
        office.finance.lines_so_far()
        assert "612,000" in agents["sarah"].call("salary", person="ceo").text
        assert office.line()["user"] == SARAH.email
        refused = agents["intern"].call("salary", person="ceo")
        assert (refused.reason, refused.refused) == ("denied", True)
        assert refused.text.endswith("Pay is for accounting.")
        report = agents["intern"].call("quarterly_report", quarter="Q3")
        assert (report.reason, office.line()["user"]) == ("", INTERN.email)
        assert not office.finance.lines_so_far()
