"""`doctor`: checks everything real on this machine, and ends in one next step."""

import argparse
import os
import sys

from acp_stdio.cli.common import output_of
from acp_stdio.cli.render import Output
from acp_stdio.cli.status import live_processes
from acp_stdio.doctor.examination import Request, examine_all
from acp_stdio.doctor.finding import redacted
from acp_stdio.doctor.report import Report

EXAMPLES = """\
  acp-stdio doctor
  acp-stdio doctor finance          only this upstream
  acp-stdio doctor --json           for a question to somebody: no tokens in it
  acp-stdio doctor --unlock         the keyring may ask for its pass phrase
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="only these upstreams (default: all)")
    parser.add_argument("--unlock", action="store_true", help="let a locked keyring ask you, in a terminal only")


def run(args: argparse.Namespace) -> int:
    """0 where nothing is broken; else the class of the first problem."""
    out = output_of(args)
    request = Request(
        environ=os.environ,
        processes=live_processes,
        config=args.config or "",
        profile=args.profile or "",
        targets=tuple(args.targets),
        may_prompt=bool(args.unlock) and sys.stdin.isatty() and sys.stderr.isatty(),
    )

    def progress(name: str) -> None:
        if sys.stderr.isatty():
            out.talk(f"checking {name} ...")

    report = examine_all(request, progress)
    out.result(_words(report, out), report.to_json())
    return report.exit_code


def _words(report: Report, out: Output) -> str:
    """One block a finding; `--quiet` leaves out what is well."""
    width = max(map(len, report.found), default=0)
    lines: list[str] = []
    for name, finding in report.found.items():
        if out.quiet and finding.state == "ok":
            continue
        first, *more = redacted(finding.message).split("\n")
        lines.append(f"{finding.state:<8} {name:<{width}}  {first}")
        lines += [f"{'':<{width + 11}}{line}" for line in more]
        if finding.next and redacted(finding.next) != report.next:
            lines.append(f"{'':<{width + 11}}{redacted(finding.next).splitlines()[0]}")
    return "\n".join([*lines, "", f"next: {report.next}"])
