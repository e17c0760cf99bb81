"""`login`: signs the person in and says who it was, until when, and where the sign-in is kept."""

import argparse
import getpass
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from acp_stdio.audit.record import utc
from acp_stdio.cli.common import account_words, end_words, output_of, record_event, settings_of, stored_in
from acp_stdio.cli.render import Output
from acp_stdio.cli.times import ago, local
from acp_stdio.errors import EXIT_NETWORK, EXIT_OK, Failure
from acp_stdio.identity.model import Session
from acp_stdio.identity.scopes import narrower, wider
from acp_stdio.identity.step_up import StepUp, claims_in
from acp_stdio.settings.model import Settings, UpstreamSettings
from acp_stdio.tokens.endings import known_end

if TYPE_CHECKING:
    from acp_stdio.login.flow import Choices

EXAMPLES = """\
  acp-stdio login                   opens the browser, then says who signed in
  acp-stdio login --force           again, perhaps as somebody else
  acp-stdio login --paste           the browser is on another computer
  acp-stdio login --device          this computer has no browser
  acp-stdio login --add-scope S     with one more right that a server wants
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="only these upstreams (default: all)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--device", action="store_true", help="show a code to type on another device (RFC 8628)")
    how.add_argument("--paste", action="store_true", help="take the final address by hand")
    parser.add_argument("--no-browser", action="store_true", help="print the address only")
    parser.add_argument("--force", action="store_true", help="sign in again, also as somebody else")
    parser.add_argument("--account", metavar="HINT", default="", help="the account to suggest, such as an address")
    parser.add_argument("--add-scope", metavar="S", action="append", default=[], help="ask for one more scope")
    parser.add_argument("--acr", metavar="VALUE", action="append", default=[], help="a way to prove who you are")
    parser.add_argument("--max-age", metavar="SECONDS", type=_age, help="prove it again if that was longer ago")
    parser.add_argument("--claims", metavar="BASE64", type=_claims, help="what a server asks for (Entra)")
    parser.add_argument("--timeout", metavar="SECONDS", type=_seconds, default=300.0, help="how long to wait (300)")


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A sign-in that is stored, with its identity and its upstreams at hand."""

    settings: Settings
    session: Session
    already: bool


def run(args: argparse.Namespace) -> int:
    """0 signed in and accepted everywhere; else the code of the first failure."""
    from acp_stdio.login.each import sign_in

    out = output_of(args)
    settings = settings_of(args)
    if not settings.needs_sign_in:
        out.result("No upstream here takes a token: there is nothing to sign in to.", {"sign_ins": [], "upstreams": {}})
        return EXIT_OK
    settings = replace(settings, upstreams={k: each for k, each in settings.upstreams.items() if each.takes_token})
    choices = _choices(args)
    # Without a browser of ours the address or the code is all there is: --quiet does not swallow it.
    by_code = args.device or any(each.identity.flow == "device" for each in settings.by_identity())
    alone = choices.opener is not None and not by_code
    purge(settings, out)
    done: list[SignedIn] = []
    failures: list[Failure] = []
    for outcome in sign_in(settings, choices, out.talk if alone else out.warn, out.detail):
        if outcome.failure is not None:
            failures.append(outcome.failure)
            if len(settings.upstreams) > 1:
                out.warn(f"{outcome.failure.message}\n{outcome.failure.advice}".strip())
        elif outcome.session is not None:
            done.append(SignedIn(outcome.settings, outcome.session, outcome.already))
            if not outcome.already:
                record_event(outcome.settings, "login", outcome.session.account, "", out, kept(done[-1]))
    if not done:
        raise failures[0]
    upstreams: dict[str, Any] = {}
    for upstream in [each for one in done if not one.already for each in one.settings.upstreams.values()]:
        out.talk(f"Asking {upstream.name} whether it knows you…")
        try:
            tools = introduce(settings, upstream, config=args.config, targets=args.targets)
        except Failure as failure:
            failures.append(failure)
            out.warn(f"{upstream.name}: {failure.message}\n{failure.advice}".strip())
            upstreams[upstream.name] = {"accepted": False, "reason": failure.reason, "message": failure.message}
        else:
            out.talk(f"{upstream.name} accepts you and offers {tools} tool{'' if tools == 1 else 's'}.")
            upstreams[upstream.name] = {"accepted": True, "tools": tools}
    still_open = [name for name in settings.upstreams if not any(name in one.session.resources for one in done)]
    _report(out, done, upstreams, still_open)
    if failures:
        return failures[0].meaning.exit_code
    return EXIT_NETWORK if still_open else EXIT_OK


def purge(settings: Settings, out: Output) -> None:
    """Ends the sign-ins of people whom the administrator has revoked."""
    from acp_stdio.cli import logout
    from acp_stdio.tokens.logout import revoked_sign_ins

    if mine := revoked_sign_ins(settings):
        logout.sign_out(mine, "", out, revoked=True)


