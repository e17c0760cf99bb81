"""`tools`: what the servers' tools said when they were first seen, what changed since, and accepting it."""

import argparse
import os
import time
from typing import Any

from acp_stdio.audit.record import event_record, user_of
from acp_stdio.audit.trail import Trail
from acp_stdio.cli.common import add_common, bind_environment, output_of, settings_of
from acp_stdio.cli.render import Output
from acp_stdio.errors import EXIT_OK, Failure
from acp_stdio.policy.pins import Pin, diff, differing, digest, visible
from acp_stdio.runtime.pins import Pins
from acp_stdio.settings.model import Settings
from acp_stdio.tokens.session_file import SessionFile

EXAMPLES = """\
  acp-stdio tools                       what is pinned, and what changed
  acp-stdio tools diff                  the changes that nobody has accepted
  acp-stdio tools accept finance transfer
  acp-stdio tools accept --all
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION")
    listing = actions.add_parser("list", help="each tool and whether it changed (also without an action)")
    show = actions.add_parser("diff", help="the changes that nobody has accepted, line by line")
    accept = actions.add_parser("accept", help="take what the tools say now for right")
    accept.add_argument("--all", action="store_true", help="all tools that changed")
    for each in (listing, show, accept):
        each.add_argument("upstream", nargs="?", metavar="UPSTREAM", help="only this server (default: all)")
        each.add_argument("tools", nargs="*", metavar="TOOL", help="only these tools")
        each.formatter_class = argparse.RawDescriptionHelpFormatter
        each.epilog = f"examples:\n{EXAMPLES}"
        add_common(each, default=argparse.SUPPRESS)
        bind_environment(each, os.environ)


def run(args: argparse.Namespace) -> int:
    """0 fine, 3 where the configuration or what is pinned cannot be read."""
    settings, out = settings_of(args), output_of(args)
    wanted = getattr(args, "upstream", None)
    if wanted and wanted not in settings.upstreams:
        known = ", ".join(sorted(settings.upstreams)) or "none"
        raise Failure("configuration_invalid", f"There is no upstream {wanted}; there is {known}.", "")
    chosen = [one for name, one in settings.upstreams.items() if wanted in (None, name)]
    found = {one.name: Pins(settings.state_dir, one.name, one.url) for one in chosen}
    names: list[str] = getattr(args, "tools", [])
    match args.action:
        case "accept":
            return _accept(found, names, settings, out, everything=args.all)
        case "diff":
            return _diff(found, names, out)
        case _:
            return _list(found, names, out)


def _chosen(pins: Pins, names: list[str]) -> dict[str, Pin]:
    return {name: pin for name, pin in sorted(pins.current().items()) if not names or name in names}


def _list(found: dict[str, Pins], names: list[str], out: Output) -> int:
    lines: list[str] = []
    data: list[dict[str, Any]] = []
    for upstream, pins in found.items():
        for name, pin in _chosen(pins, names).items():
            state = f"changed: {', '.join(differing(pin))}" if pin.changed is not None else "as accepted"
            lines.append(f"{upstream}  {visible(name)}  {state}  (since {pin.since})")
            data.append(_facts(upstream, name, pin))
    out.result("\n".join(lines) or "No tools have been seen yet.", {"tools": data})
    return EXIT_OK


def _diff(found: dict[str, Pins], names: list[str], out: Output) -> int:
    lines: list[str] = []
    data: list[dict[str, Any]] = []
    for upstream, pins in found.items():
        for name, pin in _chosen(pins, names).items():
            if pin.changed is not None:
                lines += [f"{upstream}  {visible(name)}", diff(pin), ""]
                data.append({**_facts(upstream, name, pin), "diff": diff(pin)})
    if lines:
        lines.append("To accept: `acp-stdio tools accept`, with UPSTREAM and TOOL, or --all.")
    out.result("\n".join(lines) or "Nothing has changed.", {"changed": data})
    return EXIT_OK


def _facts(upstream: str, name: str, pin: Pin) -> dict[str, Any]:
    return {
        "upstream": upstream,
        "tool": name,
        "since": pin.since,
        "accepted": digest(pin.accepted),
        "now": digest(pin.changed) if pin.changed is not None else digest(pin.accepted),
        "changed": differing(pin),
    }


def _accept(found: dict[str, Pins], names: list[str], settings: Settings, out: Output, *, everything: bool) -> int:
    if not names and not everything:
        raise Failure("configuration_invalid", "Name UPSTREAM and TOOL, or say --all.", "See `acp-stdio tools diff`.")
    data: list[dict[str, Any]] = []
    for upstream, pins in found.items():
        before = dict(pins.current())
        done = pins.accept(list(pins.changed) if everything else names)
        data += [_facts(upstream, name, before[name]) for name in done]
    if data:
        _record(settings, data, out)
    said = "\n".join(f"Accepted: {visible(one['tool'])} of {one['upstream']}." for one in data)
    out.result(said or "None of these has changed.", {"accepted": data})
    return EXIT_OK


def _record(settings: Settings, accepted: list[dict[str, Any]], out: Output) -> None:
    """Puts it into the trail; it is done by then, so a full disk is only said."""
    session = SessionFile(settings.state_dir).read()
    user = user_of(session.account) if session is not None and session.signed_in else None
    try:
        with Trail(settings.audit_dir) as trail:
            for one in accepted:
                change = {"from": one["accepted"], "to": one["now"], "parts": one["changed"]}
                about = {"upstream": one["upstream"], "tool": one["tool"], "change": change}
                trail.append(event_record("tool.accepted", user=user, now=time.time(), about=about))
    except Failure as failure:
        out.warn(f"{failure.message} {failure.advice}")
