"""The event loop of `run`: its task tree, its signals, its end."""

import asyncio
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

import anyio

from acp_stdio.audit.trail import Trail
from acp_stdio.catalogue.file import CatalogueFile
from acp_stdio.catalogue.model import Catalogue
from acp_stdio.downstream.stdio import Host
from acp_stdio.errors import Failure
from acp_stdio.relay.relay import Relay
from acp_stdio.runtime.gate import Gate
from acp_stdio.runtime.helper_process import HelperProcess
from acp_stdio.runtime.helper_tools import HelperTools
from acp_stdio.runtime.keeper import Keeper
from acp_stdio.runtime.lane import LaneParts
from acp_stdio.runtime.live import LiveFile
from acp_stdio.runtime.log import log_to
from acp_stdio.runtime.memory import Memory
from acp_stdio.runtime.observed import executable_of
from acp_stdio.runtime.prelude import Prelude
from acp_stdio.runtime.shell import Parts, Shell
from acp_stdio.runtime.who import Who
from acp_stdio.settings.model import Settings, UpstreamSettings
from acp_stdio.settings.policy_files import PolicyFiles
from acp_stdio.settings.revocations import Revocations
from acp_stdio.tokens.messages import Request
from acp_stdio.tokens.sign_ins import SignIn
from acp_stdio.upstream.attach import AuthorizedConnector
from acp_stdio.upstream.network import reach
from acp_stdio.upstream.streamable_http import origin_and_target
from acp_stdio.wire import frames

LEAVE: Final = 0.2
"""Seconds for taking the event loop down, after everything that matters is closed."""
REHEARSAL_PATIENCE: Final = 30.0
"""Seconds for which a rehearsal waits for live answers."""


def serve(
    settings: Settings,
    upstream: UpstreamSettings,
    sign_in: SignIn,
    catalogue: Catalogue,
    catalogue_file: CatalogueFile,
    request: Callable[[str | None], Request],
    options: list[str],
    helper: HelperProcess | None,
    stdio: tuple[int, int, Prelude],
    *,
    signed_in: bool,
    rehearsal: bool,
) -> int:
    """Serves one host until it leaves, a signal comes or the parent dies. Returns the exit code."""
    log = log_to(settings.paths.log)
    stdin, stdout, played = stdio
    gate = Gate(
        upstream.name,
        PolicyFiles(settings.user_file),
        settings.state_dir,
        lambda: relay.agent,
        lambda: executable_of(played.parent),
    )
    relay = Relay(
        upstream.name,
        catalogue,
        signed_in=signed_in,
        helpers=settings.host.helper_tools and not rehearsal,
        call_timeout=settings.host.call_timeout,
        patience=REHEARSAL_PATIENCE if rehearsal else None,
        sieve=gate.sieve,
    )
    if played.answered is not None:
        relay.handshake_was_answered(frames.parse(played.answered))
    live = LiveFile(settings.state_dir, upstream.name)

    async def run() -> str:
        loop = asyncio.get_running_loop()
        origin, target = origin_and_target(upstream.url)
        mine = settings.of(upstream)
        trail = Trail(settings.audit_dir)

        def refresh_failed(failure: Failure) -> None:
            who.refresh_failed(trail, failure)

        revoked = Revocations().names
        keeper = Keeper(request, sign_in, mine.identity.recheck_identity, loop, helper, refresh_failed, revoked)
        who = Who(keeper, upstream.name)
        shell = Shell(
            relay,
            LaneParts(
                upstream.name,
                target,
                AuthorizedConnector(reach(upstream, settings.network), origin, upstream.name),
                keeper,
                trail,
                Memory(catalogue, catalogue_file, who.is_signed_in),
                who,
                gate,
            ),
            Parts(trail, HelperTools(sign_in, mine.identity_dir, options, upstream.name), live),
            lambda line, closed: Host(stdin, stdout, line, closed, played.leftover),
            played.parent,
        )
        with _ended_by_signals(shell.stop, loop):
            why = await shell.serve()
        live.end()
        _leave_within(LEAVE)
        return why

    live.begin()
    log.info("serving %s", upstream.name)
    try:
        why = anyio.run(run)
        log.info("ended: %s", why)
        return 0
    finally:
        live.end()


def _leave_within(seconds: float) -> None:
    """Python would wait for a name look-up that hangs in a thread of the loop; all that matters is closed by now."""
    guard = threading.Timer(seconds, os._exit, (0,))
    guard.daemon = True
    guard.start()


@contextmanager
def _ended_by_signals(stop: Callable[[str], None], loop: asyncio.AbstractEventLoop) -> Generator[None]:
    names = [n for n in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, n)]
    numbers = [signal.Signals[name] for name in names]
    if sys.platform == "win32":  # no loop.add_signal_handler there
        for number in numbers:
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop, "signal"))
        yield
        return
    for number in numbers:
        loop.add_signal_handler(number, functools.partial(stop, number.name))
    yield
    for number in numbers:
        loop.remove_signal_handler(number)
