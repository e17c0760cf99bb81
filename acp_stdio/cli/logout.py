"""`logout`: ends the sign-in here and at the identity provider, and says what it could not do."""

import argparse
import time
from collections.abc import Collection
from dataclasses import replace
from typing import Any, Final

from acp_stdio.audit.record import utc
from acp_stdio.cli.common import output_of, record_event, settings_of
from acp_stdio.cli.render import Output
from acp_stdio.cli.status import live_processes
from acp_stdio.cli.times import ahead
from acp_stdio.errors import EXIT_KEYRING, EXIT_NOT_REVOKED, EXIT_OK, Failure
from acp_stdio.settings.model import DEFAULT, Settings
from acp_stdio.tokens.logout import GRAVITY, LogoutReport

EXAMPLES = """\
  acp-stdio logout
  acp-stdio logout --end-session    also of the identity provider's own pages
  acp-stdio logout --all-profiles --reason "laptop goes back"
"""

GIVING_BACK: Final = 5.0
"""Seconds for processes to give back what only they hold."""
LOOK: Final = 0.05
"""Seconds between two looks at them."""


REVOKED = "revoked by the administrator"
"""The reason, in the trail, of what was ended on behalf of the managed file."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all-profiles", action="store_true", help="every sign-in of this user on this computer")
    parser.add_argument("--revoked", action="store_true", help="only what the administrator has revoked")
    parser.add_argument("--end-session", action="store_true", help="also sign out of the provider, in the browser")
    parser.add_argument("--reason", metavar="TEXT", default="", help="why; kept in the audit trail")


def run(args: argparse.Namespace) -> int:
    """0 signed out and revoked (or no revocation endpoint), 6 not deleted, 8 not revoked."""
    from acp_stdio.tokens.logout import revoked_sign_ins
    from acp_stdio.tokens.sign_ins import everything

    out = output_of(args)
    settings = settings_of(args, bare=True)
    profiles = _profiles(settings) if args.all_profiles else [settings.profile]
    which = revoked_sign_ins if args.revoked else everything
    sign_ins = [each for profile in profiles for each in which(replace(settings, profile=profile))]
    if not sign_ins:
        out.result("Nobody who was signed in is revoked.", {"profiles": []})
        return EXIT_OK
    done = sign_out(sign_ins, str(args.reason), out, revoked=args.revoked)
    told = [(mine, report) for mine, report in done if _anything(report)] or done[:1]
    texts = [_words(_name(mine) if len(told) > 1 or args.all_profiles else "", report) for mine, report in told]
    out.result("\n".join(texts), {"profiles": [_json(mine, report) for mine, report in told]})
    if args.end_session:
        for mine, _ in told:
            _end_session(mine, out)
    return max(_code(report) for _, report in done)


def sign_out(
    sign_ins: list[Settings], reason: str, out: Output, *, revoked: bool
) -> list[tuple[Settings, LogoutReport]]:
    """Ends these sign-ins and leaves a receipt of each in the trail. Raises `Failure` where nothing was done.

    `revoked`: the administrator's word is carried out; nobody may be there to be asked.
    """
    from acp_stdio.tokens.context import open_context
    from acp_stdio.tokens.logout import sign_out_all

    holders = {each.profile: {pid for pid, its in _holders(each).items() if "held" in its} for each in sign_ins}
    reports = sign_out_all(
        [open_context(each, may_prompt=not revoked) for each in sign_ins], "withdrawn" if revoked else "logout"
    )
    for number, mine in enumerate(sign_ins):  # what processes hold is told with the first sign-in of their profile
        if its := holders.pop(mine.profile, None):
            reports[number] = _with_what_they_held(reports[number], mine, its)
    done = list(zip(sign_ins, reports, strict=True))
    for mine, report in done:
        if report.was_signed_in:
            record_event(mine, "logout", report.account, reason or REVOKED * revoked, out, _receipt(mine, report))
    return done


def _end_session(mine: Settings, out: Output) -> None:
    """RP-initiated logout: only in a browser is the provider's own session, so only there it can end."""
    from acp_stdio.login.opener import open_in_browser
    from acp_stdio.tokens.context import open_context
    from acp_stdio.tokens.logout import end_session_page

    try:
        page = end_session_page(open_context(mine, may_prompt=False))
    except Failure as failure:
        out.warn(f"Your session at the provider itself was not ended. {failure.message}")
        return
    if not page:
        out.warn("The identity provider has no page that ends its own session.")
    elif not open_in_browser(page):
        out.warn(f"To end your session at the provider itself, go to\n\n  {page}\n")


