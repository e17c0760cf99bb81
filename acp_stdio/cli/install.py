"""`install`: puts our entry into a host's configuration, after showing what changes."""

import argparse
import os
import sys
from typing import Any

from acp_stdio.cli.common import output_of, settings_of
from acp_stdio.cli.render import Output
from acp_stdio.errors import EXIT_DENIED, EXIT_OK, Failure
from acp_stdio.hosts import plan
from acp_stdio.hosts.entry import Wanted, arguments, environment, is_passing, this_executable
from acp_stdio.hosts.known import BY_NAME, Machine, looked_at, places, this_machine
from acp_stdio.hosts.others import Rival
from acp_stdio.settings.model import Settings, UpstreamSettings
from acp_stdio.tokens.session_file import SessionFile
from acp_stdio.tokens.sign_ins import by_sign_in

EXAMPLES = """\
  acp-stdio install claude-desktop
  acp-stdio install claude-desktop --dry-run
  acp-stdio install claude-desktop cursor --upstream finance
  acp-stdio install claude-desktop --together
  acp-stdio install claude-desktop --replace finance-with-a-key
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("hosts", nargs="+", metavar="HOST", choices=list(BY_NAME), help=", ".join(BY_NAME))
    parser.add_argument(
        "--upstream", dest="targets", metavar="NAME", action="append", default=[], help="only this one (default: all)"
    )
    parser.add_argument(
        "--together",
        action="store_true",
        help="one entry for all of them, whose tools are then named UPSTREAM__TOOL (default: an entry each)",
    )
    parser.add_argument(
        "--replace",
        metavar="ENTRY",
        action="append",
        default=[],
        help="an entry of the host that ours takes the place of",
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would change, and change nothing")


def run(args: argparse.Namespace) -> int:
    """0 done or already there, 3 a file or name stands in the way, 7 the person kept an entry of that name."""
    out = output_of(args)
    settings = settings_of(args)
    machine = this_machine()
    wanted = _wanted(args, settings, machine, out)
    configs = [plan.look(BY_NAME[name], path) for name, path in _found(args.hosts, machine)]
    asking = not (args.dry_run or out.json) and sys.stdin.isatty() and sys.stderr.isatty()
    rivals = [plan.rivals(config, wanted) for config in configs]
    if not asking:
        _nothing_in_the_way(configs, rivals, set(args.replace))
    signed_in = _sign_in(args, settings, out, asking=asking)
    changes: list[plan.Change] = []
    kept = False
    for config, others in zip(configs, rivals, strict=True):
        replace = _agreed(config, others, set(args.replace), out, asking=asking)
        for rival in others:
            if rival.same_name and rival.name not in replace:
                kept = True
                out.warn(f"The entry {rival.name!r} stays, so ours of that name was not installed.")
        changes.append(plan.install(config, wanted, replace))
    texts: list[str] = []
    rows: list[dict[str, Any]] = []
    for change, others in zip(changes, rivals, strict=True):
        text, row = _carry_out(change, others, out, dry_run=bool(args.dry_run))
        texts.append(text)
        rows.append(row)
    if not args.dry_run:
        texts += dict.fromkeys(change.config.host.reopen for change in changes if change.changed)
    out.result("\n".join(texts), {"dry_run": bool(args.dry_run), "signed_in": signed_in, "files": rows})
    return EXIT_DENIED if kept else EXIT_OK


def _wanted(args: argparse.Namespace, settings: Settings, machine: Machine, out: Output) -> list[Wanted]:
    if not settings.upstreams:
        raise Failure(
            "configuration_invalid",
            "The configuration names no upstream, so there is nothing a host could start.",
            "Add a table [upstreams.NAME] with its url.",
        )
    command = this_executable()
    if is_passing(command):
        out.warn(
            f"{command} lies in a cache or a temporary folder, which may be emptied; the host then finds nothing.\n"
            "Better install acp-stdio for good (pipx install, uv tool install, or pip in an environment of its own)."
        )
    config = str(settings.config_file) if args.config and settings.config_file else None
    env = environment(os.environ, machine.home)
    all_of_them = {""} if not args.targets else set[str]()
    several = len(settings.upstreams) > 1

    def entry(name: str, upstreams: list[UpstreamSettings], same: set[str], spare: set[str]) -> Wanted:
        words = [each.url if each.url in args.targets else each.name for each in upstreams]
        if "" in same and several:
            words = []  # a later upstream is served too, without another installation
        return Wanted(
            name=name if settings.profile == "default" else f"{name}-{settings.profile}",
            urls=tuple(each.url for each in upstreams),
            profile=settings.profile,
            targets=frozenset({" ".join(words), *same}),
            command=str(command),
            args=arguments(words, config, settings.profile),
            env=env,
            instead_of=frozenset(spare),
        )

    every = list(settings.upstreams.values())
    if args.together and several:
        singly = {word for each in every for word in (each.name, each.url)}
        return [entry("acp-stdio", every, all_of_them, singly)]
    alone, spare = (set[str](), all_of_them) if several else (all_of_them, set[str]())
    return [entry(each.name, [each], {each.name, each.url, *alone}, spare) for each in every]


def _found(names: list[str], machine: Machine) -> list[tuple[str, Any]]:
    found = {name: places(BY_NAME[name], machine) for name in dict.fromkeys(names)}
    if missing := [name for name, paths in found.items() if not paths]:
        looked = [f"{BY_NAME[name].title}: {place}" for name in missing for place in looked_at(BY_NAME[name], machine)]
        raise Failure(
            "configuration_invalid",
            "\n".join([f"{' and '.join(missing)} not found on this computer. Looked for:", *looked]),
            "Install it and start it once, then run this again; `acp-stdio hosts` shows what is here.",
        )
    return [(name, path) for name, paths in found.items() for path in paths]


def _nothing_in_the_way(configs: list[plan.Config], rivals: list[list[Rival]], replace: set[str]) -> None:
    """Raises `Failure` before anything is written where a name is taken and nobody can be asked."""
    taken = [
        (config, rival.name)
        for config, others in zip(configs, rivals, strict=True)
        for rival in others
        if rival.same_name and rival.name not in replace
    ]
    if taken:
        flags = " ".join(f"--replace {name}" for name in dict.fromkeys(name for _, name in taken))
        raise Failure(
            "configuration_invalid",
            "\n".join(f"{config.snapshot.path} has another entry named {name!r}." for config, name in taken),
            f"Rename it there, or put ours in its place with {flags}. Nothing was changed.",
        )


def _sign_in(args: argparse.Namespace, settings: Settings, out: Output, *, asking: bool) -> bool:
    """Offers a sign-in, so that the host finds the catalogue at its first start; whether there is one now."""
    if _signed_in(settings):
        return True
    if not asking:
        out.talk("You are not signed in. Run `acp-stdio login` before you open the host, so that it finds your tools.")
        return False
    if not _yes("You are not signed in. Sign in now, so that the host finds your tools? [Y/n] ", out, default=True):
        return False
    from acp_stdio.cli import login

    parser = argparse.ArgumentParser()
    login.add_arguments(parser)
    try:
        login.run(parser.parse_args(args.targets, argparse.Namespace(**vars(args))))
    except Failure as failure:
        out.warn(f"{failure.message}\n{failure.advice}\nThe entry is written all the same.")
    return _signed_in(settings)


def _signed_in(settings: Settings) -> bool:
    sessions = [SessionFile(each.session_dir).read() for each in by_sign_in(settings)]
    return all(session is not None and session.signed_in for session in sessions)


def _agreed(config: plan.Config, others: list[Rival], replace: set[str], out: Output, *, asking: bool) -> set[str]:
    """The entries of this file that the person wants replaced. A credential is named by its place only."""
    agreed = set(replace)
    for rival in others:
        if rival.name in agreed:
            continue
        facts = [
            "leads to the same server, without your own token" * rival.same_url,
            "has the name that ours would have" * rival.same_name,
            f"holds what looks like a fixed credential, in {rival.credential}" * bool(rival.credential),
        ]
        words = f"{config.host.title}: the entry {rival.name!r} {', and '.join(filter(None, facts))}."
        if asking and (rival.same_url or rival.same_name):
            if _yes(f"{words} Put ours in its place? [y/N] ", out, default=False):
                agreed.add(rival.name)
        else:
            which = "Put ours in its place" if rival.same_url else "If it is for the same server, put ours in its place"
            out.warn(f"{words} {which} with --replace {rival.name}")
    return agreed


def _yes(question: str, out: Output, *, default: bool) -> bool:
    out.warn(question)
    line = sys.stdin.readline()
    answer = line.strip().lower()
    return answer in ("y", "yes") or (default and bool(line) and not answer)  # an end of input is no answer


def _carry_out(change: plan.Change, others: list[Rival], out: Output, *, dry_run: bool) -> tuple[str, dict[str, Any]]:
    config = change.config
    title, path = config.host.title, config.snapshot.path
    difference = change.diff()
    if config.relaxed and config.host.strict:
        out.warn(f"{path} has comments or trailing commas, which were kept; {title} may refuse to read them.")
    if difference and not dry_run:
        out.talk(difference)
    backup = None if dry_run else change.apply()
    gone = {name for name, outcome in change.entries.items() if outcome in ("replaced", "removed")}
    if backup and any(rival.credential and rival.name in gone for rival in others):
        out.warn(f"The backup {backup} still holds the credential of the entry that was replaced: delete it in time.")
    said = ", ".join(f"{name} {outcome}" for name, outcome in change.entries.items())
    text = f"{title}: {said or 'nothing changed'} ({path})"
    if backup:
        text += f"\nThe file as it was: {backup}"
    if dry_run and difference:
        text = f"{difference}\nNothing was changed."
    return text, {
        "host": config.host.name,
        "path": str(path),
        "changed": change.changed and not dry_run,
        "entries": dict(change.entries),
        "others": [
            {"name": r.name, "same_url": r.same_url, "same_name": r.same_name, "credential": r.credential or None}
            for r in others
        ],
        "backup": str(backup) if backup else None,
        "diff": difference,
    }
