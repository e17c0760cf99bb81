"""`check-backend`: does this server know who is asking? The report is for its developers, and for security."""

import argparse
import json
import shutil
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from acp_stdio import __version__
from acp_stdio.audit.record import event_record, user_of, utc
from acp_stdio.audit.trail import Trail
from acp_stdio.cli.common import account_words, output_of, settings_of
from acp_stdio.cli.render import Output, clean
from acp_stdio.errors import Failure
from acp_stdio.identity.model import Session
from acp_stdio.settings.model import Settings, UpstreamSettings
from acp_stdio.tokens.sign_ins import settings_of as sign_in_of

if TYPE_CHECKING:
    from acp_stdio.identity.model import AccessToken
    from acp_stdio.probe.examine import Person
    from acp_stdio.probe.finding import Report
    from acp_stdio.probe.visit import Question

EXAMPLES = """\
  acp-stdio check-backend finance
  acp-stdio check-backend finance --log /var/log/finance.log \\
      --tool quarterly_report --arguments '{"quarter":"Q3"}'
  acp-stdio check-backend finance --wait 600
      wait until your token has expired, and try it then
  acp-stdio check-backend finance --api-key-file old.key
      is the shared key still good, and whom does it name?
  acp-stdio check-backend finance --json > report.json

Asks for the list of tools and nothing else, unless you name a tool.
Exit code 10: the server failed."""
_EVENT = "backend.check"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="TARGET", help="the server: its name in the configuration, or its address")
    parser.add_argument("--log", metavar="FILE", help="the server's log: your call must be in it, with your name")
    parser.add_argument("--tool", metavar="NAME", default="", help="call this harmless tool in place of tools/list")
    parser.add_argument("--arguments", metavar="JSON", default="", help="the arguments for --tool")
    parser.add_argument("--other-profile", metavar="NAME", default="", help="also as who is signed in there")
    parser.add_argument("--foreign", metavar="NAME", default="", help="show it your token for that server, too")
    parser.add_argument("--api-key-file", metavar="FILE", help="try the shared key in this file, too")
    parser.add_argument("--wait", metavar="SECONDS", type=float, default=0.0, help="to see an expired token refused")


def run(args: argparse.Namespace) -> int:
    """0 where the server let in only whom it should, 10 where it did not; else the code of what kept us from asking."""
    from acp_stdio.oauth.presets import preset_of
    from acp_stdio.probe.backend_log import BackendLog
    from acp_stdio.probe.examine import Case, examine
    from acp_stdio.probe.finding import Report
    from acp_stdio.probe.prepare import person, published_keys, signed_in

    out = output_of(args)
    question = _question(args)
    settings, upstream, whole = _target(args)
    started = time.time()
    log = BackendLog(Path(args.log).expanduser()) if args.log else None
    shared_key = _key_file(args)

    def record(whose: Settings, session: Session) -> str:
        """No record, no call."""
        about = {"upstream": upstream.name, "method": "tools/call" if args.tool else "tools/list", "tool": args.tool}
        event = event_record(_EVENT, user=user_of(session.account), now=time.time(), about=about)
        with Trail(whose.audit_dir) as trail:
            trail.append(event)
        return str(event["id"])

    def progress(what: str) -> None:
        if sys.stderr.isatty():
            out.talk(f"trying {what} ...")

    session = signed_in(settings)
    own = person(settings, upstream, record)
    _permitted(settings, question, own)
    other = _other(args, upstream, record)
    foreign, missing = _foreign(whole, upstream, args.foreign)
    case = Case(
        upstream=upstream,
        network=settings.network,
        preset=preset_of(settings.identity),
        issuer=session.issuer,
        question=question,
        own=own,
        keys=published_keys(settings, session.issuer, own.token.value),
        foreign=foreign,
        foreign_missing=missing,
        other=other,
        shared=replace(own.token, value=shared_key, claims={}) if shared_key else None,
        log=log,
        wait=args.wait,
        progress=progress,
    )
    era, findings = examine(case)
    who = account_words(own.account)
    report = Report(
        upstream.name, upstream.url, who, session.issuer, era, question.words, utc(started), tuple(findings)
    )
    out.result(_words(report, out), report.to_json())
    return report.exit_code


