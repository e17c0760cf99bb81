"""How many scenarios pass: a table for the README, and every verdict for whoever asked."""

from collections.abc import Mapping

from tests.conformance import suite
from tests.conformance.suite import ROOT, Row, Verdict

BEGIN = "<!-- The scorecard is written by scripts/conformance --readme -->"
END = "<!-- end of the scorecard -->"
_LIST = "tests/conformance/expected_failures.toml"
_TITLES: dict[Row, str] = {
    "server": "As a server: the suite's client reaches a server through `acp-stdio run`",
    "client": "As a client: a host reaches the suite's servers through `acp-stdio run`",
    "backcompat": "As a client, before servers that have people sign in as in 2025-03-26",
    "crossed-server": "As a server, before one of the other era alone",
    "crossed-client": "As a client, for a host of the other era alone, without the sign-in",
}

Verdicts = Mapping[tuple[Row, str], Mapping[str, Verdict]]


def text(found: Verdicts) -> str:
    """Every scenario, and a line for each list."""
    lines: list[str] = []
    for (row, revision), verdicts in found.items():
        expected = suite.expected_failures(row, revision)
        for name, verdict in verdicts.items():
            word = "passes" if verdict.passed else "FAILS" if name not in expected else "fails, as expected"
            lines.append(f"{row} {revision} {name}: {word}{'' if verdict.required else ' (unscored)'}")
            lines += [f"    {complaint}" for complaint in verdict.complaints if name not in expected]
    lines += [f"{row} {revision}: {_score(verdicts)}" for (row, revision), verdicts in found.items()]
    return "".join(f"{line}\n" for line in lines)


def _score(verdicts: Mapping[str, Verdict]) -> str:
    """Such as `30 of 30`: those that the revision requires."""
    required = [verdict for verdict in verdicts.values() if verdict.required]
    return f"{sum(verdict.passed for verdict in required)} of {len(required)}"


def table(found: Verdicts, former: str = "") -> str:
    """The README's table. Of legs that were not run it keeps the line of the `former` one."""
    rows = [
        f"| MCP conformance suite {suite.version()}, required scenarios ([what fails, and why]({_LIST})) "
        f"| {' | '.join(suite.REVISIONS)} |",
        f"|---|{'---|' * len(suite.REVISIONS)}",
        *(line for row in suite.ROWS for line in _lines(row, found, former)),
    ]
    return "".join(f"{row}\n" for row in rows)


def _lines(row: Row, found: Verdicts, former: str) -> list[str]:
    if any(row == name for name, _ in found):
        return [f"| {_TITLES[row]} | {' | '.join(_score(found[row, revision]) for revision in suite.REVISIONS)} |"]
    return [line for line in former.splitlines() if line.startswith(f"| {_TITLES[row]} |")]


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
    readme = path.read_text(encoding="utf-8")
    path.write_text(placed(readme, table(found, readme)), encoding="utf-8")
