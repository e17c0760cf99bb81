"""The event loop of `run`: its task tree, its signals, its end."""

import asyncio
import contextlib
import functools
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Final

import anyio

from acp_stdio.audit.arguments import KEY_FILE, Arguments
from acp_stdio.audit.folder import Folder
from acp_stdio.audit.trail import Trail
from acp_stdio.catalogue.file import CatalogueFile
from acp_stdio.downstream.stdio import Host
from acp_stdio.errors import Failure
from acp_stdio.relay.relay import Relay
from acp_stdio.runtime.demands import Demands
from acp_stdio.runtime.gate import Gate
from acp_stdio.runtime.giving_back import give_back_all
from acp_stdio.runtime.holding import Holding
from acp_stdio.runtime.keeper import Keeper
from acp_stdio.runtime.lane import HostEnd, Lane, LaneParts
from acp_stdio.runtime.live import LiveFile, OwnSignIn
from acp_stdio.runtime.log import log_to
from acp_stdio.runtime.memory import Memory
from acp_stdio.runtime.observed import executable_of
from acp_stdio.runtime.pins import Pins
from acp_stdio.runtime.prelude import Prelude
from acp_stdio.runtime.served import Served
from acp_stdio.runtime.several_sign_ins import helper_tools
from acp_stdio.runtime.shell import Front, Parts, Shell
from acp_stdio.runtime.tokenless import Tokenless
from acp_stdio.runtime.turn import Turn
from acp_stdio.runtime.who import Who
from acp_stdio.settings.model import Settings
from acp_stdio.settings.policy_files import PolicyFiles
from acp_stdio.settings.revocations import Revocations
from acp_stdio.tokens.handover import LoginRequest
from acp_stdio.upstream import possession
from acp_stdio.upstream.network import attached
from acp_stdio.wire import frames

if TYPE_CHECKING:
    from acp_stdio.runtime.exporting import Exporting
    from acp_stdio.upstream.statements import Statements

log = logging.getLogger(__name__)

LEAVE: Final = 0.2
"""Seconds for taking the event loop down, after everything that matters is closed."""
REHEARSAL_PATIENCE: Final = 30.0
"""Seconds for which a rehearsal waits for live answers."""


def serve(
    settings: Settings,
    served: Sequence[Served],
    together: CatalogueFile,
    login: Callable[[Sequence[str]], LoginRequest],
    stdio: tuple[int, int, Prelude],
    exporting: "Callable[[asyncio.AbstractEventLoop], Exporting] | None",
    turn: Turn,
    *,
    rehearsal: bool,
) -> int:
    """Serves one host until it leaves, a signal comes or the parent dies. Returns the exit code.

    `together`: where the handshakes of all are remembered as one. `login`: asks for a sign-in for some upstreams.
    `exporting`: brings the trail to a collector, where one is named. `turn`: this process's.
    """
    log = log_to(settings.paths.log)
    stdin, stdout, played = stdio
    alone = len(served) == 1
    people = {each.upstream.name for each in served if each.upstream.takes_token}
    helpers = settings.host.helper_tools and not rehearsal and bool(people)
    rules = PolicyFiles(settings.user_file, settings.paths.state, turn.stat)
    minds = [
        _mind(settings, each, rules, turn, played.parent, helpers=helpers and alone, rehearsal=rehearsal)
        for each in served
    ]
    greeted = None if played.answered is None else frames.parse(played.answered)
    if greeted is not None:
        for relay, _ in minds:
            relay.handshake_was_answered(greeted)
    names = [each.upstream.name for each in served]
    live = LiveFile(settings.state_dir, ", ".join(names))

    async def run() -> str:
        loop = asyncio.get_running_loop()
        trail = _trail(settings)
        revoked = Revocations(turn.stat).names
        demands = Demands()
        holdings = [_holding(settings, each, login([each.upstream.name]), live) for each in served]
        askable = [each for each in holdings if each.upstream in people]
        lanes = [
            (relay, _parts(settings, each, holding, gate, demands, trail, revoked, turn, loop), each.catalogue)
            for (relay, gate), each, holding in zip(minds, served, holdings, strict=True)
        ]

        def notice(about: Sequence[str] = names) -> str:
            return " ".join(gate.notice() for _, gate in minds if gate.upstream in about).strip()

        def front(host: HostEnd) -> Front:
            if alone:
                relay, parts, _ = lanes[0]
                return Lane(relay, parts, host)
            from acp_stdio.runtime.lanes import switched

            return switched(names, lanes, together, greeted, host, helpers=helpers, notice=notice, jitter=_jitter)

        shell = Shell(
            front,
            Parts(trail, helper_tools(settings, askable or holdings, demands, login, notice, revoked), live, turn),
            lambda lines, closed: Host(stdin, stdout, lines, closed, played.leftover),
            played.parent,
        )
        exporter = exporting(loop) if exporting else None
        if exporter is not None:
            exporter.begin()
        with _ended_by_signals(shell.stop, loop):
            why = await shell.serve()
        live.end()
        if exporter is not None:
            exporter.end()
        _leave_within(LEAVE)
        return why

    live.begin()
    log.info("serving %s", ", ".join(names))
    try:
        why = anyio.run(run)
        log.info("ended: %s", why)
        return 0
    finally:
        live.end()


