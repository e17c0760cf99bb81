"""A sign-in, in a process of its own (`login-helper`).

It outlives us where a host ends one of its two copies of us. What it can store it stores; a sign-in
that cannot be stored comes back over its pipe, and is given back to the provider where nobody reads.
"""

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import Future

from acp_stdio.errors import Failure
from acp_stdio.identity.model import Held
from acp_stdio.runtime.helper_process import HOST_ERA, own_command
from acp_stdio.tokens.handover import Done, LoginRequest, decode_login_answer, encode_login, not_completed


class LoginProcess:
    """A running sign-in. `answer` is how it ended; it never raises anything."""

    def __init__(self, request: LoginRequest, era: str, hold: Callable[[Held], None]) -> None:
        """`hold` takes a sign-in that cannot be stored, on a thread of ours and before `answer` is there.

        Raises `OSError` where no process can be started.
        """
        self.answer: Future[Done | Failure] = Future()
        process = subprocess.Popen(
            own_command("login-helper"),
            env={**os.environ, HOST_ERA: era},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # POSIX; on Windows a host ends only the process that it started
        )
        threading.Thread(target=self._follow, args=(process, request, hold), name="login", daemon=True).start()

    def _follow(self, process: "subprocess.Popen[bytes]", request: LoginRequest, hold: Callable[[Held], None]) -> None:
        end: Done | Failure = not_completed()
        with process, contextlib.suppress(OSError):
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(encode_login(request))
            process.stdin.close()
            for line in process.stdout:
                answer = decode_login_answer(line)
                if not isinstance(answer, Held):
                    end = answer
                    break
                hold(answer)
        self.answer.set_result(end)
