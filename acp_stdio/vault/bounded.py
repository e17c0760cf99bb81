"""Calls that may never return, waited for no longer than a bound.

A locked or frozen keyring blocks for ever, inside a library without timeouts. A daemon thread
takes the call: it can be left behind, and it does not keep the process from ending, as the
worker threads of executors and of anyio do.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Job(Generic[T]):
    call: Callable[[], T]
    done: threading.Event = field(default_factory=threading.Event)
    results: list[T] = field(default_factory=list[T])
    error: BaseException | None = None


class OneAtATime:
    """Runs calls one after the other.

    A call left behind keeps its turn until it returns: what it still writes must not land among
    the writes of a later one, and a keyring that hangs must not cost a thread for each try.
    """

    def __init__(self) -> None:
        self._turn: Final = threading.Lock()

    def run(self, call: Callable[[], T], limit: float) -> T:
        """What `call` returns or raises; `TimeoutError` after `limit` seconds."""
        if not self._turn.acquire(timeout=limit):
            raise TimeoutError
        job = _Job(call)
        try:
            threading.Thread(target=self._work, args=(job,), name="keyring", daemon=True).start()
        except BaseException:
            self._turn.release()
            raise
        if not job.done.wait(limit):
            raise TimeoutError
        if job.error is not None:
            raise job.error
        return job.results[0]

    def _work(self, job: _Job[T]) -> None:
        try:
            job.results.append(job.call())
        except BaseException as e:  # handed to whoever waits
            job.error = e
        finally:
            self._turn.release()
            job.done.set()