def _trail(settings: Settings) -> Trail:
    audit, directory = settings.audit, settings.audit_dir
    sync = audit.survives == "power_loss"
    if audit.deliver != "required":
        return Trail(directory, sync=sync)
    from acp_stdio.audit.delivery import Required

    return Trail(directory, sync=sync, admit=Required(Folder(directory), audit).admit)


def _mind(
    settings: Settings, served: Served, rules: PolicyFiles, turn: Turn, parent: int, *, helpers: bool, rehearsal: bool
) -> tuple[Relay, Gate]:
    """The relay of one upstream, and the rules that it sieves its lists with and that its calls are judged by."""
    name = served.upstream.name
    pins = Pins(settings.state_dir, name, served.upstream.url, turn.stat)
    gate = Gate(name, rules, pins, settings.state_dir, lambda: relay.agent, lambda: executable_of(parent))
    relay = Relay(
        name,
        served.catalogue,
        signed_in=served.signed_in,
        mint=lambda: os.urandom(16).hex(),
        jitter=_jitter,
        helpers=helpers,
        call_timeout=settings.host.call_timeout,
        patience=REHEARSAL_PATIENCE if rehearsal else None,
        sieve=gate.sieve,
        notice=gate.notice,
        warn=lambda text: log.warning("%s: %s", name, text),
    )
    return relay, gate


def _jitter() -> float:
    return os.urandom(1)[0] / 255


def _holding(settings: Settings, served: Served, login: LoginRequest, live: LiveFile) -> Holding:
    name = served.upstream.name

    def tell(state: OwnSignIn) -> None:
        live.own_sign_in(name, state)

    return Holding(
        name,
        served.sign_in,
        settings.of(served.upstream).identity.recheck_identity,
        lambda held, told: give_back_all(held, login, tell if told else None),
        lambda holds: tell("held" if holds else ""),
    )


def _parts(
    settings: Settings,
    served: Served,
    holding: Holding,
    gate: Gate,
    demands: Demands,
    trail: Trail,
    revoked: Callable[[str], bool],
    turn: Turn,
    loop: asyncio.AbstractEventLoop,
) -> LaneParts:
    upstream = served.upstream
    connector, target = attached(upstream, settings.network)
    if upstream.takes_token and settings.of(upstream).identity.dpop != "off":
        _load_beside(possession.load_libraries)
    keeping = Keeper if upstream.takes_token else Tokenless
    recheck = settings.of(upstream).identity.recheck_identity

    def refresh_failed(failure: Failure) -> None:
        who.refresh_failed(trail, failure)
        with contextlib.suppress(Failure):  # a session that cannot be read is told where it is needed
            demands.not_renewed(upstream.name, failure, who.session())

    keeper = keeping(upstream.name, served.request, holding, recheck, loop, served.helper, refresh_failed, revoked)
    who = Who(keeper, upstream.name, required=upstream.takes_token)
    gate.tell = functools.partial(who.record, trail)
    return LaneParts(
        upstream.name,
        target,
        connector,
        keeper,
        trail,
        Memory(served.catalogue, served.catalogue_file, who.is_signed_in),
        who,
        gate,
        demands,
        turn,
        Arguments(settings.audit.arguments, settings.paths.state / KEY_FILE),
        _statements(upstream.assertion),
    )


def _load_beside(load: Callable[[], None]) -> None:
    """Reads libraries while the token helper is at work."""
    threading.Thread(target=load, name="libraries", daemon=True).start()


def _statements(wanted: bool) -> "Statements | None":
    if not wanted:
        return None
    from acp_stdio.upstream.statements import Statements, load_libraries

    _load_beside(load_libraries)
    return Statements()


def _leave_within(seconds: float) -> None:
    """Python would wait for a name look-up that hangs in a thread of the loop; all that matters is closed by now."""
    guard = threading.Timer(seconds, os._exit, (0,))
    guard.daemon = True
    guard.start()


@contextlib.contextmanager
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
