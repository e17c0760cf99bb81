"""One refresh, in a process of its own (`acp-stdio token-helper`).

`run` never holds a refresh token. The keyring, the HTTP client and the JWT library come and go
with the helper: a keyring that hangs can be killed, 40 MB do not stay, and a host that kills us
does not tear a rotation in two.
"""

import contextlib
import subprocess
import sys
import threading
from concurrent.futures import Future
from typing import Final

from acp_stdio.errors import Failure
from acp_stdio.identity.model import AccessToken
from acp_stdio.tokens.messages import Request, Sent, decode_answer, encode_request, no_answer

HOST_ERA: Final = "ACP_STDIO_HOST_ERA"
"""Tells a `login` that `run` launches which era its host speaks; the other is not tried then."""
MODERN, LEGACY = "modern", "legacy"
BOUND: Final = 60.0
"""Seconds; the helper's own watchdog ends it earlier."""


def own_command(*words: str) -> list[str]:
    """This program's command line. `-P`: the host's working directory is not searched for modules."""
    return [sys.executable, "-P", "-m", "acp_stdio", *words]


class HelperProcess:
    """A running helper. `answer` is its token or its failure; it never raises anything else."""

    def __init__(self, request: Request) -> None:
        self.answer: Future[AccessToken | Failure] = Future()
        self._left = False
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._serve, args=(request,), name="token-helper", daemon=True)
        self._thread.start()

    def leave(self) -> None:
        """Nobody waits any more: a helper that has not spent the refresh token ends, another stores what comes."""
        self._left = True
        process = self._process
        if process is not None and process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()  # see `tokens.helper` for what the end of its input means

    def wait(self, seconds: float) -> None:
        """Waits for its end."""
        self._thread.join(seconds)

    def _serve(self, request: Request) -> None:
        try:
            self._ask(request)
        except OSError as e:
            self._tell(
                Failure("idp_unreachable", f"The token helper could not be started: {e.strerror}.", "Try again.")
            )
        except ValueError:  # `leave` closed its input before the request was written
            self._tell(no_answer())

    def _tell(self, answer: AccessToken | Failure) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)

    def _ask(self, request: Request) -> None:
        """Tells the answer as soon as it is there: the process signs the trail's checkpoint after that."""
        with subprocess.Popen(
            own_command("token-helper"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            self._process = process
            assert process.stdin is not None
            assert process.stdout is not None
            watchdog = threading.Timer(BOUND, process.kill)
            watchdog.daemon = True
            watchdog.start()
            try:
                if self._left:
                    return self._tell(no_answer())
                process.stdin.write(encode_request(request))
                process.stdin.flush()
                for line in process.stdout:
                    answer = decode_answer(line)
                    if not isinstance(answer, Sent):
                        return self._tell(answer)
                return self._tell(no_answer())
            finally:
                watchdog.cancel()
                self._process = None
