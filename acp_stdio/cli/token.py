"""`token`: a fresh access token on stdout, for a program that wants a header. It goes round the rules and the trail.

So it is off unless the configuration says `allow_token_export = true`, and each export is recorded before it happens.
"""

import argparse
import sys
import time

from acp_stdio.audit.record import event_record, token_summary, user_of
from acp_stdio.audit.trail import Trail
from acp_stdio.cli.common import output_of, settings_of
from acp_stdio.errors import EXIT_OK, Failure
from acp_stdio.identity.model import AccessToken
from acp_stdio.settings.model import Settings
from acp_stdio.tokens.sign_ins import settings_of as sign_in_of

EXAMPLES = """\
  acp-stdio token finance            the token alone
  acp-stdio token finance --headers  {"Authorization": "Bearer …"}, for a host
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="TARGET", help="the server: its name in the configuration, or its address")
    parser.add_argument("--headers", action="store_true", help="as a JSON object of HTTP headers")


def run(args: argparse.Namespace) -> int:
    """0 where the token was printed; else the code of what kept us from it."""
    from acp_stdio.tokens.context import open_context
    from acp_stdio.tokens.refresh import obtain_token

    output_of(args)
    args.targets = [args.target]
    settings = settings_of(args)
    (upstream,) = settings.upstreams.values()
    if not settings.allow_token_export:
        raise Failure(
            "denied",
            "Tokens are not handed out here: a program that has one goes round the rules and the trail.",
            "If that is wanted, write allow_token_export = true at the top of the configuration.",
        )
    mine = sign_in_of(settings, upstream)
    token = obtain_token(open_context(mine, may_prompt=False), upstream)
    if token.proof_key is not None:
        raise Failure(
            "denied",
            f"Your token for {upstream.name} is bound to a key, which is not handed out, so it is of no use elsewhere.",
            'If a program needs one, set dpop = "off" under [identity] and sign in again.',
        )
    _record(mine, token)
    _print(token, as_headers=args.headers or args.json)
    return EXIT_OK


def _record(settings: Settings, token: AccessToken) -> None:
    """No record, no token. Raises `Failure(audit_unavailable)`."""
    from acp_stdio.tokens.session_file import SessionFile

    session = SessionFile(settings.session_dir).read()
    about = {"upstream": token.upstream, "token": token_summary(token.claims)}
    user = user_of(session.account if session else None)
    event = event_record("token.exported", user=user, now=time.time(), about=about)
    with Trail(settings.audit_dir) as trail:
        trail.append(event)


def _print(token: AccessToken, *, as_headers: bool) -> None:
    """THE place where a token leaves on stdout: all that this command is for."""
    from acp_stdio.upstream.attach import header_of

    sys.stdout.write(f"{header_of(token) if as_headers else token.value.reveal()}\n")
    sys.stdout.flush()