def _receipt(mine: Settings, report: LogoutReport) -> dict[str, Any]:
    """What was ended, for the trail."""
    return {
        "identity": mine.identity.name,
        "issuer": report.issuer,
        "revocation": report.revocation,
        "deleted": report.deleted,
        "access_until": utc(report.access_until) if report.access_until else None,
    }


def _holders(settings: Settings) -> dict[object, set[str]]:
    """By process, whether it holds sign-ins that are stored nowhere, or what became of them (`runtime.live`)."""
    return {each["pid"]: set(each["own_sign_ins"].values()) - {""} for each in live_processes(settings.state_dir)}


def _with_what_they_held(report: LogoutReport, settings: Settings, holders: Collection[object]) -> LogoutReport:
    """Waits for the processes that saw the tombstone to give their tokens back, and tells how that went."""
    until = time.monotonic() + GIVING_BACK
    while True:
        states = {pid: states for pid, states in _holders(settings).items() if pid in holders}
        if not any("held" in each for each in states.values()) or time.monotonic() > until:
            break
        time.sleep(LOOK)
    ends = {pid: states.get(pid, {"failed"}) - {"revoked"} for pid in holders}  # one that ended did not say how it went
    left = {pid: each for pid, each in ends.items() if each}
    outcome = "revoked" if not left else "unsupported" if set().union(*left.values()) == {"unsupported"} else "failed"
    told = [
        f"Process {pid} held a sign-in of its own, which it does not use any more; its access token could not be "
        "revoked at the identity provider, and is good there until it expires."
        for pid in left
    ]
    worst = max(report.revocation, outcome, key=GRAVITY.index)
    return replace(report, was_signed_in=True, revocation=worst, problems=(*report.problems, *told))


def _profiles(settings: Settings) -> list[str]:
    """The profiles of this user that ever signed in, and the one at hand."""
    found = [path.name for path in settings.paths.state.glob("*") if next(path.rglob("session.json"), None)]
    return sorted({settings.profile, *found})


def _name(mine: Settings) -> str:
    return mine.profile if mine.identity.name == DEFAULT else f"{mine.profile}, {mine.identity.name}"


def _anything(report: LogoutReport) -> bool:
    """Whether there was anything to sign out of."""
    return report.was_signed_in or report.revocation != "nothing" or bool(report.problems)


def _code(report: LogoutReport) -> int:
    if not report.deleted:
        return EXIT_KEYRING if report.revocation != "failed" else EXIT_NOT_REVOKED
    return EXIT_NOT_REVOKED if report.revocation == "failed" else EXIT_OK


def _words(name: str, report: LogoutReport) -> str:
    prefix = f"{name}: " if name else ""
    if not _anything(report):
        return f"{prefix}Nobody was signed in."
    lines = [f"{prefix}Signed out{f' {report.account.label}' if report.account else ''}."]
    lines.append(
        {
            "revoked": "The identity provider has revoked the sign-in.",
            "unsupported": "The identity provider has no way to revoke it (revocation: unsupported).",
            "failed": "The sign-in could not be revoked at the identity provider.",
            "nothing": "There was nothing to revoke.",
        }[report.revocation]
    )
    if report.deleted:
        lines.append("The stored sign-in and the caches are deleted; running agents refuse calls from now on.")
    if report.access_until:
        lines.append(
            f"Access tokens that were issued may still be accepted for {ahead(report.access_until, time.time())}."
        )
    return "\n".join([*lines, *report.problems])


def _json(mine: Settings, report: LogoutReport) -> dict[str, Any]:
    return {
        "profile": mine.profile,
        "identity": mine.identity.name,
        "issuer": report.issuer,
        "account": report.account.to_json() if report.account else None,
        "was_signed_in": report.was_signed_in,
        "revocation": report.revocation,
        "deleted": report.deleted,
        "access_until": utc(report.access_until) if report.access_until else None,
        "problems": list(report.problems),
    }
