"""`audit`: the trail for people and programs: what was done, whether it is whole, and whether a server saw the same."""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from acp_stdio.audit import forms
from acp_stdio.audit.delivery import undelivered, undelivered_words
from acp_stdio.audit.folder import Folder
from acp_stdio.audit.join import Joined, join
from acp_stdio.audit.reader import Reader, records
from acp_stdio.audit.record import utc
from acp_stdio.audit.verify import LIMITS, Report, verify
from acp_stdio.cli.common import add_common, bind_environment, output_of, settings_of
from acp_stdio.cli.render import Output
from acp_stdio.errors import EXIT_AUDIT, EXIT_OK, Failure
from acp_stdio.settings.durations import seconds

EXAMPLES = """\
  acp-stdio audit tail --follow     what is done in your name, as it happens
  acp-stdio audit show --tool 'get_*' --since 7d --outcome denied
  acp-stdio audit show ID --arguments args.json   were these what was asked?
  acp-stdio audit verify            is it whole? 9 where it is not
  acp-stdio audit export --format ocsf > trail.jsonl      jsonl, ocsf or csv
  acp-stdio audit join . backend.log
      did the server see what left here, and nothing else?
"""
_PAUSE = 0.5
"""Seconds between two looks at a trail that is followed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True)
    tail = actions.add_parser("tail", help="the newest records, one a line")
    tail.add_argument("-n", "--lines", metavar="COUNT", type=int, default=20, help="how many (20)")
    tail.add_argument("-f", "--follow", action="store_true", help="go on as records come")
    show = actions.add_parser("show", help="the records that match, or one of them in full")
    show.add_argument("id", nargs="?", metavar="ID", default="", help="a record's or a call's id")
    show.add_argument("--arguments", metavar="FILE", default="", help="were these (JSON) the call's arguments? 9: no")
    check = actions.add_parser("verify", help="find what was changed, cut, reordered or removed")
    check.add_argument("--anchor", metavar="FILE", action="append", default=[], help="a checkpoint kept elsewhere")
    export = actions.add_parser("export", help="all records that match, for another program")
    export.add_argument("--format", choices=("jsonl", "ocsf", "csv"), default="jsonl", help="the form (jsonl)")
    both = actions.add_parser("join", help="hold the trail against a server's log, by request id")
    both.add_argument("local", metavar="LOCAL", help="a trail's folder, an exported file, or . for your own trail")
    both.add_argument("backend_log", metavar="BACKEND_LOG", help="the server's log, or - for stdin")
    for each in (tail, show, export, both):
        each.add_argument("--since", metavar="TIME", default="", help="only the last, such as 7d")
        each.add_argument("--who", metavar="TEXT", default="", help="only whose name, address or sub has this")
        each.add_argument("--tool", metavar="GLOB", default="", help="only these tools, such as 'get_*'")
        each.add_argument("--upstream", metavar="NAME", default="", help="only this server")
        each.add_argument("--outcome", metavar="WORD", default="", help="only those that ended so, such as denied")
    for each in (tail, show, check, export):
        each.add_argument("--trail", metavar="FOLDER", default="", help="another trail than your own")
    for each in (tail, show, check, export, both):
        each.formatter_class = argparse.RawDescriptionHelpFormatter
        each.epilog = f"examples:\n{EXAMPLES}"
        add_common(each, default=argparse.SUPPRESS)
        bind_environment(each, {})


def run(args: argparse.Namespace) -> int:
    """0 fine, 9 the trail is broken, or both sides do not say the same."""
    out = output_of(args)
    match args.action:
        case "verify":
            return _verify(args, out)
        case "join":
            return _join(args, out)
        case "export":
            return _export(args)
        case "tail":
            return _tail(args, out)
        case _:
            return _show(args, out)


# -- reading ---------------------------------------------------------------------------------------


def _folder(args: argparse.Namespace) -> Folder:
    path = Path(args.trail) if args.trail else settings_of(args, bare=True).audit_dir
    if args.trail and not path.is_dir():
        raise Failure("audit_unavailable", f"There is no folder {path}.", "Name the folder of a trail.")
    return Folder(path)


def _matching(args: argparse.Namespace, found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that the filters let through, by time."""
    from fnmatch import fnmatchcase

    since = utc(time.time() - _seconds(args.since)) if args.since else ""

    def wanted(record: dict[str, Any]) -> bool:
        who = " ".join(str(value) for value in forms.member(record, "user").values()).lower()
        return (
            str(record.get("time", "")) >= since
            and args.who.lower() in who
            and (not args.tool or fnmatchcase(str(record.get("tool", "")), args.tool))
            and args.upstream in ("", record.get("upstream"))
            and args.outcome in ("", record.get("outcome"))
        )

    return sorted(filter(wanted, found), key=lambda record: (str(record.get("time", "")), record["seq"]))


