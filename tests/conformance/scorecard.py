"""How many scenarios pass: a table for the README, and every verdict for whoever asked."""

from collections.abc import Mapping

from tests.conformance import suite
from tests.conformance.suite import ROOT, Leg, Verdict

BEGIN = "<!-- The scorecard is written by scripts/conformance --readme -->"
END = "<!-- end of the scorecard -->"
_LIST = "tests/conformance/expected_failures.toml"
_TITLES: dict[Leg, str] = {
    "server": "As a server: the suite's client reaches a server through `acp-stdio run`",
    "client": "As a client: a host reaches the suite's servers through `acp-stdio run`",
}

Verdicts = Mapping[tuple[Leg, str], Mapping[str, Verdict]]


def text(found: Verdicts) -> str:
    """Every scenario, and a line for each list."""
    lines: list[str] = []
    for (leg, revision), verdicts in found.items():
        expected = suite.expected_failures(leg, revision)
        for name, verdict in verdicts.items():
            word = "passes" if verdict.passed else "FAILS" if name not in expected else "fails, as expected"
            lines.append(f"{leg} {revision} {name}: {word}{'' if verdict.required else ' (unscored)'}")
            lines += [f"    {complaint}" for complaint in verdict.complaints if name not in expected]
    lines += [f"{leg} {revision}: {_score(verdicts)}" for (leg, revision), verdicts in found.items()]
    return "".join(f"{line}\n" for line in lines)


def _score(verdicts: Mapping[str, Verdict]) -> str:
    """Such as `30 of 30`: those that the revision requires."""
    required = [verdict for verdict in verdicts.values() if verdict.required]
    return f"{sum(verdict.passed for verdict in required)} of {len(required)}"


def table(found: Verdicts) -> str:
    """The README's table; only legs that were run."""
    legs: list[Leg] = [leg for leg in suite.LEGS if any(leg == name for name, _ in found)]
    rows = [
        f"| MCP conformance suite {suite.version()}, required scenarios ([what fails, and why]({_LIST})) "
        f"| {' | '.join(suite.REVISIONS)} |",
        f"|---|{'---|' * len(suite.REVISIONS)}",
        *(
            f"| {_TITLES[leg]} | {' | '.join(_score(found[leg, revision]) for revision in suite.REVISIONS)} |"
            for leg in legs
        ),
    ]
    return "".join(f"{row}\n" for row in rows)


def placed(readme: str, table: str) -> str:
    """The README with this table between the two marks. Raises `ValueError` where they are not there."""
    before, begin, rest = readme.partition(f"{BEGIN}\n")
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the README has no place for the scorecard")
    return before + begin + table + end + after


def write(found: Verdicts) -> None:
    """Writes the table into the README."""
    path = ROOT / "README.md"
    path.write_text(placed(path.read_text(encoding="utf-8"), table(found)), encoding="utf-8")
