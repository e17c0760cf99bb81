"""The short-lived process that spends the refresh token, so that `run` never holds it.

A hung keyring dies with this process, forty megabytes of libraries leave memory with it, and a
host that kills `run` does not tear a rotation in two. One request line comes on stdin; answer
lines go to stdout (`tokens.messages`). The end of stdin means that nobody waits any more: before
the refresh token is spent that ends us at once, afterwards there are seconds left to store the answer.
"""

import contextlib
import os
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

from acp_stdio.errors import Failure
from acp_stdio.identity.model import AccessToken
from acp_stdio.settings.load import load
from acp_stdio.tokens.messages import (
    Request,
    Revocation,
    Revoked,
    Sent,
    decode_request,
    decode_revocation,
    encode_answer,
    encode_revoked,
    no_answer,
)

WATCHDOG: Final = 60.0
"""Seconds after which this process ends whatever it waits for. Every single wait has a shorter bound."""

SAVING: Final = 5.0
"""Seconds that a refresh already sent may take to be stored when nobody waits any more."""

_MAX_REQUEST: Final = 64 * 1024


class _Answers:
    """The pipe back. One final answer; a reader that is gone is noticed and is no error."""

    def __init__(self, stdout: BinaryIO) -> None:
        self._stdout = stdout
        self._lock = threading.Lock()
        self._final = False

    def give(self, answer: AccessToken | Failure | Sent) -> bool:
        """Writes one line; False where nobody reads, or where the final answer was given already."""
        with self._lock:
            if self._final:
                return False
            self._final = not isinstance(answer, Sent)
            try:
                self._stdout.write(encode_answer(answer))
                self._stdout.flush()
            except (OSError, ValueError):  # ValueError: the file is closed
                return False
            return True


class _Reader:
    """Whoever asked: still there, or gone before or after the refresh token was spent."""

    def __init__(self, stdin: BinaryIO, leave: Callable[[], object]) -> None:
        self._stdin = stdin
        self._leave = leave
        self._lock = threading.Lock()
        self._gone = self._spending = False

    def is_gone(self) -> bool:
        return self._gone

    def spend(self) -> bool:
        """Says that the refresh token is about to be spent; False where nobody waits for it any more."""
        with self._lock:
            self._spending = not self._gone
            return self._spending

    def watch(self) -> None:
        """Returns when it is gone."""
        try:
            while self._stdin.read(4096):
                pass
        except (OSError, ValueError):
            pass
        with self._lock:
            self._gone = True
            saving = SAVING if self._spending else 0.0
        if saving:
            last = threading.Timer(saving, self._leave)
            last.daemon = True
            last.start()
        else:
            self._leave()


def main(
    stdin: BinaryIO,
    stdout: BinaryIO,
    *,
    give_up: Callable[[], object] = lambda: os._exit(1),
    leave: Callable[[], object] = lambda: None,
) -> int:
    """Answers one request. Returns an exit code; the answer says what happened.

    `give_up` ends the process when `WATCHDOG` has passed, `leave` when nobody waits: at once where nothing was
    spent, else after `SAVING`.
    """
    answers = _Answers(stdout)

    def too_late() -> None:
        answers.give(no_answer())
        give_up()

    watchdog = threading.Timer(WATCHDOG, too_late)
    watchdog.daemon = True
    watchdog.start()
    try:
        line = stdin.readline(_MAX_REQUEST)
        revocation = decode_revocation(line)
        if revocation is not None:  # done to the end, whether anybody waits or not
            stdout.write(encode_revoked(_revoke(revocation)))
            stdout.flush()
            return 0
        request = decode_request(line)
        reader = _Reader(stdin, leave)
        threading.Thread(target=reader.watch, daemon=True).start()
        _serve(request, answers, reader)
    except (
        Exception
    ) as error:  # the reader gets a failure with words, the log the place; never the text, which may quote
        place = traceback.extract_tb(error.__traceback__)[-1]
        sys.stderr.write(f"token-helper: {type(error).__name__} at {place.filename}:{place.lineno}\n")
        answers.give(no_answer())
        return 1
    finally:
        watchdog.cancel()
    return 0


def _serve(request: Request, answers: _Answers, reader: _Reader) -> None:
    # 150 ms of libraries, loaded only once somebody asks.
    from acp_stdio.tokens.checkpoints import sign_trail
    from acp_stdio.tokens.context import Cancelled, open_context
    from acp_stdio.tokens.logout import end_access_token
    from acp_stdio.tokens.refresh import obtain_token
    from acp_stdio.tokens.sign_ins import settings_of

    def on_sent() -> None:
        if not reader.spend() or not answers.give(Sent()):
            raise Cancelled

    try:
        settings = load(
            config=Path(request.config) if request.config else None,
            profile=request.profile,
            targets=request.targets,
            environ=os.environ,
        )
        upstream = settings.upstreams.get(request.upstream)
        if upstream is None:
            raise Failure("configuration_invalid", f"There is no upstream {request.upstream} any more.")
        context = open_context(settings_of(settings, upstream), may_prompt=False)
        if request.revoke is not None:
            if reader.spend():
                end_access_token(context, request.revoke)
            return
        token = obtain_token(
            context,
            upstream,
            rejected=request.rejected,
            cancelled=reader.is_gone,
            on_sent=on_sent,
        )
        if request.signing:
            from acp_stdio.vault.device_key import stored_key

            token = replace(token, signing_key=stored_key(context.open_vault(), settings.paths.state))
    except Cancelled:
        return
    except Failure as failure:
        answers.give(failure)
        return
    answers.give(token)
    if problem := sign_trail(context):  # nobody waits for this
        sys.stderr.write(f"token-helper: {problem}\n")


def _revoke(wanted: Revocation) -> Revoked:
    from acp_stdio.tokens.context import open_context

    try:
        settings = load(
            config=Path(wanted.config) if wanted.config else None,
            profile=wanted.profile,
            targets=wanted.targets,
            environ=os.environ,
        )
        upstream = settings.upstreams.get(wanted.upstream)  # gone from the configuration: the default identity's ways
        mine = settings.of(upstream) if upstream else settings
        context = open_context(mine, may_prompt=False, default_endpoints=wanted.default_endpoints)
        with contextlib.closing(context.provider(wanted.issuer, wanted.client_id)) as provider:
            provider.prepare()
            return provider.revoke(wanted.token, "access_token")
    except Failure:
        return "failed"


def run() -> NoReturn:
    """The process's entry: keeps stdout for the answer alone and leaves whatever still hangs behind."""
    stdout = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints, prints to the log
    code = main(sys.stdin.buffer, stdout, leave=lambda: os._exit(0))
    sys.stderr.flush()
    os._exit(code)  # not sys.exit: a keyring call that hangs in a thread must not hold the process