def _seconds(text: str) -> float:
    try:
        return seconds(text)
    except ValueError:
        raise Failure("configuration_invalid", "--since must be a length of time such as 7d or 12h.") from None


def _line(record: dict[str, Any]) -> str:
    user, agent = forms.member(record, "user"), forms.member(record, "agent")
    what = "/".join(filter(None, (record.get("upstream"), record.get("tool") or record.get("method"))))
    parts = [
        str(record["time"]),
        str(record["event"]),
        str(user.get("label") or "-"),
        f"{agent['name']}/{agent.get('version', '')}" if agent.get("name") else "",
        what,
        str(record.get("outcome") or ""),
        str(record.get("reason") or ""),
        f"{record['duration_ms']} ms" if "duration_ms" in record else "",
    ]
    return "  ".join(filter(None, parts))


# -- the actions -----------------------------------------------------------------------------------


def _tail(args: argparse.Namespace, out: Output) -> int:
    reader = Reader(_folder(args))
    newest = _matching(args, reader.new())
    _print(newest[max(0, len(newest) - max(0, args.lines)) :], out)
    while args.follow:
        time.sleep(_PAUSE)
        _print(_matching(args, reader.new()), out)
    return EXIT_OK


def _print(found: Iterable[dict[str, Any]], out: Output) -> None:
    for record in found:
        out.line(json.dumps(record, ensure_ascii=False) if out.json else _line(record))


def _show(args: argparse.Namespace, out: Output) -> int:
    found = _matching(args, records(_folder(args)))
    if args.id:
        found = [record for record in found if args.id in (record["id"], record.get("call"))]
        if not found:
            raise Failure("audit_unavailable", f"The trail has no record {args.id}.", "See `acp-stdio audit tail`.")
    if args.arguments:
        return _same_arguments(args, found, out)
    own = None if args.id or args.trail else settings_of(args, bare=True)
    waiting = undelivered(own.audit, Folder(own.audit_dir)) if own else None
    if out.json:
        out.result("", {"records": found, "delivery": waiting})
    elif args.id:
        out.result("\n".join(json.dumps(record, indent=2, ensure_ascii=False) for record in found), {})
    else:
        _print(found, out)
        if waiting:
            out.talk(f"Of the trail, {undelivered_words(waiting)}.")
    return EXIT_OK


def _same_arguments(args: argparse.Namespace, found: list[dict[str, Any]], out: Output) -> int:
    """Whether what somebody shows is what the record's digest was made of."""
    from acp_stdio.audit.arguments import KEY_FILE, Arguments

    told = next((digest for each in found if (digest := forms.member(each, "arguments").get("digest"))), "")
    key_file = settings_of(args, bare=True).paths.state / KEY_FILE
    if not args.id or not told or not key_file.exists():
        why = "Arguments can be compared with those of one call (ID), whose digest and key are on this computer."
        raise Failure("audit_unavailable", why, "See `acp-stdio audit show` for its id.")
    shown = b'{"arguments":%b}' % _read(args.arguments).encode()
    same = Arguments("digest", key_file).about(shown, 0).get("digest") == told
    out.result("These were the arguments." if same else "These were not the arguments.", {"same": same})
    return EXIT_OK if same else EXIT_AUDIT


def _export(args: argparse.Namespace) -> int:
    found = _matching(args, records(_folder(args)))
    match args.format:
        case "csv":
            rows: Iterable[str] = forms.table(found)
        case "ocsf":
            rows = (json.dumps(forms.ocsf(record), ensure_ascii=False) for record in found)
        case _:
            rows = (msgspec.json.encode(record).decode() for record in found)  # byte for byte what was hashed
    for row in rows:
        sys.stdout.write(row + "\n")
    sys.stdout.flush()
    return EXIT_OK


