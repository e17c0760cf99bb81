"""`login` as `acp_login` starts it (`login-helper`): asked and answered over two pipes.

One request line comes on stdin; answer lines go to stdout (`tokens.handover`). Whoever asked may go
away meanwhile: a sign-in that can be stored is stored all the same, one that cannot be is given back.
"""

import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

from acp_stdio.cli import crash
from acp_stdio.cli.common import record_event
from acp_stdio.cli.login import SignedIn, introduce, kept, purge
from acp_stdio.cli.render import Output
from acp_stdio.errors import EXIT_OK, EXIT_UNEXPECTED, Failure
from acp_stdio.identity.model import Held
from acp_stdio.tokens.handover import Done, LoginRequest, decode_login, encode_login_answer, not_completed

_MAX_REQUEST: Final = 64 * 1024


def main(stdin: BinaryIO, stdout: BinaryIO) -> int:
    """Answers one request; returns an exit code."""

    def answer(with_: Held | Done | Failure) -> None:
        """Raises `OSError` where nobody reads."""
        stdout.write(encode_login_answer(with_))
        stdout.flush()

    with contextlib.suppress(OSError):  # nobody waits for the answer any more
        try:
            answer(_sign_in(decode_login(stdin.readline(_MAX_REQUEST)), answer))
        except Failure as failure:
            answer(failure)
            return failure.meaning.exit_code
        except OSError:
            raise
        except Exception as error:  # the reader gets words, the log the place; never the text, which may quote
            crash.record(error, os.environ)
            answer(not_completed())
            return EXIT_UNEXPECTED
    return EXIT_OK


def _sign_in(request: LoginRequest, hand_over: Callable[[Held], None]) -> Done:
    """Signs in, and asks each upstream of a stored sign-in what it offers. Raises `Failure` where none came about."""
    from acp_stdio.login.each import sign_in
    from acp_stdio.login.flow import Choices
    from acp_stdio.login.opener import open_in_browser
    from acp_stdio.settings.load import load

    settings = load(
        config=Path(request.config) if request.config else None,
        profile=request.profile,
        targets=request.targets,
        environ=os.environ,
    )
    out = Output(quiet=True)
    step_up = replace(request.step_up, anew=True) if request.step_up else request.step_up
    remarks: list[str] = []
    choices = Choices(opener=open_in_browser, step_up=step_up, remark=remarks.append, hand_over=hand_over)
    purge(settings, out)
    outcomes = list(sign_in(settings, choices, out.talk))
    new = [SignedIn(each.settings, each.session, False) for each in outcomes if each.session and not each.already]
    for one in new:
        record_event(one.settings, "login", one.session.account, "", out, kept(one))
    for upstream in [each for one in new if one.session.storage for each in one.settings.upstreams.values()]:
        try:
            introduce(settings, upstream, config=request.config, targets=request.targets)
        except Failure as failure:  # the host is told when it calls
            out.warn(f"{upstream.name}: {failure.message}")
    failed = [each.failure for each in outcomes if each.failure is not None]
    if failed and len(failed) == len(outcomes):
        raise failed[0]
    return Done(" ".join(remarks))


def run() -> NoReturn:
    """The process's entry: keeps stdout for the answer alone, also from a browser that it starts."""
    stdout = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    code = main(sys.stdin.buffer, stdout)
    os._exit(code)  # not sys.exit: a keyring call that hangs in a thread must not hold the process
