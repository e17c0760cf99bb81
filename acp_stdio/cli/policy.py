"""`policy`: checks the rules, explains one decision, runs a table of cases, replays the trail, signs."""

import argparse
import json
import os
from pathlib import Path
from typing import Any, cast

from acp_stdio.cli import policy_sign
from acp_stdio.cli.common import add_common, bind_environment, output_of, settings_of
from acp_stdio.cli.render import Output, table
from acp_stdio.errors import EXIT_DENIED, EXIT_OK, Failure
from acp_stdio.policy import decide, rules
from acp_stdio.policy.rules import UNKNOWN, Agent, Facts, Policy
from acp_stdio.settings.conditions import DAYS
from acp_stdio.settings.model import Settings
from acp_stdio.settings.policy_cases import METHODS, moment, read_cases
from acp_stdio.settings.policy_files import signed_rules_of

EXAMPLES = """\
  acp-stdio policy check
  acp-stdio policy why finance transfer --arg amount=5000 --as groups=staff
  acp-stdio policy why finance transfer --as me
      with the claims of your token as of now
  acp-stdio policy test cases.toml          what you expect, as a table
  acp-stdio policy test --replay --since 7d
      what today's rules had said to last week's calls
  acp-stdio policy sign rules.toml --key policy.key
      for the administrator: rules that count only as signed
"""

_APPLIES = {True: "applies", False: "no", None: "not known"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="tell every mistake in the rules, with file and line")
    why = actions.add_parser("why", help="explain one decision, rule by rule")
    why.add_argument("upstream", metavar="UPSTREAM", help="the server's name in the configuration")
    why.add_argument("name", metavar="NAME", help="the tool, or what --kind says")
    why.add_argument("--kind", choices=("tool", "prompt", "resource", "method"), default="tool", help="what NAME is")
    why.add_argument(
        "--arg",
        action="append",
        default=list[str](),
        metavar="KEY=VALUE",
        help="an argument, as JSON or text; repeat it",
    )
    why.add_argument("--agent", metavar="NAME", default="", help="the name that the host gives itself")
    why.add_argument("--program", metavar="PATH", default="", help="the program that started acp-stdio")
    why.add_argument("--at", metavar="'DAY HH:MM'", default="", help="when, such as 'mon 09:30'; default: now")
    test = actions.add_parser("test", help="run a table of cases, or replay the trail")
    test.add_argument("file", nargs="?", metavar="FILE", help="a TOML file of [[cases]]")
    test.add_argument("--replay", action="store_true", help="judge the calls that the trail has")
    test.add_argument("--since", metavar="TIME", default="", help="only the last, such as 7d")
    test.add_argument("--trail", metavar="DIRECTORY", default="", help="another trail than your own")
    for each in (why, test):
        said = "what a token says, such as groups=a,b; repeat it" + ("; me: your own" if each is why else "")
        each.add_argument("--as", action="append", default=list[str](), dest="claims", metavar="CLAIM=VALUE", help=said)
    sign = actions.add_parser("sign", help="sign rules, for the administrator")
    policy_sign.add_arguments(sign)
    for each in (check, why, test, sign):
        each.formatter_class = argparse.RawDescriptionHelpFormatter
        each.epilog = f"examples:\n{EXAMPLES}"
        add_common(each, default=argparse.SUPPRESS)
        bind_environment(each, os.environ)


def run(args: argparse.Namespace) -> int:
    """0 fine, 3 the configuration is invalid, 7 denied, or a case came out otherwise than expected."""
    if args.action == "sign":
        return policy_sign.run(args, output_of(args))
    settings, out = settings_of(args), output_of(args)
    policy = settings.policy or Policy()
    match args.action:
        case "check":
            return _check(settings, policy, out)
        case "why":
            return _why(args, settings, policy, out)
        case _:
            if args.replay == bool(args.file):
                raise Failure(
                    "configuration_invalid", "Name a FILE of cases, or --replay.", "See `policy test --help`."
                )
            return _replay(args, settings, policy, out) if args.replay else _test(args, policy, out)


