"""`logout`: ends the sign-in here and at the identity provider, and says what it could not do."""

import argparse
import time
from dataclasses import replace
from typing import Any

from acp_stdio.audit.record import utc
from acp_stdio.cli.common import output_of, record_event, settings_of
from acp_stdio.cli.times import ahead
from acp_stdio.errors import EXIT_KEYRING, EXIT_NOT_REVOKED, EXIT_OK
from acp_stdio.settings.model import DEFAULT, Settings
from acp_stdio.tokens.logout import LogoutReport

EXAMPLES = """\
  acp-stdio logout
  acp-stdio logout --all-profiles --reason "laptop goes back"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all-profiles", action="store_true", help="every sign-in of this user on this computer")
    parser.add_argument("--reason", metavar="TEXT", default="", help="why; kept in the audit trail")


def run(args: argparse.Namespace) -> int:
    """0 signed out and revoked (or no revocation endpoint), 6 not deleted, 8 not revoked."""
    from acp_stdio.tokens.context import open_context
    from acp_stdio.tokens.logout import sign_out_all
    from acp_stdio.tokens.sign_ins import everything

    out = output_of(args)
    settings = settings_of(args, bare=True)
    profiles = _profiles(settings) if args.all_profiles else [settings.profile]
    sign_ins = [each for profile in profiles for each in everything(replace(settings, profile=profile))]
    reports = sign_out_all([open_context(each, may_prompt=True) for each in sign_ins])
    done = list(zip(sign_ins, reports, strict=True))
    for mine, report in done:
        if report.was_signed_in:
            record_event(mine, "logout", report.account, str(args.reason), out)
    told = [(mine, report) for mine, report in done if _anything(report)] or done[:1]
    texts = [_words(_name(mine) if len(told) > 1 or args.all_profiles else "", report) for mine, report in told]
    out.result("\n".join(texts), {"profiles": [_json(mine, report) for mine, report in told]})
    return max(map(_code, reports))


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
