"""`hosts`: which hosts `install` knows, which of them are on this computer, and our entries there."""

import argparse
from pathlib import Path
from typing import Any

from acp_stdio.cli.common import output_of
from acp_stdio.errors import EXIT_OK, Failure
from acp_stdio.hosts.known import HOSTS, Host, places, this_machine
from acp_stdio.hosts.plan import look

EXAMPLES = """\
  acp-stdio hosts
  acp-stdio hosts --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(args: argparse.Namespace) -> int:
    """0, whatever is found: a file that cannot be read is named, not refused."""
    machine = this_machine()
    rows: list[dict[str, Any]] = []
    lines: list[str] = []
    for host in HOSTS:
        files = [_file(host, path) for path in places(host, machine)]
        rows.append({"host": host.name, "title": host.title, "found": bool(files), "files": files})
        lines.append(f"{host.name}: {'' if files else 'not found'}".rstrip())
        lines += [f"  {file['path']}\n    {_words(file)}" for file in files]
    output_of(args).result("\n".join(lines), {"hosts": rows})
    return EXIT_OK


def _file(host: Host, path: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"path": str(path), "exists": path.exists(), "entries": [], "problem": None}
    try:
        row["entries"] = look(host, path).ours
    except Failure as failure:
        row["problem"] = failure.message
    return row


def _words(file: dict[str, Any]) -> str:
    if file["problem"]:
        return str(file["problem"])
    if file["entries"]:
        return f"ours: {', '.join(file['entries'])}"
    return "none of ours yet" if file["exists"] else "no file yet; install would create it"
