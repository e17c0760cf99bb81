"""`python -m acp_stdio.doctor.inside NAMES OPTIONS…`: some checks again, from a smaller environment."""

import argparse
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from acp_stdio.doctor.check import Case, bounded
from acp_stdio.doctor.finding import Finding, failed
from acp_stdio.doctor.plan import CONFIGURATION, plan
from acp_stdio.errors import Failure
from acp_stdio.settings.load import load
from acp_stdio.settings.paths import user_paths

_LIMIT: Final = 9.0
"""Seconds for each check; they run side by side."""


def depends(name: str) -> bool:
    """Whether the check's outcome may hang on variables that hosts do not hand on."""
    return name in (CONFIGURATION, "directories", "keyring", "trail") or name.endswith("/network")


def look(names: list[str], config: str, profile: str, targets: list[str]) -> dict[str, Finding]:
    """The findings of the checks in `names`, from this process's environment."""
    try:
        settings = load(config=Path(config) if config else None, profile=profile, targets=targets, environ=os.environ)
    except Failure as failure:
        return {CONFIGURATION: failed(failure, config=str(user_paths(os.environ).config))}
    case = Case(settings, os.environ, processes=lambda _: ())
    checks = [replace(check, limit=_LIMIT) for check in plan(settings) if check.name in names]
    with ThreadPoolExecutor(max(1, len(checks))) as pool:
        found = {check.name: pool.submit(bounded, check, case) for check in checks}
        return {name: finding.result() for name, finding in found.items()}


def main(argv: list[str]) -> None:
    """Prints the findings as one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", type=json.loads)
    parser.add_argument("--config", default="")
    parser.add_argument("--profile", default="")
    parser.add_argument("targets", nargs="*")
    args = parser.parse_args(argv)
    found = look(args.names, args.config, args.profile, args.targets)
    sys.stdout.write(json.dumps({name: asdict(finding) for name, finding in found.items()}))


if __name__ == "__main__":
    main(sys.argv[1:])