def _target(args: argparse.Namespace) -> tuple[Settings, UpstreamSettings, Settings]:
    """The settings with the one server's sign-in at hand, the server, and the settings with all servers."""
    args.targets = [args.target]
    settings = settings_of(args)
    (upstream,) = settings.upstreams.values()
    if upstream.transport in ("stdio", "sse"):
        how = {"stdio": "a program on this computer", "sse": "reached over the transport of MCP 2024-11-05"}
        said = f"{upstream.name} is {how[upstream.transport]}; this checks servers over Streamable HTTP."
        raise Failure("configuration_invalid", said)
    whole = settings
    if settings.config_file is not None:
        args.targets = []
        whole = settings_of(args)
        whole.upstreams.setdefault(upstream.name, upstream)
    return sign_in_of(settings, upstream), upstream, whole


def _permitted(settings: Settings, question: "Question", own: "Person") -> None:
    """The rules that hold for an agent hold here too. Raises `Failure(denied)`."""
    if settings.policy is None or not question.tool:
        return
    from acp_stdio.policy.decide import decide
    from acp_stdio.policy.rules import Agent, Facts
    from acp_stdio.runtime.gate import clock

    claims = {**own.token.person, **own.token.claims}
    agent = Agent("acp-stdio-check", __version__, "")
    facts = Facts(own.token.upstream, "tools/call", question.tool, question.arguments, claims, agent, clock)
    decision = decide(settings.policy, facts)
    if not decision.allowed:
        why = f"Nothing was sent. The rules on this computer do not allow {question.tool} of {own.token.upstream}."
        raise Failure("denied", f"{why} {decision.message}".strip(), "Name a harmless tool that they allow.")


def _question(args: argparse.Namespace) -> "Question":
    from acp_stdio.probe.visit import Question

    try:
        arguments: object = json.loads(args.arguments or "{}")
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict) or (args.arguments and not args.tool):
        raise Failure("configuration_invalid", "--arguments wants a JSON object, and --tool beside it.")
    return Question(args.tool, cast("dict[str, Any]", arguments))


def _key_file(args: argparse.Namespace) -> Any:
    from acp_stdio.secrets import Secret

    if not args.api_key_file:
        return None
    try:
        text = Path(args.api_key_file).expanduser().read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not plain text"
        raise Failure("configuration_invalid", f"The key file {args.api_key_file} cannot be read: {why}.") from None
    if not text or not text.isprintable() or " " in text:
        raise Failure("configuration_invalid", f"{args.api_key_file} holds no key: one word on one line is wanted.")
    return Secret(text)


def _other(args: argparse.Namespace, upstream: UpstreamSettings, record: Any) -> "Person | None":
    from acp_stdio.probe.prepare import person

    if not args.other_profile:
        return None
    theirs = argparse.Namespace(**{**vars(args), "profile": args.other_profile, "targets": [args.target]})
    settings = settings_of(theirs)
    try:
        return person(settings, settings.upstreams[upstream.name], record)
    except Failure as failure:
        said = f"Profile {args.other_profile}: {failure.message}"
        raise Failure(failure.reason, said, f"acp-stdio login --profile {args.other_profile}") from None


def _foreign(whole: Settings, upstream: UpstreamSettings, named: str) -> "tuple[tuple[str, AccessToken] | None, str]":
    from acp_stdio.probe.prepare import token_for_somebody_else

    try:
        return token_for_somebody_else(whole, upstream, named), ""
    except Failure as failure:
        if named:
            raise
        return None, f"there is none to try: {failure.message}"


def _words(report: "Report", out: Output) -> str:
    """One block a finding, as wide as the terminal; `--quiet` leaves out what is well."""
    width = min(shutil.get_terminal_size((80, 24)).columns, 120)

    def block(text: str, first: str, rest: str) -> list[str]:
        return textwrap.wrap(clean(text), width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)

    lines = block(f"{report.target}: {report.url}", "", "  ")
    lines += block(f"as {report.account}, with {report.tried} (MCP {report.era}), {report.time}", "", "  ")
    lines.append("")
    for each in report.findings:
        if out.quiet and each.state in ("pass", "info"):
            continue
        state = "FAIL" if each.state == "fail" else each.state
        lines += block(f"{each.name}: {each.said}", f"{state:<12}", " " * 12)
        if each.advice and each.state in ("fail", "warning"):
            lines += block(f"→ {each.advice}", " " * 12, " " * 14)
    states = [each.state for each in report.findings]
    counted = ", ".join(f"{states.count(state)} {state}" for state in ("pass", "fail", "not tested"))
    return "\n".join([*lines, "", counted, *block(f"next: {report.next}", "", "  ")])
