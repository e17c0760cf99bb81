"""What all commands share: their options, the environment behind each flag, the settings."""

import argparse
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from acp_stdio.audit.record import event_record, user_of
from acp_stdio.audit.trail import Trail
from acp_stdio.cli.render import Output
from acp_stdio.cli.times import local
from acp_stdio.errors import Failure
from acp_stdio.identity.binding import BOUND
from acp_stdio.identity.model import Account, Session
from acp_stdio.settings.model import Settings
from acp_stdio.tokens.endings import known_end

_TRUE = frozenset({"1", "true", "yes", "on"})


_STORES = {
    "secret-service": "the OS keyring (Secret Service)",
    "macos": "the macOS Keychain",
    "windows": "the Windows Credential Manager",
    "file": "the encrypted file store that the configuration names",
}


def stored_in(storage: str) -> str:
    """The vault backend of a session, in words."""
    return _STORES.get(storage, storage)


def account_words(account: Account) -> str:
    """Who is signed in, or that nobody proved it."""
    return account.label if account.known else f'somebody at {account.issuer} (principal = "unverified")'


def binding_words(session: Session) -> str:
    """Whether the access tokens are of any use to somebody who has nothing else (RFC 9449)."""
    if session.token_type == BOUND:
        return f"bound to this sign-in's key ({session.jkt})"
    return "bearer, although this sign-in has a key: the provider chose so" if session.jkt else "bearer"


def add_common(parser: argparse.ArgumentParser, *, default: Any = None) -> None:
    """The options that stand before or after any command."""
    group = parser.add_argument_group("everywhere")
    group.add_argument("--config", metavar="FILE", help="the configuration file", default=default)
    group.add_argument("--profile", metavar="NAME", help="which sign-in to use, if there are several", default=default)
    group.add_argument("--json", action="store_true", help="the result as JSON", default=default)
    group.add_argument("-v", "--verbose", action="store_true", help="say more", default=default)
    group.add_argument("-q", "--quiet", action="store_true", help="say only what must be said", default=default)


def bind_environment(parser: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    """Gives each long flag its environment variable `ACP_STDIO_<FLAG>`, and names it in the help."""
    for action in parser._actions:  # pyright: ignore[reportPrivateUsage]  # argparse has no public list of them
        longs = [option for option in action.option_strings if option.startswith("--")]
        if not longs or action.dest in ("help", "version"):
            continue
        variable = "ACP_STDIO_" + longs[0][2:].replace("-", "_").upper()
        action.help = f"{action.help} [{variable}]"
        value = environ.get(variable)
        if not value or action.default is argparse.SUPPRESS:
            continue
        if action.nargs == 0:
            action.default = value.lower() in _TRUE
        elif isinstance(action.default, list):
            action.default = value.split()
        else:
            action.default = value


def output_of(args: argparse.Namespace) -> Output:
    """How this invocation wants to be spoken to."""
    return Output(json=bool(args.json), quiet=bool(args.quiet), verbose=bool(args.verbose))


def settings_of(args: argparse.Namespace, *, bare: bool = False) -> Settings:
    """The settings that the command line and the environment name; `bare`: without a file after a sign-in by URL.

    Raises `Failure(configuration_invalid)` with all problems at once.
    """
    from acp_stdio.settings.load import load

    return load(
        config=Path(args.config) if args.config else None,
        profile=args.profile or "",
        targets=tuple(getattr(args, "targets", ())),
        environ=os.environ,
        bare=bare,
    )


def end_words(session: Session, max_session_age: float) -> str:
    """`2026-12-03 10:00 (…)`: when a sign-in ends that nobody ends before, and who says so; empty: nobody does."""
    end = known_end(session, max_session_age)
    if not end:
        return ""
    whose = "says your provider; a renewal may move that" if end == session.refresh_expires_at else "max_session_age"
    return f"{local(end)} ({whose})"


def record_event(
    settings: Settings, event: str, account: Account | None, reason: str, out: Output, sign_in: dict[str, Any]
) -> None:
    """Puts a login or logout into the trail, with what was kept or ended, and signs it.

    The deed is done by then, so a full disk is only said.
    """
    from acp_stdio.tokens.checkpoints import sign_trail
    from acp_stdio.tokens.context import open_context

    about = {"sign_in": sign_in}
    try:
        with Trail(settings.audit_dir) as trail:
            trail.append(event_record(event, user=user_of(account), now=time.time(), reason=reason, about=about))
    except Failure as failure:
        out.warn(f"{failure.message} {failure.advice}")
    else:
        out.detail(sign_trail(open_context(settings, may_prompt=False)))