def _verify(args: argparse.Namespace, out: Output) -> int:
    from acp_stdio.vault.device_key import published, thumbprint

    folder = _folder(args)
    public = published(settings_of(args, bare=True).paths.state)
    anchors = [word for name in args.anchor for word in _read(name).split()]

    def progress(done: int, of: int) -> None:
        if sys.stderr.isatty() and not out.quiet and done % 50 == 0:
            sys.stderr.write(f"\r{done} of {of} files" + ("\r\x1b[K" if done + 50 > of else ""))

    report = verify(folder, public, anchors, progress)
    report.key = thumbprint(public) if public else ""
    out.result(_verdict(folder, report), _as_json(report))
    return EXIT_AUDIT if report.findings else EXIT_OK


def _verdict(folder: Folder, report: Report) -> str:
    lines = [finding.words() for finding in report.findings]
    if lines:
        lines = [f"The trail in {folder.path} is NOT as it was written:", *lines]
    else:
        lines = [f"The trail in {folder.path} is whole: {report.records} records in {report.chains} files."]
    if report.removed_after is not None:
        days = report.removed_after / 86_400
        lines.append(
            f"{report.removed} files were removed after their time, the soonest {days:.1f} days after its end."
        )
    if report.unsettled:
        lines.append(f"{report.unsettled} calls have no outcome yet: they run, or the next start writes `unknown`.")
    if report.checkpoints:
        checked = f"with {report.key}" if report.key else "but there is no device-key.json to check them with"
        lines.append(f"Signed {report.checkpoints} times {checked}, the last time at {report.signed_at};")
        lines.append(f"{report.unsigned} records are newer than that and could be cut off without a trace.")
    else:
        lines.append("Nothing is signed yet: the end could be cut off, or all of it rewritten, without a trace.")
    return "\n".join([*lines, LIMITS])


def _as_json(report: Report) -> dict[str, Any]:
    return {
        "whole": not report.findings,
        "findings": [{"file": each.file, "record": each.record, "why": each.why} for each in report.findings],
        "files": report.chains,
        "records": report.records,
        "removed_files": report.removed,
        "removed_youngest_seconds": report.removed_after,
        "unsettled_calls": report.unsettled,
        "checkpoints": report.checkpoints,
        "signed_at": report.signed_at or None,
        "unsigned_records": report.unsigned,
        "key": report.key or None,
        "checkpoint": report.checkpoint or None,
        "limits": LIMITS,
    }


def _join(args: argparse.Namespace, out: Output) -> int:
    local = _matching(args, _local(args))
    text = sys.stdin.read() if args.backend_log == "-" else _read(args.backend_log)
    joined = join(local, text.splitlines())
    out.result(_joined_words(joined), _joined_json(joined))
    return EXIT_OK if joined.clean else EXIT_AUDIT


def _local(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    if args.local == "." or Path(args.local).is_dir():
        own = args.local == "."
        yield from records(Folder(settings_of(args, bare=True).audit_dir if own else Path(args.local)))
        return
    for number, line in enumerate(_read(args.local).splitlines(), 1):
        try:
            record = json.loads(line)
            yield {**record, "seq": int(record["seq"])}
        except (ValueError, KeyError, TypeError):
            why = f"{args.local}, line {number} is no record of a trail."
            raise Failure("audit_unavailable", why, "Export one with `acp-stdio audit export`.") from None


def _joined_words(joined: Joined) -> str:
    told = [f"{len(joined.matched)} calls are in the trail and in the server's log."]
    for title, found in (
        ("Only in the trail (not arrived, or the server's log leaves them out):", map(_line, joined.only_local)),
        ("Only in the server's log (somebody goes round this trail, or it is another person's):", joined.only_backend),
    ):
        some = [f"  {each}" for each in itertools.islice(found, 100)]
        told += [title, *some] if some else []
    return "\n".join(told)


def _joined_json(joined: Joined) -> dict[str, Any]:
    return {
        "clean": joined.clean,
        "matched": [{"record": record, "line": line} for record, line in joined.matched],
        "only_local": joined.only_local,
        "only_backend": joined.only_backend,
    }


def _read(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8", errors="replace")
    except OSError as e:
        raise Failure(
            "audit_unavailable", f"{name} cannot be read: {e.strerror}.", "Name a file that is there."
        ) from None
