"""The short-lived process that spends the refresh token, so that `run` never holds it.

A hung keyring dies with this process, forty megabytes of libraries leave memory with it, and a
host that kills `run` does not tear a rotation in two. One request line comes on stdin; answer
lines go to stdout (`tokens.messages`). The end of stdin means that nobody waits any more: before
the refresh token is spent that stops us, afterwards the answer is still stored.
"""

import os
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

from acp_stdio.errors import Failure
from acp_stdio.identity.model import AccessToken
from acp_stdio.settings.load import load
from acp_stdio.tokens.messages import Request, Sent, decode_request, encode_answer, no_answer

WATCHDOG: Final = 45.0
"""Seconds after which this process ends whatever it waits for. Every single wait has a shorter bound."""

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


def main(stdin: BinaryIO, stdout: BinaryIO, *, give_up: Callable[[], object] = lambda: os._exit(1)) -> int:
    """Answers one request. Returns an exit code; the answer says what happened.

    `give_up` ends the process when `WATCHDOG` has passed.
    """
    answers = _Answers(stdout)

    def too_late() -> None:
        answers.give(no_answer())
        give_up()

    watchdog = threading.Timer(WATCHDOG, too_late)
    watchdog.daemon = True
    watchdog.start()
    try:
        request = decode_request(stdin.readline(_MAX_REQUEST))
        gone = threading.Event()
        threading.Thread(target=_watch, args=(stdin, gone), daemon=True).start()
        answer = _answer(request, answers, gone)
        if answer is not None:
            answers.give(answer)
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


def _watch(stdin: BinaryIO, gone: threading.Event) -> None:
    try:
        while stdin.read(4096):
            pass
    except (OSError, ValueError):
        pass
    gone.set()


def _answer(request: Request, answers: _Answers, gone: threading.Event) -> AccessToken | Failure | None:
    # 150 ms of libraries, loaded only once somebody asks.
    from acp_stdio.tokens.context import Cancelled, open_context
    from acp_stdio.tokens.refresh import obtain_token

    def on_sent() -> None:
        if not answers.give(Sent()):
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
            return Failure("configuration_invalid", f"There is no upstream {request.upstream} any more.")
        return obtain_token(
            open_context(settings, may_prompt=False),
            upstream,
            rejected=request.rejected,
            cancelled=gone.is_set,
            on_sent=on_sent,
        )
    except Cancelled:
        return None
    except Failure as failure:
        return failure


def run() -> NoReturn:
    """The process's entry: keeps stdout for the answer alone and leaves whatever still hangs behind."""
    stdout = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints, prints to the log
    code = main(sys.stdin.buffer, stdout)
    sys.stderr.flush()
    os._exit(code)  # not sys.exit: a keyring call that hangs in a thread must not hold the process
