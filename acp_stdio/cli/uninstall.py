"""`uninstall`: takes our entries out of a host's configuration, and nothing else."""

import argparse
from typing import Any

from acp_stdio.cli.common import output_of
from acp_stdio.errors import EXIT_OK
from acp_stdio.hosts import plan
from acp_stdio.hosts.known import BY_NAME, places, this_machine

EXAMPLES = """\
  acp-stdio uninstall claude-desktop
  acp-stdio uninstall claude-desktop --dry-run
"""
STAYS = "Your sign-in and the audit trail stay; `acp-stdio logout` ends the sign-in."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("hosts", nargs="+", metavar="HOST", choices=list(BY_NAME), help=", ".join(BY_NAME))
    parser.add_argument("--dry-run", action="store_true", help="show what would change, and change nothing")


def run(args: argparse.Namespace) -> int:
    """0 done or nothing there, 3 a file that cannot be understood; then nothing at all was changed."""
    out = output_of(args)
    machine = this_machine()
    hosts = [BY_NAME[name] for name in dict.fromkeys(args.hosts)]
    changes = [plan.uninstall(plan.look(host, path)) for host in hosts for path in places(host, machine)]
    texts: list[str] = []
    rows: list[dict[str, Any]] = []
    for change in changes:
        path, difference = change.config.snapshot.path, change.diff()
        backup = None if args.dry_run else change.apply()
        said = f"removed {', '.join(change.entries)}" if change.changed else "no entry of ours"
        texts.append(f"{change.config.host.title}: {said} ({path})")
        if backup:
            out.talk(difference)
            texts.append(f"The file as it was: {backup}")
        elif difference:
            texts[-1] = f"{difference}\nNothing was changed."
        rows.append(
            {
                "host": change.config.host.name,
                "path": str(path),
                "changed": change.changed and not args.dry_run,
                "entries": dict(change.entries),
                "backup": str(backup) if backup else None,
                "diff": difference,
            }
        )
    named = {change.config.host for change in changes}
    texts += [
        f"{host.title}: not found on this computer, so there is nothing to remove."
        for host in hosts
        if host not in named
    ]
    if not args.dry_run and any(change.changed for change in changes):
        texts += [STAYS, *dict.fromkeys(change.config.host.reopen for change in changes if change.changed)]
    out.result("\n".join(texts), {"dry_run": bool(args.dry_run), "files": rows})
    return EXIT_OK
