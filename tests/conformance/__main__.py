"""`scripts/conformance`: runs the suite, prints a scorecard, and says what is not as it was expected."""

import argparse
import sys
from collections.abc import Mapping

from tests.conformance import client_leg, scorecard, server_leg, suite
from tests.conformance.suite import Row, Verdict

Verdicts = Mapping[tuple[Row, str], Mapping[str, Verdict]]


def verdicts(rows: list[Row]) -> Verdicts:
    """Runs these legs at every revision."""
    found: dict[tuple[Row, str], Mapping[str, Verdict]] = {}
    if "server" in rows:
        with server_leg.signed_in_front() as (url, _):
            for revision in suite.REVISIONS:
                found["server", revision] = server_leg.verdicts(url, revision)
    for revision in suite.REVISIONS:
        if "client" in rows:
            found["client", revision] = client_leg.verdicts(revision)
        if "backcompat" in rows:
            found["backcompat", revision] = client_leg.verdicts(revision, suite.backcompat())
        if "crossed-server" in rows:
            found["crossed-server", revision] = server_leg.crossed(revision)
        if "crossed-client" in rows:
            found["crossed-client", revision] = client_leg.crossed(revision)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/conformance", description=__doc__)
    parser.add_argument("legs", nargs="*", help=f"any of {', '.join(suite.ROWS)}; none means all")
    parser.add_argument("--readme", action="store_true", help="write the scorecard into the README")
    args = parser.parse_args()
    unknown = set(args.legs) - set(suite.ROWS)
    if unknown:
        parser.error(f"there is no leg {', '.join(unknown)}")
    found = verdicts([row for row in suite.ROWS if row in args.legs or not args.legs])
    sys.stdout.write(scorecard.text(found))
    if args.readme:
        scorecard.write(found)
    wrong = [
        f"{row} {revision}: {surprise}"
        for (row, revision), those in found.items()
        for surprise in suite.surprises(those, suite.expected_failures(row, revision))
    ]
    sys.stdout.write("".join(f"{line}\n" for line in wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