def _check(settings: Settings, policy: Policy, out: Output) -> int:
    """Mistakes have been told by now: reading the settings reads the rules."""
    signed = signed_rules_of(settings)
    layers: list[dict[str, Any]] = [
        {"layer": layer.name, "default": layer.default, "rules": [rule.id for rule in layer.rules]}
        for layer in policy.layers
    ]
    words = [f"{layer.name}: {len(layer.rules)} rules, default {layer.default}" for layer in policy.layers]
    if signed is not None:
        words.append(f"managed: signed by {signed.signer}, serial {signed.serial}, {signed.source.path}")
    elif any(layer.name == "managed" for layer in policy.layers):
        words.append("managed: not signed")
    told = "\n".join([*words, f"version {policy.version}"]) if words else "There are no rules: everything may pass."
    unmet = _unmet(settings, policy)
    for rule in unmet:
        out.warn(f"{rule} is about none of the configured upstreams.")
    by = signed and {"by": signed.signer, "serial": signed.serial, "file": str(signed.source.path)}
    out.result(told, {"version": policy.version, "layers": layers, "signed": by, "without_upstream": unmet})
    return EXIT_OK


def _unmet(settings: Settings, policy: Policy) -> list[str]:
    """Rules about upstreams that are not configured: a name that was mistyped denies nothing."""
    found: list[str] = []
    for layer in policy.layers:
        for rule in layer.rules:
            named = [test for test in rule.about if test.words.startswith("upstream ")]
            if named and not any(named[0].holds(Facts(name, "", "")) for name in settings.upstreams):
                found.append(rule.id)
    return found


def _why(args: argparse.Namespace, settings: Settings, policy: Policy, out: Output) -> int:
    if args.upstream not in settings.upstreams:
        names = ", ".join(sorted(settings.upstreams)) or "none"
        raise Failure("configuration_invalid", f"There is no upstream {args.upstream}; there is {names}.", "")
    clock = moment(args.at) if args.at else _now
    if clock is None:
        raise Failure("configuration_invalid", "--at must be such as 'mon 09:30'.", f"The days are {', '.join(DAYS)}.")
    claims = _own(settings, args.upstream) if args.claims == ["me"] else _pairs(args.claims, "--as", lists=True)
    facts = Facts(
        args.upstream,
        args.name if args.kind == "method" else METHODS[args.kind],
        "" if args.kind == "method" else args.name,
        _pairs(args.arg, "--arg") if args.arg else UNKNOWN,
        claims,
        Agent(args.agent, "", args.program),
        clock,
    )
    decision = decide.decide(policy, facts)
    known = decision.allowed or not decide.could_pass(policy, facts)
    word = "allow" if decision.allowed else "deny" if known else "depends"
    steps = decide.trace(policy, facts)
    data = {
        "decision": word,
        "rule": decision.rule,
        "message": decision.message,
        "version": policy.version,
        "evidence": rules.evidence(policy.agents, facts.agent),
        "limits": [
            {"rule": limit.rule.id, "calls": limit.rate.calls, "seconds": limit.rate.seconds}
            for limit in decision.limits
        ],
        "trace": [
            {"rule": step.rule.id, "effect": step.rule.effect, "applies": step.applies, "because": step.because}
            for step in steps
        ],
    }
    by = f" by {decision.rule}" if decision.rule else ": there are no rules"
    first = {"allow": f"Allowed{by}.", "deny": f"Denied{by}.", "depends": f"Denied{by} unless more is known."}[word]
    rows = [(step.rule.id, f"{step.rule.effect:<5}  {_APPLIES[step.applies]:<9}  {step.because}") for step in steps]
    limits = [f"{one.rule.id} counts it: {one.rate.calls} in {one.rate.seconds:.0f} s." for one in decision.limits]
    out.result("\n".join(filter(None, (first, decision.message, *limits, table(rows)))), data)
    return EXIT_OK if decision.allowed else EXIT_DENIED