def introduce(settings: Settings, upstream: UpstreamSettings, *, config: str | None, targets: Collection[str]) -> int:
    """Reads the upstream's lists as a host would, which fills the catalogue; the number of its tools.

    `config` and `targets` are the command line's.
    Raises `Failure`: why it does not accept the person, or could not be asked.
    """
    from acp_stdio.runtime.rehearsal import rehearse
    from acp_stdio.tokens.context import open_context
    from acp_stdio.tokens.refresh import obtain_token
    from acp_stdio.tokens.sign_ins import settings_of as in_hand

    target = upstream.url if upstream.url in targets else upstream.name
    options = [f"--config={config}"] if config else []
    seen = rehearse([*options, f"--profile={settings.profile}", target], upstream.name)
    if seen.accepted:
        return seen.tools
    its = open_context(in_hand(settings, upstream), may_prompt=False)
    obtain_token(its, upstream)  # says more where the token was the problem
    raise Failure(
        "upstream_unreachable",
        f"You are signed in, but {upstream.url} did not answer as an MCP server should: {seen.problem}",
        "Check the upstream's url, or try again later.",
    )


def _choices(args: argparse.Namespace) -> "Choices":
    from acp_stdio.login.flow import Choices
    from acp_stdio.login.opener import open_in_browser

    by_hand = args.paste or args.no_browser
    return Choices(
        flow="device" if args.device else "browser" if by_hand else None,
        opener=None if by_hand else open_in_browser,
        paste=_ask if args.paste else None,
        account_hint=args.account,
        step_up=StepUp(tuple(args.add_scope), tuple(args.acr), args.max_age, args.claims or ""),
        force=args.force,
        timeout=args.timeout,
    )


def _seconds(text: str) -> float:
    """Raises `ValueError`, which argparse turns into exit code 2."""
    value = float(text)
    if not 0 < value <= 3600:
        raise ValueError
    return value


def _age(text: str) -> int:
    """Whole seconds. Raises `ValueError`, as all of these."""
    value = int(text)
    if value < 0:
        raise ValueError
    return value


def _claims(text: str) -> str:
    found = claims_in(text)
    if not found:
        raise ValueError
    return found


def _ask(prompt: str) -> str:
    """One line, unseen: it holds a code that is good for a sign-in."""
    if sys.stdin.isatty():
        return getpass.getpass(prompt, stream=sys.stderr)
    return sys.stdin.readline()


def _report(out: Output, done: list[SignedIn], upstreams: dict[str, Any], still_open: list[str]) -> None:
    words = [_words(one) for one in done]
    if still_open:
        words.append(f"Still open: {', '.join(still_open)}. Run `acp-stdio login {' '.join(still_open)}`.")
    facts = [_facts(one) for one in done]
    out.result("\n".join(words), {**facts[0], "upstreams": upstreams, "sign_ins": facts, "open": still_open})


def kept(one: SignedIn) -> dict[str, Any]:
    """What was kept, for the trail."""
    facts = _facts(one)
    return {name: facts[name] for name in ("identity", "issuer", "client_id", "storage", "scopes")}


def _words(one: SignedIn) -> str:
    session = one.session
    assert session.account is not None
    since = f", since {local(session.obtained_at)}" if one.already else ""
    start = "Already signed in" if one.already else "Signed in"
    confirmed = f" Confirmed {ago(session.confirmed_at, time.time())}." if one.already else ""
    return (
        f"{start} as {account_words(session.account)}{since}, {_until(one)}. "
        f"The sign-in is stored in {stored_in(session.storage)}.{confirmed}{_other_scopes(session)}"
    )


def _until(one: SignedIn) -> str:
    """Refresh tokens have a life of their own, which no standard makes a provider tell."""
    day = end_words(one.session, one.settings.identity.max_session_age)
    return f"until {f'{day}, or until ' if day else ''}you sign out or your company ends the session"


def _other_scopes(session: Session) -> str:
    """What the provider made of the scopes that were asked for, where that is not the same."""
    more, less = wider(session), narrower(session)
    return (f"\nGranted, although not asked for: {' '.join(more)}." if more else "") + (
        f"\nAsked for, and not granted: {' '.join(less)}." if less else ""
    )


def _facts(one: SignedIn) -> dict[str, Any]:
    session = one.session
    return {
        "signed_in": True,
        "already": one.already,
        "identity": one.settings.identity.name,
        "account": session.account.to_json() if session.account else None,
        "issuer": session.issuer,
        "client_id": session.client_id,
        "client_source": session.client_source,
        "storage": session.storage,
        "scopes": list(session.scopes),
        "scopes_not_asked_for": list(wider(session)),
        "scopes_not_granted": list(narrower(session)),
        "obtained_at": utc(session.obtained_at),
        "until": utc(end) if (end := known_end(session, one.settings.identity.max_session_age)) else None,
    }