def _now(zone: str) -> tuple[int, int]:
    from acp_stdio.runtime.gate import clock

    return clock(zone)


def _own(settings: Settings, upstream: str) -> dict[str, Any]:
    """The claims of the signed-in person's token, as a call would have them."""
    from acp_stdio.tokens.context import open_context
    from acp_stdio.tokens.refresh import obtain_token

    token = obtain_token(open_context(settings, may_prompt=False), settings.upstreams[upstream])
    return {**token.person, **token.claims}


def _pairs(pairs: list[str], flag: str, *, lists: bool = False) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise Failure("configuration_invalid", f"{flag} needs NAME=VALUE.", "See `acp-stdio policy why --help`.")
        try:
            found[key] = json.loads(text)
        except ValueError:
            found[key] = text.split(",") if lists and ("," in text or key == "groups") else text
    return found


def _test(args: argparse.Namespace, policy: Policy, out: Output) -> int:
    path = Path(args.file)
    try:
        cases = read_cases(path)
    except OSError as error:
        raise Failure("configuration_invalid", f"{path} cannot be read: {error.strerror}.", "") from None
    told: list[str] = []
    results: list[dict[str, Any]] = []
    for case in cases:
        decision = decide.decide(policy, case.facts)
        as_expected = decision.allowed is case.allowed and case.rule in ("", decision.rule)
        word = "allow" if decision.allowed else "deny"
        results.append({"name": case.name, "decision": word, "rule": decision.rule, "as_expected": as_expected})
        if not as_expected:
            wanted = ("allow" if case.allowed else "deny") + (f" by {case.rule}" if case.rule else "")
            told.append(f"{path}:{case.line}: {case.name}: {word} by {decision.rule or 'no rule'}, expected {wanted}")
    wrong = len(told)
    told.append(f"{len(cases) - wrong} of {len(cases)} cases came out as expected.")
    out.result("\n".join(told), {"cases": results, "wrong": wrong})
    return EXIT_DENIED if wrong else EXIT_OK


def _replay(args: argparse.Namespace, settings: Settings, policy: Policy, out: Output) -> int:
    from acp_stdio.policy.replay import replay
    from acp_stdio.runtime.past import calls_of

    directory = Path(args.trail) if args.trail else settings.audit_dir
    found = replay(policy, calls_of(directory, args.since), _pairs(args.claims, "--as", lists=True))
    by_rule: dict[str, int] = {}
    for one in found.newly_denied:
        by_rule[one.rule] = by_rule.get(one.rule, 0) + 1
    told = [f"{len(found.newly_denied)} of {found.total} calls that left would be denied now."]
    told += [f"  {rule}: {count}" for rule, count in sorted(by_rule.items(), key=lambda pair: -pair[1])]
    if found.newly_allowed:
        told.append(f"{len(found.newly_allowed)} that a rule denied would leave now.")
    if found.depends:
        told.append(f"{len(found.depends)} depend on arguments or claims, which the trail does not keep.")
    if out.verbose:
        told += [f"  {_line(one.past.record)}: {one.rule}" for one in found.newly_denied]
    data: dict[str, Any] = {
        "total": found.total,
        "allowed": found.allowed,
        "denied": len(found.denied),
        "depends": len(found.depends),
        "newly_denied": [{"id": one.past.record.get("id"), "rule": one.rule} for one in found.newly_denied],
        "newly_allowed": [{"id": one.past.record.get("id"), "rule": one.rule} for one in found.newly_allowed],
        "by_rule": by_rule,
        "version": policy.version,
    }
    out.result("\n".join(told), data)
    return EXIT_DENIED if found.newly_denied else EXIT_OK


def _line(record: Any) -> str:
    user = cast("dict[str, Any]", record.get("user") or {})
    return f"{record.get('time')} {user.get('label', 'nobody')} {record.get('upstream')}/{record.get('tool')}"
